-- Make a pool's desired state exactly this, unless its hint changed since it was read: then somebody published.
-- KEYS: config envelope, run envelope, desired. ARGV: pool uid, hint as read, hint, config envelope, run envelope;
-- an empty one stands for nothing. Returns 1, or 0 when nothing was changed.
local uid, read, hint = ARGV[1], ARGV[2], ARGV[3]
if redis.call('TYPE', KEYS[3]).ok ~= 'hash' then
    redis.call('DEL', KEYS[3])
end
if (redis.call('HGET', KEYS[3], uid) or '') ~= read then
    return 0
end
for n = 1, 2 do
    if ARGV[3 + n] == '' then
        redis.call('DEL', KEYS[n])
    else
        redis.call('SET', KEYS[n], ARGV[3 + n])
    end
end
if hint == '' then
    redis.call('HDEL', KEYS[3], uid)
else
    redis.call('HSET', KEYS[3], uid, hint)
end
return 1
