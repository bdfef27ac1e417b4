-- Set a pool's envelope and the hint that it is newest, unless a newer one is there.
-- KEYS: envelope, desired. ARGV: what counts (config or generation), pool uid, pool, config, generation, envelope.
-- Returns 1, or 0 when nothing was changed.
local counts, uid, pool, config, generation, envelope = unpack(ARGV)
local desired = {pool = pool, config = tonumber(config), generation = tonumber(generation)}
local readable, there = pcall(cjson.decode, redis.call('HGET', KEYS[2], uid) or '{}')
if readable and type(there) == 'table' then
    if (tonumber(there[counts]) or 0) > desired[counts] then
        return 0
    end
    for _, number in ipairs({'config', 'generation'}) do
        desired[number] = math.max(desired[number], tonumber(there[number]) or 0)
    end
end
redis.call('SET', KEYS[1], envelope)
redis.call('HSET', KEYS[2], uid, cjson.encode(desired))
return 1
