-- Prepended to the scripts that know the shelf, where jobs lie that RQ shall not see. What RQ keeps of a job lies there
-- under SHELF:PART:ID, its keys renamed as they are; the hash SHELF:slip:ID says on which shelf, and how to put it back:
-- its score in the failed registry, its group, and when each part was to expire (unix ms, missing: never).
local PARTS = {'job', 'dependents', 'dependencies', 'results'}

local function rq_keys(prefix, id)
    local job = prefix .. ':job:' .. id
    return {job, job .. ':dependents', prefix .. ':job::' .. id .. ':dependencies', prefix .. ':results:' .. id}
end

local function shelf_keys(shelf, id)
    local keys = {}
    for n, part in ipairs(PARTS) do
        keys[n] = shelf .. ':' .. part .. ':' .. id
    end
    return keys, shelf .. ':slip:' .. id
end

-- To the millisecond, for a job's keys lie with this clock's deadlines.
local function clock()
    local time = redis.call('TIME')
    return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function expire_at(key, moment)
    if moment > 0 then
        redis.call('PEXPIREAT', key, string.format('%.0f', moment))
    else
        redis.call('PERSIST', key)
    end
end
