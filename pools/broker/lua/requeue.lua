-- Requeue jobs. ARGV, after those of requeueing.lua: job ids … Returns one outcome a job id.
local outcomes = {}
for i = 8, #ARGV do
    outcomes[i - 7] = requeue(ARGV[i])
end
list_queue(outcomes)
return outcomes
