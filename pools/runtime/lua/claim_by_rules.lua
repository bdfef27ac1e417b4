-- Take the next job of a pool with weights, breakers, limits or idempotency keys, as claim.lua does without them.
-- Follows record.lua, gates.lua, once.lua and versions.lua.
-- Weights are smooth weighted round-robin: each queue that holds jobs gains its weight, the richest is served and pays
-- what all gained. So shares are as the weights are, none waits for ever, and what is not used goes to the others.
-- A job that must not begin yet holds up only those of its kind: of each queue the first 100 are looked at, in order.
-- KEYS[1] claims hash, KEYS[2] rq's suspension key, KEYS[3] hash of credits: queue's list → what it has gained;
-- KEYS[4] hash of holds, KEYS[5] the pool's rest (see gates.lua); then for each queue in order: its list, its intermediate list.
-- ARGV[1] worker name, ARGV[2] Unix time, ARGV[3] JSON of the rules: see rules.py and gates.lua, and `jobs`, the prefix
-- of rq's job keys; ARGV[4] JSON, a list of wishes: breaker, state, generation; two more, see record.lua.
-- Returns {queue key, job id, its record, task that was assumed, job that stood before it}, or false when there is nothing to do.
local FIRST, AHEAD = 6, 100
local worker, rules = ARGV[1], nil
local held = redis.call('HGET', KEYS[1], worker)
if held then
    -- The last answer was lost on the way (a reconnect), or not yet acknowledged: the same job again.
    local cut, told = string.find(held, '\n', 1, true), redis.call('HGET', KEYS[4], worker)
    local id = string.sub(held, cut + 1)
    return {string.sub(held, 1, cut - 1), id, record_of(id), told and cjson.decode(told).task or ''}
end
let_go(KEYS[4], worker)  -- a worker that asks for a job has none, whatever became of its last
for _, wish in ipairs(cjson.decode(ARGV[4])) do
    rules = rules or cjson.decode(ARGV[3])
    obey(wish, rules)
end
if redis.call('EXISTS', KEYS[2], KEYS[5]) > 0 then
    return false
end

local waiting = {}
for i = FIRST, #KEYS, 2 do
    if redis.call('EXISTS', KEYS[i]) == 1 then
        table.insert(waiting, {place = i, list = KEYS[i], intermediate = KEYS[i + 1]})
    end
end
if #waiting == 0 then
    return false
end
rules = rules or cjson.decode(ARGV[3])
rules.holds = KEYS[4]
local weighted = #rules.weights > 0
local gated = #rules.breakers + #rules.limits + #rules.policies > 0

-- The task by what rq writes as a description, until a worker has read the payload and found it to be another.
local function task_of(job)
    local told = redis.call('HMGET', job, 'pw_task', 'description')
    return told[1] or string.match(told[2] or '', '^([%w_.]+)%(') or ''
end

local tasks, answers, hopeless = {}, {}, {}
local versions = unknown_versions(rules)
local function gates_of(task)
    if not tasks[task] then
        tasks[task] = {breakers = matching(rules.breakers, task), limits = matching(rules.limits, task)}
        tasks[task].policy = matching(rules.policies, task)[1] or {}
    end
    return tasks[task]
end

-- The same question has the same answer until something is taken.
local function once(gate, value, ask)
    local question = gate.name .. '\n' .. value
    if answers[question] == nil then
        answers[question] = ask() or false
    end
    return answers[question]
end

local function value_of(limit, job, queue)
    if limit.by == '' then
        return ''
    elseif limit.by == 'queue' then
        return queue.list
    end
    -- False: not read yet. The worker that gets the job reads it, writes it down and puts the job back.
    return redis.call('HGET', job, 'pw_by:' .. limit.by)
end

-- All that a job takes when it begins now; nil when it may not. One that is answered begins, and takes nothing.
local function pass(task, id, queue)
    local job = rules.jobs .. id
    local gates, taken = gates_of(task), {task = task, slots = {}, rates = {}, breakers = {}}
    local passed = {}
    if not versions.known(gates.policy, job, task) then
        return nil
    end
    -- False: not read yet, as an argument in value_of.
    local digest = gates.policy.keep and redis.call('HGET', job, 'pw_once')
    if digest and digest ~= '' then
        taken.once = rules.base .. 'once:' .. digest
        local answer = asked_before(taken.once, id, rules)
        if answer == 'wait' then
            return nil
        elseif answer then
            return {task = task, slots = {}, rates = {}, breakers = {}}, answer
        end
    end
    for _, breaker in ipairs(gates.breakers) do
        local one = once(breaker, 'breaker', function() return pass_breaker(breaker, rules) end)
        if not one then
            hopeless[task] = true
            return nil
        end
        table.insert(taken.breakers, breaker.name)
        table.insert(passed, one)
    end
    for _, limit in ipairs(gates.limits) do
        local value = value_of(limit, job, queue)
        local one = value and once(limit, 'limit\n' .. value, function() return pass_limit(limit, value, rules) end)
        if value and not one then
            hopeless[task] = limit.by == ''
            return nil
        end
        table.insert(passed, one or nil)
    end
    for _, one in ipairs(passed) do
        for _, set in ipairs(one.slots) do table.insert(taken.slots, set) end
        for rate, cost in pairs(one.rates) do taken.rates[rate] = cost end
    end
    return taken
end

-- The first job of a queue that may begin: its place, id, and what it takes.
local function first_free(queue)
    local before = ''
    for place = 0, gated and AHEAD - 1 or 0 do
        local id = redis.call('LINDEX', queue.list, place)
        if not id then
            return nil
        end
        local task = gated and task_of(rules.jobs .. id) or ''
        local taken, answer
        if not hopeless[task] then
            taken, answer = pass(task, id, queue)
        end
        if taken then
            return {place = place, id = id, taken = taken, before = before, answer = answer}
        end
        before = id
    end
    return nil
end

if weighted then
    for _, queue in ipairs(waiting) do
        queue.weight = rules.weights[(queue.place - FIRST) / 2 + 1]
        queue.credit = tonumber(redis.call('HGET', KEYS[3], queue.list) or 0) + queue.weight
    end
    table.sort(waiting, function(one, other)
        if one.credit ~= other.credit then return one.credit > other.credit end
        return one.place < other.place
    end)
end

local function pay(served)
    local all = 0
    for _, queue in ipairs(waiting) do
        all = all + (queue.blocked and 0 or queue.weight)
    end
    served.credit = served.credit - all
    for _, queue in ipairs(waiting) do
        if not queue.blocked then
            redis.call('HSET', KEYS[3], queue.list, queue.credit)
        end
    end
end

for _, queue in ipairs(waiting) do
    local found = first_free(queue)
    if found then
        if found.place == 0 then
            redis.call('LPOP', queue.list)
        else
            redis.call('LREM', queue.list, 1, found.id)
        end
        redis.call('RPUSH', queue.intermediate, found.id)
        -- Always anew: rq's own maintenance fails a job at once when it finds a first_seen of an earlier run.
        redis.call('SET', queue.intermediate .. ':first_seen:' .. found.id, ARGV[2], 'EX', 86400)
        redis.call('HSET', KEYS[1], worker, queue.list .. '\n' .. found.id)
        local taken, policy = found.taken, gates_of(found.taken.task).policy
        if policy.keep then
            tell(rules.jobs .. found.id, found.answer)
        end
        if #taken.slots + #taken.breakers > 0 or next(taken.rates) or taken.once then
            take(worker, taken)
            if taken.once then
                reserve(taken.once, found.id, worker, policy.keep)
            end
            redis.call('HSET', KEYS[4], worker, cjson.encode(taken))
        end
        if weighted then
            pay(queue)
        end
        versions.tell(false)
        return {queue.list, found.id, record_of(found.id), taken.task, found.before}
    end
    queue.blocked = true  -- nobody gains by jobs that may not begin
end
versions.tell(true)
if gated then
    redis.call('SET', KEYS[5], 1, 'PX', rest)
end
return false
