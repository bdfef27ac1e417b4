-- A job ended: tell the breakers that it passed, and give back what it took. Follows gates.lua.
-- In the transaction that writes the end, and only for what the worker still holds: asked again it does nothing.
-- KEYS[1] hash of holds. ARGV[1] worker, ARGV[2] prefix of the pool's gate keys, ARGV[3] JSON: for each breaker its
-- verdict (failed, passed, or empty), failures, window (seconds) and probes.
local told = redis.call('HGET', KEYS[1], ARGV[1])
if not told then
    return 0
end
local verdicts = cjson.decode(ARGV[3])
for _, name in ipairs(cjson.decode(told).breakers) do
    local breaker = verdicts[name] or {verdict = ''}
    local key = breaker_key(name, {base = ARGV[2]})
    local state = redis.call('HGET', key, 'state') or 'closed'
    if state == 'closed' and breaker.verdict == 'failed' then
        redis.call('LPUSH', key .. ':failures', now_ms)
        redis.call('LTRIM', key .. ':failures', 0, breaker.failures - 1)
        redis.call('EXPIRE', key .. ':failures', breaker.window)
        local first = tonumber(redis.call('LINDEX', key .. ':failures', breaker.failures - 1) or '')
        if first and now_ms - first <= breaker.window * 1000 then
            turn_to(key, 'open')
        end
    elseif state == 'half_open' and redis.call('SISMEMBER', key .. ':probes', ARGV[1]) == 1 then
        if breaker.verdict == 'failed' then
            turn_to(key, 'open')
        elseif breaker.verdict == 'passed' and redis.call('HINCRBY', key, 'passed', 1) >= breaker.probes then
            turn_to(key, 'closed')
        end
    end
end
let_go(KEYS[1], ARGV[1])
wake(ARGV[2])
return 1
