-- Take the next job of a pool whose queues have weights, as claim.lua does without them.
-- Smooth weighted round-robin: each queue that holds jobs gains its weight, the richest is served and pays what all
-- gained. So shares are as the weights are, none waits for ever, and what is not used goes to the others.
-- KEYS[1] claims hash, KEYS[2] rq's suspension key, KEYS[3] hash of credits: queue's list → what it has gained;
-- then for each queue in order: its list, its intermediate list.
-- ARGV[1] worker name, ARGV[2] Unix time, ARGV[3] JSON of the rules, see rules.py.
-- Returns {queue key, job id}, or false when there is nothing to do.
local FIRST = 4
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
    -- The last answer was lost on the way (a reconnect), or not yet acknowledged: the same job again.
    local cut = string.find(held, '\n', 1, true)
    return {string.sub(held, 1, cut - 1), string.sub(held, cut + 1)}
end
if redis.call('EXISTS', KEYS[2]) == 1 then
    return false
end

local waiting = {}
for i = FIRST, #KEYS, 2 do
    if redis.call('EXISTS', KEYS[i]) == 1 then
        table.insert(waiting, {place = i, list = KEYS[i], intermediate = KEYS[i + 1]})
    end
end
if #waiting == 0 then
    return false
end

local weights = cjson.decode(ARGV[3]).weights
for _, queue in ipairs(waiting) do
    queue.weight = weights[(queue.place - FIRST) / 2 + 1]
    queue.credit = (tonumber(redis.call('HGET', KEYS[3], queue.list) or '') or 0) + queue.weight
end
table.sort(waiting, function(one, other)
    if one.credit ~= other.credit then return one.credit > other.credit end
    return one.place < other.place
end)
local served, all = waiting[1], 0
for _, queue in ipairs(waiting) do
    all = all + queue.weight
end
served.credit = served.credit - all
for _, queue in ipairs(waiting) do
    redis.call('HSET', KEYS[3], queue.list, queue.credit)
end

local id = redis.call('LMOVE', served.list, served.intermediate, 'LEFT', 'RIGHT')
-- Always anew: rq's own maintenance fails a job at once when it finds a first_seen of an earlier run.
redis.call('SET', served.intermediate .. ':first_seen:' .. id, ARGV[2], 'EX', 86400)
redis.call('HSET', KEYS[1], ARGV[1], served.list .. '\n' .. id)
return {served.list, id}
