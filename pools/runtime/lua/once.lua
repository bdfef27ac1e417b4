-- Whether a job with an idempotency key may run (see idempotency.py). Follows gates.lua.
-- Key: base .. 'once:' .. digest, a hash: state (running, done, unknown), job, worker (that runs it), keep (seconds),
-- result (as rq stores it), and 'may:' .. a job's id for one that may run though the outcome is unknown.
-- A run that nobody tells the end of, as its job was deleted and its worker died, lets go of its key after a month.
local LONGEST_RUN = 30 * 86400

-- nil when the job with this id may run, `wait` while another with the key runs, else a table: `by`, whose result it
-- gets, and `result`, false when that is unknown.
local function asked_before(key, id, rules)
    local told = redis.call('HMGET', key, 'state', 'job', 'worker', 'result')
    local state, by = told[1], told[2]
    if state == 'done' then
        return {by = by, result = told[4]}
    elseif state == 'unknown' and redis.call('HEXISTS', key, 'may:' .. id) == 0 then
        return {by = by, result = false}
    elseif state == 'running' then
        local note = redis.call('HGET', rules.holds, told[3])
        local held = note and cjson.decode(note).once == key
        if held or redis.call('HGET', rules.jobs .. by, 'status') == 'started' then
            return 'wait'
        end
    end
    return nil
end

local function reserve(key, id, worker, keep)
    redis.call('DEL', key)
    redis.call('HSET', key, 'state', 'running', 'job', id, 'worker', worker, 'keep', keep)
    redis.call('EXPIRE', key, LONGEST_RUN)
end

-- What the key said is beside the job while it has it, and not longer.
local function tell(job, answer)
    redis.call('HDEL', job, 'pw_answered', 'pw_answer')
    if answer then
        redis.call('HSET', job, 'pw_answered', answer.by)
        if answer.result then
            redis.call('HSET', job, 'pw_answer', answer.result)
        end
    end
end
