-- A job ended: rq's writes, if its execution still holds its lease, an entry of the started registry; else nothing.
-- KEYS[1] started registry, KEYS[2] worker's hash, further KEYS: must not exist, the writes were made as if.
-- ARGV[1] job:execution. The rest of ARGV: the writes, see writes.lua.
-- Returns 1 done (also when asked again after a lost answer), 0 refused, 2 a key exists that should not.
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    return redis.call('HGET', KEYS[2], 'committed') == ARGV[1] and 1 or 0
end
if #KEYS > 2 and redis.call('EXISTS', unpack(KEYS, 3)) > 0 then
    return 2
end
redis.call('HSET', KEYS[2], 'committed', ARGV[1])
local first = 2
