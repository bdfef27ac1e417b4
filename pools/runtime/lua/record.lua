-- The record of the job that a claim answers, or only its size when that is more than a worker should take in: a list of
-- fields and values in turn, or the number of bytes, or -1 when the key holds something other than a hash.
-- The last two of ARGV are the prefix of rq's job keys, and the most bytes of a record's fields and values.
local function record_of(id)
    local found = redis.pcall('HGETALL', ARGV[#ARGV - 1] .. id)
    if found.err then
        return string.sub(found.err, 1, 9) == 'WRONGTYPE' and -1 or error(found.err)
    end
    local size = 0
    for _, part in ipairs(found) do
        size = size + #part
    end
    return size > tonumber(ARGV[#ARGV]) and size or found
end
