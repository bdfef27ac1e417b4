-- Decide what becomes of the jobs that a dead worker was running: complete or not at all, and each run only once.
-- A run is decided while its execution is in the started registry, which it leaves here: whoever comes later, the run
-- itself included (it may only commit from there), finds nothing left to decide. What it writes for a dead letter is
-- what rq 3.0 writes for a failure; tests/runtime/test_reaping.py compares.
-- KEYS[1] set of executions (rq's index of the worker's), KEYS[2] event stream.
-- ARGV[1] a JSON object: prefix (of rq), unsettled (prefix of our sets of jobs whose dependents wait), worker, now (Unix
-- time), written (the same as rq writes times), failure_ttl (for jobs without one), counts (as a loss), event (body of job.failed), once
-- (prefix of idempotency keys, see once.lua), and the texts, as rq encodes them: again, unknown, too_often.
-- Returns job ids and outcomes in turn: again, unknown, too_often.
local order = cjson.decode(ARGV[1])
local prefix, now = order.prefix, order.now

local function runs_elsewhere(id, registry)
    for _, run in ipairs(redis.call('ZRANGE', prefix .. ':executions:' .. id, 0, -1)) do
        if redis.call('ZSCORE', registry, id .. ':' .. run) then
            return true
        end
    end
    return false
end

-- `ran`: of the execution, as it was started (pools/runtime/attempt.py): created_at, pw_host, pw_config.
local function record(id, kind, text, run, ran, ttl, instead)
    local key = prefix .. ':results:' .. id
    local fields = {'type', kind, 'worker_name', order.worker, 'exc_string', order[text], 'execution_id', run,
        'execution_started_at', ran[1] or order.now, 'execution_ended_at', order.now}
    if ran[2] and ran[3] then
        for _, part in ipairs({'pw_host', ran[2], 'pw_config', ran[3]}) do
            table.insert(fields, part)
        end
    end
    if instead then
        table.insert(fields, 'pw_fallback')
        table.insert(fields, instead)
    end
    redis.call('XADD', key, 'MAXLEN', '=', 10, '*', unpack(fields))
    if ttl < 0 then redis.call('PERSIST', key) else redis.call('EXPIRE', key, ttl) end
end

local function enqueue(id, job, origin, push)
    local ttl = tonumber(redis.call('HGET', job, 'ttl') or '')
    if ttl and ttl > 0 then
        for _, part in ipairs({'', ':dependents', ':dependencies'}) do
            redis.call('EXPIRE', job .. part, ttl)
        end
    end
    redis.call('HSET', job, 'status', 'queued', 'enqueued_at', order.written)
    redis.call('SADD', prefix .. ':queues', prefix .. ':queue:' .. origin)
    redis.call(push, prefix .. ':queue:' .. origin, id)
end

-- A job's own Retry, as Job.retry has it: again at once, or after the next of its intervals.
local function retry(id, job, origin)
    local left = redis.call('HINCRBY', job, 'retries_left', -1) + 1
    local f = redis.call('HMGET', job, 'retry_intervals', 'enqueue_at_front_on_retry')
    local intervals = f[1] and cjson.decode(f[1])
    local wait = type(intervals) == 'table' and tonumber(intervals[math.max(#intervals - left, 0) + 1]) or 0
    if wait > 0 then
        redis.call('HSET', job, 'status', 'scheduled')
        redis.call('ZADD', prefix .. ':scheduled:' .. origin, math.floor(now + wait), id)
    else
        enqueue(id, job, origin, f[2] == '1' and 'LPUSH' or 'RPUSH')
    end
end

-- The job that runs in place of a lost one: pools/runtime/fallback.py has made it, should this happen. Returns its id.
local function fall_back(job)
    local told = redis.call('HMGET', job, 'pw_fallback', 'pw_fallback_data')
    redis.call('HDEL', job, 'pw_fallback', 'pw_fallback_data', 'pw_failure_ttl')
    local read, one = pcall(cjson.decode, told[1] or '')
    local sound = read and told[2] and type(one) == 'table' and type(one.id) == 'string'
    if not sound or type(one.queue) ~= 'string' or type(one.fields) ~= 'table' then
        return
    end
    local key, queue = prefix .. ':job:' .. one.id, prefix .. ':queue:' .. one.queue
    for name, value in pairs(one.fields) do
        redis.call('HSET', key, name, tostring(value))
    end
    redis.call('HSET', key, 'data', told[2], 'created_at', order.written, 'enqueued_at', order.written)
    redis.call('SADD', prefix .. ':queues', queue)
    redis.call('RPUSH', queue, one.id)
    return one.id
end

local function bury(id, job, origin, ttl)
    redis.call('HSET', job, 'status', 'failed')
    redis.call('HDEL', job, 'pw_deadline')  -- whoever requeues it gives it a new one
    for _, part in ipairs({'', ':dependents', ':dependencies'}) do
        if ttl < 0 then redis.call('PERSIST', job .. part) else redis.call('EXPIRE', job .. part, ttl) end
    end
    redis.call('ZADD', prefix .. ':failed:' .. origin, ttl < 0 and ttl or math.floor(now) + ttl, id)
    order.event.job_id, order.event.queue = id, origin
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', 100000, '*', 'type', 'job.failed', 'body', cjson.encode(order.event))
    if redis.call('EXISTS', job .. ':dependents') == 1 or redis.call('HEXISTS', job, 'rate_limit_key') == 1 then
        redis.call('SADD', order.unsettled .. origin, id)
    end
end

-- What the idempotency key of a lost run says from now on, if it had one: nothing, or that nobody knows.
local function tell_key(id, job, outcome)
    local digest = redis.call('HGET', job, 'pw_once')
    local key = order.once .. ':' .. (digest or '')
    local held = digest and digest ~= '' and redis.call('HMGET', key, 'state', 'job', 'worker', 'keep')
    if not held or held[1] ~= 'running' or held[2] ~= id or held[3] ~= order.worker then
        return
    elseif outcome == 'again' then
        redis.call('DEL', key)
    else
        redis.call('HSET', key, 'state', 'unknown', 'may:' .. id, 1)
        redis.call('EXPIRE', key, held[4])
    end
end

local function decide(id, job, origin, run, ran)
    local f = redis.call('HMGET', job, 'pw_redeliver', 'retries_left', 'failure_ttl', 'pw_failure_ttl')
    local redeliver, retries, ttl = tonumber(f[1] or '') or 0, tonumber(f[2] or '') or 0, tonumber(f[3] or '')
    ttl = ttl or tonumber(f[4] or '') or order.failure_ttl
    redis.call('HSET', job, 'ended_at', order.written)
    if redeliver > 0 then
        if redis.call('HINCRBY', job, 'pw_lost', order.counts and 1 or 0) < redeliver then
            redis.call('HINCRBY', job, 'number_of_retries', 1)
            record(id, 4, 'again', run, ran, ttl)
            enqueue(id, job, origin, 'LPUSH')
            return 'again'
        end
    elseif retries > 0 then
        record(id, 4, 'again', run, ran, ttl)
        retry(id, job, origin)
        return 'again'
    end
    local outcome = redeliver > 0 and 'too_often' or 'unknown'
    bury(id, job, origin, ttl)
    record(id, 2, outcome, run, ran, ttl, fall_back(job))
    return outcome
end

local decided = {}
for _, execution in ipairs(redis.call('SMEMBERS', KEYS[1])) do
    local cut = string.find(execution, ':', 1, true)
    local id, run = string.sub(execution, 1, cut - 1), string.sub(execution, cut + 1)
    local job, key = prefix .. ':job:' .. id, prefix .. ':execution:' .. execution
    local f = redis.call('HMGET', job, 'origin', 'status')
    local ran = redis.call('HMGET', key, 'created_at', 'pw_host', 'pw_config')
    local registry = prefix .. ':wip:' .. (f[1] or '')
    local undecided = redis.call('ZREM', registry, execution) == 1
    redis.call('ZREM', prefix .. ':executions:' .. id, run)
    redis.call('DEL', key)
    if undecided and f[2] == 'started' and not runs_elsewhere(id, registry) then
        table.insert(decided, id)
        table.insert(decided, decide(id, job, f[1], run, ran))
        tell_key(id, job, decided[#decided])
    end
end
redis.call('DEL', KEYS[1])
return decided
