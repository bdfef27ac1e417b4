-- Deal with one slot of a cron entry, once for all agents: enqueue its job, skip it, or note that it was missed.
-- KEYS[1] the pool's cron hash (see cron_adopt.lua), KEYS[2] queue list, KEYS[3] rq's set of queues, KEYS[4] the job,
-- KEYS[5] events stream.
-- ARGV[1] entry's name, ARGV[2] slot, ARGV[3] slot that must be dealt with before, ARGV[4] config version,
-- ARGV[5] `missed`, `skip` (not while the job before waits or runs) or `allow`, ARGV[6] job id,
-- ARGV[7] prefix of rq's job keys, ARGV[8] most events, ARGV[9] event body, then the job's fields and values.
-- Returns `enqueued`, `skipped`, `missed`, or false when the slot was dealt with already or a newer config is in force.
local name, slot = ARGV[1], tonumber(ARGV[2])
local state = redis.call('HMGET', KEYS[1], 'version', name .. ':slot', name .. ':job')
local last = tonumber(state[2] or '')
if state[1] ~= ARGV[4] or not last or last >= slot or last < tonumber(ARGV[3]) then
    return false
end
redis.call('HSET', KEYS[1], name .. ':slot', ARGV[2])
if redis.call('EXISTS', KEYS[4]) == 1 then
    return false  -- the hash was lost and begun anew, the job was not
end
local going = {queued = true, started = true, scheduled = true, deferred = true, rate_limited = true}
local outcome = 'enqueued'
if ARGV[5] == 'missed' then
    outcome = 'missed'
elseif ARGV[5] == 'skip' and state[3] and going[redis.call('HGET', ARGV[7] .. state[3], 'status')] then
    outcome = 'skipped'
else
    redis.call('HSET', KEYS[1], name .. ':job', ARGV[6])
    redis.call('SADD', KEYS[3], KEYS[2])
    redis.call('HSET', KEYS[4], unpack(ARGV, 10))
    redis.call('RPUSH', KEYS[2], ARGV[6])
end
local body = cjson.decode(ARGV[9])
body.outcome = outcome
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[8], '*', 'type', 'cron.slot', 'body', cjson.encode(body))
return outcome
