-- A claimed job begins: rq's writes, and the claim let go, if the claim is still this worker's, and the job as it was
-- claimed; else nothing.
-- KEYS[1] claims hash, KEYS[2] started registry, KEYS[3] the job's hash. ARGV[1] worker name, ARGV[2] its claim,
-- ARGV[3] job:execution, ARGV[4] the job's status when it was claimed, empty for none.
-- The rest of ARGV: the writes, see writes.lua. Returns 1 done (also when asked again after a lost answer), 0 refused,
-- 4 the job was deleted or cancelled since, or begun by whoever took another entry of it; the claim is held still.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return redis.call('ZSCORE', KEYS[2], ARGV[3]) and 1 or 0
end
local status = redis.pcall('HGET', KEYS[3], 'status')
if (status or '') ~= ARGV[4] then
    return 4
end
local first = 5
