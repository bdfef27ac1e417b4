-- A claimed job is now kept elsewhere (started registry, failed registry, or it no longer exists): let go of it.
-- Does nothing unless the claim is still this worker's and for this job, so it may be repeated.
-- Follows holds.lua. KEYS[1] claims hash, KEYS[2] intermediate list, KEYS[3] first_seen key, KEYS[4] hash of holds.
-- ARGV[1] worker name, ARGV[2] claim (queue key, newline, job id), ARGV[3] job id.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return 0
end
let_go(KEYS[4], ARGV[1], true)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[3])
return redis.call('LREM', KEYS[2], 1, ARGV[3])
