-- Delete failed jobs of one queue with all that RQ keeps of them, each completely or not at all.
-- KEYS: failed registry, started registry, receipt (may be missing). ARGV: prefix, now (unix), now (as RQ writes times), job ids …
-- Returns one outcome a job id. The keys of jobs, groups, executions and rate limits are built from the prefix.
local failed, started, receipt = KEYS[1], KEYS[2], KEYS[3]
local prefix, now, stamp = unpack(ARGV, 1, 3)

-- What a worker that died left of its runs. RQ does the same, but one round trip an execution.
local function forget_executions(id)
    local registry = prefix .. ':executions:' .. id
    local executions = redis.pcall('ZRANGE', registry, 0, -1)
    if executions.err then
        return
    end
    for _, execution in ipairs(executions) do
        local composite = id .. ':' .. execution
        local worker = redis.pcall('HGET', prefix .. ':execution:' .. composite, 'worker_name')
        if type(worker) == 'string' then
            redis.pcall('SREM', prefix .. ':worker:' .. worker .. ':executions', composite)
        end
        redis.call('ZREM', started, composite)
        redis.call('DEL', prefix .. ':execution:' .. composite)
    end
    redis.call('DEL', registry)
end

-- A running execution keeps its slot, as in RQ: another job in it would exceed the limit.
local function free_slot(id, limit)
    if fails('ZREM', prefix .. ':rl:' .. limit .. ':rate_limited', id) then
        return
    end
    local executions = prefix .. ':executions:' .. id
    if fails('ZCARD', executions) or redis.call('ZCOUNT', executions, '(' .. now, '+inf') > 0 then
        return
    end
    local allowed = prefix .. ':rl:' .. limit .. ':allowed'
    if fails('ZCARD', allowed) or redis.call('ZREM', allowed, id) == 0 then
        return
    end
    local concurrency = redis.pcall('HGET', prefix .. ':rl:' .. limit, 'concurrency')
    promote(prefix, limit, type(concurrency) == 'string' and tonumber(concurrency) or 0, now, stamp)
end

local function discard(id)
    if moved_before(receipt, id) then
        return 'discarded'
    end
    local key = prefix .. ':job:' .. id
    local job = redis.pcall('HMGET', key, 'status', 'group_id', 'rate_limit_key', 'rate_limit_concurrency')
    if redis.call('EXISTS', key) == 0 then
        redis.call('ZREM', failed, id)
        return 'gone'
    end
    if not redis.call('ZSCORE', failed, id) then
        return 'not_failed'
    end
    if job.err then
        job = {}
    elseif job[1] and job[1] ~= 'failed' and job[1] ~= 'stopped' then
        return 'not_failed'
    end
    local limit, concurrency = job[3] or '', tonumber(job[4] or '') or 0
    local limited = limit ~= '' and concurrency > 0
    if not limited then
        forget_executions(id)
    end
    if job[2] and job[2] ~= '' then
        redis.pcall('SREM', prefix .. ':group:' .. job[2], id)
    end
    redis.call('ZREM', failed, id)
    redis.call('DEL', key, key .. ':dependents', prefix .. ':job::' .. id .. ':dependencies', prefix .. ':results:' .. id)
    if limited then
        free_slot(id, limit)
    end
    sign_for(receipt, id)
    return 'discarded'
end

local outcomes = {}
for i = 4, #ARGV do
    outcomes[i - 3] = discard(ARGV[i])
end
return outcomes
