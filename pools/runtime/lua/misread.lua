-- A claimed job is not what the claim took it for: back to its place in its queue, with what it is, and nothing taken.
-- Follows holds.lua. Does nothing unless the claim is still this worker's and for this job, so it may be repeated.
-- KEYS[1] claims hash, KEYS[2] hash of holds, KEYS[3] queue list, KEYS[4] intermediate list, KEYS[5] first_seen key,
-- KEYS[6] job. ARGV[1] worker, ARGV[2] claim (queue key, newline, job id), ARGV[3] job id, ARGV[4] the job that
-- stood before it (when that is gone, it is the first), then fields and values.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then
    return 0
end
let_go(KEYS[2], ARGV[1], true)
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[5])
if redis.call('LREM', KEYS[4], 1, ARGV[3]) == 1 and redis.call('EXISTS', KEYS[6]) == 1 then
    redis.call('HSET', KEYS[6], unpack(ARGV, 5))
    if redis.call('LINSERT', KEYS[3], 'AFTER', ARGV[4], ARGV[3]) < 1 then
        redis.call('LPUSH', KEYS[3], ARGV[3])
    end
end
return 1
