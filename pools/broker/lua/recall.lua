-- Move requeued jobs of one queue that nobody has taken back into its failed registry, each completely or not at all.
-- KEYS: failed registry, queue, receipt (may be missing). ARGV: prefix, queue's name, now (unix), now (as RQ writes
-- times), then five a job: id, expiry (unix, -1 never), enqueued_at, started_at, ended_at.
-- Returns one outcome a job. The keys of jobs and rate limits are built from the prefix.
local failed, queue, receipt = KEYS[1], KEYS[2], KEYS[3]
local prefix, name, now, stamp = unpack(ARGV, 1, 4)

-- Take the job from where it waits; false when it does not wait there (any more).
local function take(id, status, limit)
    if status == 'rate_limited' and limit ~= '' then
        return redis.pcall('ZREM', prefix .. ':rl:' .. limit .. ':rate_limited', id) == 1
    end
    return status == 'queued' and redis.pcall('LREM', queue, -1, id) == 1
end

-- Its slot is for a job that waits for one.
local function free_slot(id, limit, concurrency)
    local allowed = prefix .. ':rl:' .. limit .. ':allowed'
    if not fails('ZCARD', allowed) and redis.call('ZREM', allowed, id) == 1 then
        promote(prefix, limit, concurrency, now, stamp)
    end
end

local function expire(id, at)
    local keys = {prefix .. ':job:' .. id, prefix .. ':job:' .. id .. ':dependents',
                  prefix .. ':job::' .. id .. ':dependencies'}
    for _, key in ipairs(keys) do
        if at > 0 then
            redis.call('PEXPIREAT', key, string.format('%.0f', at * 1000))
        else
            redis.call('PERSIST', key)
        end
    end
end

local function recall(id, expires, enqueued_at, started_at, ended_at)
    if moved_before(receipt, id) then
        return 'recalled'
    end
    local key = prefix .. ':job:' .. id
    local job = redis.pcall('HMGET', key, 'status', 'origin', 'rate_limit_key', 'rate_limit_concurrency')
    if job.err or job[2] ~= name or fails('ZCARD', failed) then
        return 'not_queued'
    end
    local limit, concurrency = job[3] or '', tonumber(job[4] or '') or 0
    if not take(id, job[1], limit) then
        return 'not_queued'
    end
    redis.call('ZADD', failed, expires, id)
    redis.call('HSET', key, 'status', 'failed', 'enqueued_at', enqueued_at, 'started_at', started_at,
        'ended_at', ended_at)
    expire(id, tonumber(expires))
    if job[1] == 'queued' and limit ~= '' and concurrency > 0 then
        free_slot(id, limit, concurrency)
    end
    sign_for(receipt, id)
    return 'recalled'
end

local outcomes = {}
for i = 5, #ARGV, 5 do
    outcomes[#outcomes + 1] = recall(unpack(ARGV, i, i + 4))
end
return outcomes
