-- The writes: from ARGV[first] on, for each command the number of its parts, then its parts.
-- As in MULTI, one that fails (a key of the wrong type) keeps no other from being done; the first error is the answer.
local failed
while first <= #ARGV do
    local parts = tonumber(ARGV[first])
    local answer = redis.pcall(unpack(ARGV, first + 1, first + parts))
    if type(answer) == 'table' and answer.err then
        failed = failed or answer
    end
    first = first + parts + 1
end
return failed or 1
