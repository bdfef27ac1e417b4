-- Put jobs from a shelf back into one queue's failed registry as they were, each completely or not at all.
-- KEYS: failed registry, set of groups, receipt (may be missing). ARGV: prefix, shelf's prefix, name of the shelf, for how
-- long a job is kept at least (ms), job ids …
-- Returns one outcome a job id. The keys of jobs, groups and shelf are built from the prefixes.
local failed, groups, receipt = KEYS[1], KEYS[2], KEYS[3]
local prefix, base, shelf, kept_at_least = unpack(ARGV, 1, 4)
local FIRST_ID = 5
local soonest = clock() + tonumber(kept_at_least)

local function score_of(told)
    local score = tonumber(told)
    return score >= 0 and score * 1000 < soonest and string.format('%.3f', soonest / 1000) or told
end

local function unshelve(id)
    if moved_before(receipt, id) then
        return 'restored'
    end
    local here, there, slip = rq_keys(prefix, id), shelf_keys(base, id)
    local told = redis.call('HMGET', slip, 'shelf', 'score', 'group', unpack(PARTS))
    if told[1] and told[1] ~= shelf then
        return 'not_shelved'
    end
    if not told[1] or redis.call('EXISTS', there[1]) == 0 then
        return redis.call('EXISTS', here[1]) == 1 and 'not_shelved' or 'expired'
    end
    if redis.call('EXISTS', unpack(here)) > 0 then
        return 'taken'
    end
    redis.call('ZADD', failed, score_of(told[2]), id)
    for n, key in ipairs(here) do
        if redis.call('EXISTS', there[n]) == 1 then
            local expires = tonumber(told[3 + n] or 0)
            redis.call('RENAME', there[n], key)
            expire_at(key, expires > 0 and math.max(expires, soonest) or 0)
        end
    end
    if told[3] and not fails('SADD', prefix .. ':group:' .. told[3], id) then
        redis.pcall('SADD', groups, told[3])
    end
    redis.call('DEL', slip)
    sign_for(receipt, id)
    return 'restored'
end

local outcomes = {}
for i = FIRST_ID, #ARGV do
    outcomes[i - FIRST_ID + 1] = unshelve(ARGV[i])
end
return outcomes
