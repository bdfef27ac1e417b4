-- Take the next job of a worker's queues, so that a death at any moment loses nothing. Follows record.lua.
-- KEYS[1] claims hash, KEYS[2] rq's suspension key, then for each queue in order: its list, its intermediate list.
-- ARGV[1] worker name, ARGV[2] Unix time; two more, see record.lua.
-- Returns {queue key, job id, its record}, or false when there is nothing to do.
local held = redis.call('HGET', KEYS[1], ARGV[1])
if held then
    -- The last answer was lost on the way (a reconnect), or not yet acknowledged: the same job again.
    local cut = string.find(held, '\n', 1, true)
    local id = string.sub(held, cut + 1)
    return {string.sub(held, 1, cut - 1), id, record_of(id)}
end
if redis.call('EXISTS', KEYS[2]) == 1 then
    return false
end
for i = 3, #KEYS, 2 do
    local id = redis.call('LMOVE', KEYS[i], KEYS[i + 1], 'LEFT', 'RIGHT')
    if id then
        -- Always anew: rq's own maintenance fails a job at once when it finds a first_seen of an earlier run.
        redis.call('SET', KEYS[i + 1] .. ':first_seen:' .. id, ARGV[2], 'EX', 86400)
        redis.call('HSET', KEYS[1], ARGV[1], KEYS[i] .. '\n' .. id)
        return {KEYS[i], id, record_of(id)}
    end
end
return false
