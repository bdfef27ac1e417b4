-- Move the due jobs of one queue from rq's scheduled registry to where rq's scheduler would put them, in one step.
-- Field by field what RQScheduler.enqueue_scheduled_jobs of rq 3.0 writes; tests/runtime/test_promotion.py compares.
-- KEYS[1] scheduled registry, KEYS[2] queue list, KEYS[3] lock of rq's scheduler for this queue, KEYS[4] rate limit keys,
-- KEYS[5] who works off a backlog of this queue.
-- ARGV[1] rq's prefix, ARGV[2] queue name, ARGV[3] Unix time, ARGV[4] the same as rq writes times, ARGV[5] most jobs,
-- ARGV[6] timeout for jobs without one, in seconds, ARGV[7] agent, ARGV[8] for how long it has a backlog, in ms.
-- Returns how many entries left the registry.
if redis.call('EXISTS', KEYS[3]) == 1 then
    return 0  -- a stock scheduler is at work: it reads, then writes, and would enqueue a second time
end
local holder = redis.call('GET', KEYS[5])
if holder and holder ~= ARGV[7] then
    return 0
end
local prefix, queue, now, written = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local function promote_rate_limited(limit_key, concurrency)
    local base = prefix .. ':rl:' .. limit_key
    while redis.call('ZCARD', base .. ':allowed') < concurrency do
        local popped = redis.call('ZPOPMIN', base .. ':rate_limited')
        if #popped == 0 then
            break
        end
        local job = prefix .. ':job:' .. popped[1]
        local fields = redis.call('HMGET', job, 'origin', 'status', 'enqueue_at_front')
        if fields[1] and fields[2] == 'rate_limited' then
            redis.call('ZADD', base .. ':allowed', now, popped[1])
            local push = fields[3] == '1' and 'LPUSH' or 'RPUSH'
            redis.call(push, prefix .. ':queue:' .. fields[1], popped[1])
            redis.call('HSET', job, 'status', 'queued', 'enqueued_at', written)
        end
    end
end

local due = redis.call('ZRANGEBYSCORE', KEYS[1], 0, now, 'LIMIT', 0, tonumber(ARGV[5]))
for _, id in ipairs(due) do
    local job = prefix .. ':job:' .. id
    redis.call('ZREM', KEYS[1], id)
    if redis.call('EXISTS', job) == 1 then
        local f = redis.call('HMGET', job, 'timeout', 'ttl', 'enqueue_at_front', 'enqueue_at_front_on_retry',
            'ended_at', 'rate_limit_key', 'rate_limit_concurrency')
        local timeout, ttl, concurrency = f[1], tonumber(f[2] or ''), tonumber(f[7] or '')
        local front = f[3] == '1' or (f[4] == '1' and f[5] and f[5] ~= '')
        redis.call('HSET', job, 'origin', queue)
        if not timeout then
            redis.call('HSET', job, 'timeout', ARGV[6])
        end
        if ttl and ttl > 0 then
            redis.call('EXPIRE', job, ttl)
            redis.call('EXPIRE', job .. ':dependents', ttl)
            redis.call('EXPIRE', job .. ':dependencies', ttl)
        end
        if f[6] and f[6] ~= '' and concurrency and concurrency > 0 then
            redis.call('SADD', KEYS[4], f[6])
            redis.call('HSET', prefix .. ':rl:' .. f[6], 'concurrency', concurrency)
            redis.call('HSET', job, 'status', 'rate_limited')
            if front then
                redis.call('HSET', job, 'enqueue_at_front', 1)
            end
            redis.call('ZADD', prefix .. ':rl:' .. f[6] .. ':rate_limited', now, id)
            promote_rate_limited(f[6], concurrency)
        else
            redis.call('HSET', job, 'status', 'queued', 'enqueued_at', written)
            redis.call(front and 'LPUSH' or 'RPUSH', KEYS[2], id)
        end
    end
end
if #due == tonumber(ARGV[5]) then
    redis.call('SET', KEYS[5], ARGV[7], 'PX', ARGV[8])
end
return #due
