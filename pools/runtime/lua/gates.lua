-- Whether a task may begin now: its breakers and its limits. Follows holds.lua.
-- `rules` is what rules.py tells, with `base` (prefix of the pool's gate keys), `workers` (of rq's worker keys), `holds`.
-- Keys of a breaker: base .. 'breaker:' .. name, a hash: state (closed, open, half_open, held), since (Unix ms),
-- passed (probes), generation (of the newest wish); with ':failures' a list of times, with ':probes' a set of workers.
-- Key of the pool: base .. 'rest' while workers need not look, as all that waits was found to have to.
-- Keys of a limit: base .. 'limit:' .. name .. ':' .. what it is counted by; with ':rate' the time (Unix µs) at which
-- it is empty again (GCRA), with ':running' a set of workers.
local clock = redis.call('TIME')
local now_us = clock[1] * 1000000 + clock[2]
local now_ms = math.floor(now_us / 1000)

local LONGEST_REST = 100  -- ms; what ends a rest sooner: a job's end, a wish, the next turn of a rate
local rest = LONGEST_REST

local function wake(base)
    redis.call('DEL', base .. 'rest')
end

local function matches(name, pieces)
    if #pieces == 1 then
        return string.find(name, '^' .. pieces[1] .. '$') ~= nil
    end
    local _, place = string.find(name, '^' .. pieces[1])
    for i = 2, #pieces - 1 do
        if not place then
            return false
        end
        _, place = string.find(name, pieces[i], place + 1)
    end
    return place ~= nil and string.find(string.sub(name, place + 1), pieces[#pieces] .. '$') ~= nil
end

local function matching(gates, task)
    local found = {}
    for _, gate in ipairs(gates) do
        for _, pieces in ipairs(gate.tasks) do
            if matches(task, pieces) then
                table.insert(found, gate)
                break
            end
        end
    end
    return found
end

-- Room in a set of workers. Only when there is none are those looked for whose key has ended, as a dead worker's does.
local function room(set, most, rules)
    if redis.call('SCARD', set) < most then
        return true
    end
    for _, worker in ipairs(redis.call('SMEMBERS', set)) do
        if redis.call('EXISTS', rules.workers .. worker) == 0 then
            let_go(rules.holds, worker)
            redis.call('SREM', set, worker)
        end
    end
    return redis.call('SCARD', set) < most
end

local function breaker_key(name, rules)
    return rules.base .. 'breaker:' .. name
end

local function turn_to(key, state)
    redis.call('HSET', key, 'state', state, 'since', now_ms, 'passed', 0)
    redis.call('DEL', key .. ':failures', key .. ':probes')
end

-- What people want, once for each generation: `open` holds it until they close it.
local function obey(wish, rules)
    local key = breaker_key(wish.breaker, rules)
    if tonumber(redis.call('HGET', key, 'generation') or 0) < wish.generation then
        turn_to(key, wish.state == 'open' and 'held' or 'closed')
        redis.call('HSET', key, 'generation', wish.generation)
        wake(rules.base)
    end
end

-- Of a breaker's hold on a job: nil when it may not begin, else a list of sets to join.
local function pass_breaker(breaker, rules)
    local key = breaker_key(breaker.name, rules)
    local told = redis.call('HMGET', key, 'state', 'since', 'passed')
    local state, passed = told[1] or 'closed', tonumber(told[3] or 0)
    if state == 'open' and now_ms >= tonumber(told[2]) + breaker.open_for * 1000 then
        turn_to(key, 'half_open')
        state, passed = 'half_open', 0
    end
    if state == 'closed' then
        return {slots = {}, rates = {}}
    end
    if state == 'half_open' and room(key .. ':probes', breaker.probes - passed, rules) then
        return {slots = {key .. ':probes'}, rates = {}}
    end
    return nil
end

local function pass_limit(limit, value, rules)
    local key, taken = rules.base .. 'limit:' .. limit.name .. ':' .. value, {slots = {}, rates = {}}
    if limit.concurrency > 0 then
        if not room(key .. ':running', limit.concurrency, rules) then
            return nil
        end
        table.insert(taken.slots, key .. ':running')
    end
    if limit.interval > 0 then
        local turn = math.max(tonumber(redis.call('GET', key .. ':rate') or 0), now_us)
        local early = turn - now_us - (limit.burst - 1) * limit.interval
        if early > 0 then
            rest = math.min(rest, math.ceil(early / 1000))
            return nil
        end
        taken.rates[key .. ':rate'] = limit.interval
    end
    return taken
end

local function take(worker, taken)
    for _, set in ipairs(taken.slots) do
        redis.call('SADD', set, worker)
    end
    for rate, cost in pairs(taken.rates) do
        local turn = math.max(tonumber(redis.call('GET', rate) or 0), now_us) + cost
        redis.call('SET', rate, string.format('%.0f', turn), 'PX', math.ceil((turn - now_us) / 1000) + 1000)
    end
end
