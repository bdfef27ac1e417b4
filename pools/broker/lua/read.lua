-- Read jobs as their failure left them, and change nothing.
-- ARGV: prefix, bytes of results after which to stop, number of fields, the fields, then a queue and a job id a job.
-- Returns the time, then for each job that was read: its fields, its newest result, its milliseconds to live, its score
-- in the queue's failed registry, the size of its payload. A key of another type answers with an empty string.
local prefix, room, count = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local names = {unpack(ARGV, 4, 3 + count)}

local function read(...)
    local answer = redis.pcall(...)
    return type(answer) == 'table' and answer.err and '' or answer
end

local found = {redis.call('TIME')}
for at = 4 + count, #ARGV, 2 do
    local queue, id = ARGV[at], ARGV[at + 1]
    local job = prefix .. ':job:' .. id
    local results = read('XREVRANGE', prefix .. ':results:' .. id, '+', '-', 'COUNT', 1)
    found[#found + 1] = {
        read('HMGET', job, unpack(names)), results, redis.call('PTTL', job),
        read('ZSCORE', prefix .. ':failed:' .. queue, id), read('HSTRLEN', job, 'data')}
    for _, part in ipairs(results ~= '' and results[1] and results[1][2] or {}) do
        room = room - #part
    end
    if room <= 0 then
        break
    end
end
return found
