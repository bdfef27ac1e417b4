-- Prepended to the scripts that move jobs. A script that fails half-way keeps what it did, so whatever may fail (a key
-- of another type under a name that a job chose) is tried with pcall before the job leaves the place where it is.
local function fails(...)
    local answer = redis.pcall(...)
    return type(answer) == 'table' and answer.err ~= nil
end

-- A receipt holds the ids that calls with it have moved: whoever lost an answer calls again and learns what it was.
local RECEIPT_KEPT = 7 * 24 * 3600

local function moved_before(receipt, id)
    return receipt and redis.call('SISMEMBER', receipt, id) == 1
end

local function sign_for(receipt, id)
    if receipt then
        redis.call('SADD', receipt, id)
        redis.call('EXPIRE', receipt, RECEIPT_KEPT)
    end
end

-- RQ 3.0's rate limits: a job holds a slot in PREFIX:rl:NAME:allowed while it is queued or runs, and waits for one in
-- PREFIX:rl:NAME:rate_limited. Let waiting jobs into free slots, oldest first, each onto the queue of its origin.
-- RQ drops what it finds there of jobs that no longer wait; so does this.
local function promote(prefix, limit, concurrency, now, stamp)
    local allowed, waiting = prefix .. ':rl:' .. limit .. ':allowed', prefix .. ':rl:' .. limit .. ':rate_limited'
    if fails('ZCARD', allowed) then
        return
    end
    while redis.call('ZCARD', allowed) < concurrency do
        local id = redis.call('ZPOPMIN', waiting)[1]
        if not id then
            return
        end
        local key = prefix .. ':job:' .. id
        local job = redis.pcall('HMGET', key, 'origin', 'status', 'enqueue_at_front')
        if job[1] and job[2] == 'rate_limited' then
            if fails(job[3] == '1' and 'LPUSH' or 'RPUSH', prefix .. ':queue:' .. job[1], id) then
                redis.call('ZADD', waiting, now, id)
                return
            end
            redis.call('ZADD', allowed, now, id)
            redis.call('HSET', key, 'status', 'queued', 'enqueued_at', stamp)
        end
    end
end
