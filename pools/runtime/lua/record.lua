-- A job's record, or only its size when that is more than a worker should take in.
-- KEYS[1] the job's hash. ARGV[1] most bytes of its fields and values.
-- Returns fields and values in turn, or the number of bytes, or -1 when the key holds something other than a hash.
local found = redis.pcall('HGETALL', KEYS[1])
if found.err then
    return string.sub(found.err, 1, 9) == 'WRONGTYPE' and -1 or found
end
local size = 0
for _, part in ipairs(found) do
    size = size + #part
end
return size > tonumber(ARGV[1]) and size or found
