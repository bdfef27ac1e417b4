-- Delete entries of a hash that still hold the value their judge saw.
-- KEYS: the hash. ARGV: field, value, field, value … Returns how many were deleted.
local forgotten = 0
for i = 1, #ARGV, 2 do
    if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
        forgotten = forgotten + redis.call('HDEL', KEYS[1], ARGV[i])
    end
end
return forgotten
