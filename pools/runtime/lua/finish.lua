-- A job ended: rq's writes, if its execution still holds its lease, an entry of the started registry; else nothing.
-- KEYS[1] started registry, KEYS[2] worker's hash, KEYS[3] the pool's retry budget (see retry_budget.py), a hash: `left`
-- and `at`, when that was so; further KEYS: must not exist, the writes were made as if.
-- ARGV[1] job:execution. ARGV[2] what this end puts into the budget or takes, 0 for neither, ARGV[3] what a minute puts
-- in, ARGV[4] the most that it holds; hundredths of a retry. The rest of ARGV: the writes, see writes.lua.
-- Returns 1 done (also when asked again after a lost answer), 0 refused, 2 a key exists that should not, 3 the retry
-- budget is spent. Nothing is written but for 1.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    return redis.call('HGET', KEYS[2], 'committed') == ARGV[1] and 1 or 0
end
if #KEYS > 3 and redis.call('EXISTS', unpack(KEYS, 4)) > 0 then
    return 2
end
local change, per_minute, most = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
if change ~= 0 then
    local time = redis.call('TIME')
    local now, known = time[1] + time[2] / 1000000, redis.pcall('HMGET', KEYS[3], 'left', 'at')
    local left, at = tonumber(known[1] or ''), tonumber(known[2] or '')
    if not (left and at and left >= 0 and left <= most and at <= now) then
        left, at = per_minute, now  -- new, damaged, or of another config; or the broker's clock went back
    end
    left = math.min(most, left + (now - at) * per_minute / 60 + change)
    if left < 0 then
        return 3
    end
    if known.err then
        redis.call('DEL', KEYS[3])
    end
    redis.call('HSET', KEYS[3], 'left', string.format('%.3f', left), 'at', string.format('%.6f', now))
    redis.call('EXPIRE', KEYS[3], 3600)
end
redis.call('HSET', KEYS[2], 'committed', ARGV[1])
local first = 5
