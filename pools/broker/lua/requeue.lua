-- Requeue jobs. ARGV, after those of requeueing.lua: a job id and its score, and so on. Returns one outcome a job.
local outcomes = {}
for i = 9, #ARGV, 2 do
    outcomes[#outcomes + 1] = requeue(ARGV[i], ARGV[i + 1])
end
list_queue(outcomes)
return outcomes
