-- Take failed jobs of one queue out of RQ's sight, onto a shelf or away, each completely or not at all.
-- KEYS: failed registry, started registry, receipt (may be missing). ARGV: prefix, now (unix), now (as RQ writes times),
-- shelf's prefix, name of the shelf (empty: delete), until when they are kept (unix ms, 0 for ever), outcome; then a job id
-- and its score (where it must lie in the failed registry, empty: anywhere), and so on. Returns one outcome a job. The keys of jobs, groups, executions, rate limits and shelf are built from the prefixes.
local failed, started, receipt = KEYS[1], KEYS[2], KEYS[3]
local prefix, now, stamp, base, shelf, kept_until, outcome = unpack(ARGV, 1, 7)
local FIRST_ID = 8
kept_until = tonumber(kept_until)
local now_ms = clock()

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

-- What lay on the shelf of an earlier job with this id makes room.
local function keep(id, group)
    local there, slip = shelf_keys(base, id)
    redis.call('DEL', slip, unpack(there))
    local told = {'shelf', shelf, 'score', redis.call('ZSCORE', failed, id)}
    if group and redis.pcall('SISMEMBER', prefix .. ':group:' .. group, id) == 1 then
        told[5], told[6] = 'group', group
    end
    for n, key in ipairs(rq_keys(prefix, id)) do
        local ttl = redis.call('PTTL', key)
        if ttl ~= -2 then
            redis.call('RENAME', key, there[n])
            expire_at(there[n], kept_until)
        end
        if ttl >= 0 then
            told[#told + 1], told[#told + 2] = PARTS[n], string.format('%.0f', now_ms + ttl)
        end
    end
    redis.call('HSET', slip, unpack(told))
    expire_at(slip, kept_until)
end

local function shelve(id, score)
    if moved_before(receipt, id) then
        return outcome
    end
    local key = prefix .. ':job:' .. id
    local job = redis.pcall('HMGET', key, 'status', 'group_id', 'rate_limit_key', 'rate_limit_concurrency')
    if redis.call('EXISTS', key) == 0 then
        redis.call('ZREM', failed, id)
        return 'gone'
    end
    local there = redis.call('ZSCORE', failed, id)
    if not there then
        return 'not_failed'
    end
    if job.err then
        job = {}
    elseif job[1] and job[1] ~= 'failed' and job[1] ~= 'stopped' then
        return 'not_failed'
    end
    if score ~= '' and tonumber(score) ~= tonumber(there) then
        return 'failed_anew'
    end
    local group = job[2] and job[2] ~= '' and job[2]
    local limit, concurrency = job[3] or '', tonumber(job[4] or '') or 0
    local limited = limit ~= '' and concurrency > 0
    if shelf == '' then
        redis.call('DEL', unpack(rq_keys(prefix, id)))
    else
        keep(id, group)
    end
    if not limited then
        forget_executions(id)
    end
    if group then
        redis.pcall('SREM', prefix .. ':group:' .. group, id)
    end
    redis.call('ZREM', failed, id)
    if limited then
        free_slot(id, limit)
    end
    sign_for(receipt, id)
    return outcome
end

local outcomes = {}
for i = FIRST_ID, #ARGV, 2 do
    outcomes[#outcomes + 1] = shelve(ARGV[i], ARGV[i + 1])
end
return outcomes
