-- A claimed job begins: rq's writes, and the claim let go, if the claim is still this worker's; else nothing.
-- KEYS[1] claims hash, KEYS[2] started registry. ARGV[1] worker name, ARGV[2] its claim, ARGV[3] job:execution.
-- The rest of ARGV: the writes, see writes.lua. Returns 1 done (also when asked again after a lost answer), 0 refused.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return redis.call('ZSCORE', KEYS[2], ARGV[3]) and 1 or 0
end
local first = 4
