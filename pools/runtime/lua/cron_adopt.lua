-- The cron entries of a config version, noted before the first agent acts on them.
-- KEYS[1] the pool's cron hash: `version` of the newest config that an agent acted on, and for each entry NAME:
--   NAME:plan (schedule and time zone), NAME:slot (the newest slot that is dealt with), NAME:job (the job enqueued last).
-- ARGV[1] config version, then name and plan of each entry.
-- A new entry, and one whose plan changed, begins with the first slot after this moment. Entries that are gone are
-- forgotten. Returns 1, or 0 when a newer version is in force: an agent that is behind changes nothing.
local known = tonumber(redis.call('HGET', KEYS[1], 'version') or '')
if known and known > tonumber(ARGV[1]) then
    return 0
end
local now, kept = redis.call('TIME')[1], {version = true}
redis.call('HSET', KEYS[1], 'version', ARGV[1])
for i = 2, #ARGV, 2 do
    local name, plan = ARGV[i], ARGV[i + 1]
    local before = redis.call('HMGET', KEYS[1], name .. ':plan', name .. ':slot')
    if before[1] ~= plan or not tonumber(before[2] or '') then
        redis.call('HSET', KEYS[1], name .. ':plan', plan, name .. ':slot', now)
    end
    kept[name .. ':plan'], kept[name .. ':slot'], kept[name .. ':job'] = true, true, true
end
for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    if not kept[field] then
        redis.call('HDEL', KEYS[1], field)
    end
end
return 1
