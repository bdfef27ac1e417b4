-- A worker died between claiming a job and starting it: the job goes back to the head of its queue.
-- What it took for that job, or for one that it ran, is given back. Follows holds.lua.
-- KEYS[1] claims hash, KEYS[2] hash of holds. ARGV[1] worker name, ARGV[2] prefix of rq's job keys.
-- Returns the job id, or false when the worker held no claim. A job that was cancelled or deleted meanwhile is dropped.
local held = redis.call('HGET', KEYS[1], ARGV[1])
let_go(KEYS[2], ARGV[1], held)
if not held then
    return false
end
local cut = string.find(held, '\n', 1, true)
local queue, id = string.sub(held, 1, cut - 1), string.sub(held, cut + 1)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', queue .. ':intermediate:first_seen:' .. id)
if redis.call('LREM', queue .. ':intermediate', 1, id) == 1 and redis.call('HGET', ARGV[2] .. id, 'status') == 'queued' then
    redis.call('LPUSH', queue, id)
end
return id
