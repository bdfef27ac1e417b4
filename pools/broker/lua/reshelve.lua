-- Move jobs from one shelf to another, or delete what lies there of them, each completely or not at all.
-- KEYS: receipt (may be missing). ARGV: shelf's prefix, name of the shelf, name of the other (empty: delete), until when
-- they are kept there (unix ms, 0 for ever), outcome, job ids …
-- Returns one outcome a job id. The keys of the shelf are built from the prefix.
local receipt = KEYS[1]
local base, from, to, kept_until, outcome = unpack(ARGV, 1, 5)
local FIRST_ID = 6
kept_until = tonumber(kept_until)

local function reshelve(id)
    if moved_before(receipt, id) then
        return outcome
    end
    local keys, slip = shelf_keys(base, id)
    local lies = redis.call('HGET', slip, 'shelf')
    if lies ~= from then
        return lies and 'not_shelved' or 'expired'
    end
    if to == '' then
        redis.call('DEL', slip, unpack(keys))
    else
        redis.call('HSET', slip, 'shelf', to)
        keys[#keys + 1] = slip
        for _, key in ipairs(keys) do
            expire_at(key, kept_until)
        end
    end
    sign_for(receipt, id)
    return outcome
end

local outcomes = {}
for i = FIRST_ID, #ARGV do
    outcomes[i - FIRST_ID + 1] = reshelve(ARGV[i])
end
return outcomes
