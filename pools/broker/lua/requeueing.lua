-- Prepended to the scripts that move failed jobs from one queue's failed registry back onto the queue, or onto another
-- one, each completely or not at all.
-- KEYS: failed registry, queue to push to, set of queues, receipt (may be missing).
-- ARGV: prefix, name of the registry's queue, name of the queue to push to, now (unix), now (as RQ writes times), empty
-- exc_info, default timeout, '1' when a job is to stay if one that it depends on is gone; then what the script itself wants. A job's score: where it must lie in the failed registry,
-- empty: anywhere. The keys of jobs and rate limits are built from the prefix.
local failed, queue, queues, receipt = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, name, target, now, stamp, no_exc_info, default_timeout, orphans_stay = unpack(ARGV, 1, 8)

-- Whether a job that this one depends on is gone. RQ names them in a JSON list; before 1.0 it had only the one field.
local function is_orphan(key)
    local lists, one = unpack(redis.call('HMGET', key, 'dependency_ids', 'dependency_id'))
    local read, ids = pcall(cjson.decode, lists or '[]')
    if not read or type(ids) ~= 'table' or #ids == 0 then
        ids = (one or '') ~= '' and {one} or {}
    end
    for _, id in ipairs(ids) do
        if redis.call('EXISTS', prefix .. ':job:' .. tostring(id)) == 0 then
            return true
        end
    end
    return false
end

-- Why the job stays as it is, or nothing.
local function refusal(id, key, job, score)
    if job.err then
        return 'damaged'
    end
    if not job[1] and redis.call('EXISTS', key) == 0 then
        return 'gone'
    end
    local there = redis.call('ZSCORE', failed, id)
    if not there then
        return 'not_failed'
    end
    -- A record that names another queue would carry the job, and the operator's permission, over to it.
    if not job[1] or job[2] ~= name or redis.call('HEXISTS', key, 'data') == 0 then
        return 'damaged'
    end
    -- The entry is stale: Queue.enqueue_job() on a failed job leaves it behind, and a second push would run it twice.
    if job[1] ~= 'failed' and job[1] ~= 'stopped' then
        return 'not_failed'
    end
    if score ~= '' and tonumber(score) ~= tonumber(there) then
        return 'failed_anew'
    end
    if orphans_stay == '1' and is_orphan(key) then
        return 'orphaned'
    end
end

-- The failure's expiry must not outlive the failure: the job would vanish while it waits.
local function set_expiry(id, ttl)
    local keys = {prefix .. ':job:' .. id, prefix .. ':job:' .. id .. ':dependents',
                  prefix .. ':job::' .. id .. ':dependencies'}
    for _, key in ipairs(keys) do
        if ttl and ttl > 0 then
            redis.call('EXPIRE', key, ttl)
        else
            redis.call('PERSIST', key)
        end
    end
end

local function wait_for_slot(id, limit, concurrency)
    return not (fails('SADD', prefix .. ':rl-keys', limit)
        or fails('HSET', prefix .. ':rl:' .. limit, 'concurrency', concurrency)
        or fails('ZADD', prefix .. ':rl:' .. limit .. ':rate_limited', now, id))
end

-- With ``seen``, what the payload must be byte for byte, it becomes ``data``. No payload is as an empty one says.
local function requeue(id, score, seen, data)
    if moved_before(receipt, id) then
        return 'requeued'
    end
    local key = prefix .. ':job:' .. id
    local job = redis.pcall('HMGET', key, 'status', 'origin', 'ttl', 'timeout', 'rate_limit_key',
        'rate_limit_concurrency')
    local refused = refusal(id, key, job, score)
    if refused then
        return refused
    end
    if seen and (seen == '' or redis.call('HGET', key, 'data') ~= seen) then
        return 'changed'
    end
    local limit, concurrency = job[5] or '', tonumber(job[6] or '') or 0
    local limited = limit ~= '' and concurrency > 0
    local state, name_of_more, more = 'queued', 'enqueued_at', stamp
    if limited then
        if not wait_for_slot(id, limit, concurrency) then
            return 'damaged'
        end
        state, name_of_more, more = 'rate_limited', 'enqueue_at_front', 0
    elseif fails('RPUSH', queue, id) then
        return 'damaged'
    end
    redis.call('ZREM', failed, id)
    redis.call('HSET', key, 'status', state, 'origin', target, name_of_more, more, 'started_at', '', 'ended_at', '',
        'exc_info', no_exc_info, 'timeout', job[4] or default_timeout)
    if seen then
        redis.call('HSET', key, 'data', data)
    end
    set_expiry(id, tonumber(job[3] or ''))
    if limited then
        promote(prefix, limit, concurrency, now, stamp)
    end
    sign_for(receipt, id)
    return 'requeued'
end

local function list_queue(outcomes)
    for _, outcome in ipairs(outcomes) do
        if outcome == 'requeued' then
            redis.pcall('SADD', queues, queue)
            return
        end
    end
end
