-- What a worker took at its claim beside the job: places in running sets, tokens of half-open breakers, turns of rates.
-- The hash `holds`: worker → JSON {task, slots: sets that it is a member of, rates: key → cost, breakers: names,
-- once: the key of once.lua that it took}.
-- Gives it all back; `unused`: the job never ran, so its turns and its key too. Returns what was held, or nil.
local function let_go(holds, worker, unused)
    local told = redis.call('HGET', holds, worker)
    if not told then
        return nil
    end
    local held = cjson.decode(told)
    for _, set in ipairs(held.slots) do
        redis.call('SREM', set, worker)
    end
    for rate, cost in pairs(unused and held.rates or {}) do
        local turn = tonumber(redis.call('GET', rate) or '')
        if turn then
            redis.call('SET', rate, string.format('%.0f', turn - cost), 'KEEPTTL')
        end
    end
    if unused and held.once and redis.call('HGET', held.once, 'worker') == worker then
        redis.call('DEL', held.once)
    end
    redis.call('HDEL', holds, worker)
    return held
end
