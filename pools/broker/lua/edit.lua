-- Requeue one job with another payload. ARGV, after those of requeueing.lua: job id, its score, the payload as it was seen, the new
-- one. Returns a list of its outcome.
local outcomes = {requeue(ARGV[9], ARGV[10], ARGV[11], ARGV[12])}
list_queue(outcomes)
return outcomes
