-- Whether a job's payload is of a version that this pool's workers know (see payload_version.py). Follows gates.lua.
-- Key: base .. 'unknown', JSON, a list of what waits for a worker that knows it: task, version, jobs (that this look
-- found), since (Unix ms). It is gone a minute after the last look that found any, or with one that finds none.
local KEPT = 60000

-- Of one look at the queues: `known` whether a job may pass, `tell` what had to wait; `all`: it was not cut short.
local function unknown_versions(rules)
    local key, waiting, by_name = rules.base .. 'unknown', {}, {}
    local asks = false
    for _, policy in ipairs(rules.policies) do
        asks = asks or #policy.versions > 0
    end

    local function known(policy, job, task)
        if not policy.versions or #policy.versions == 0 then
            return true
        end
        -- False: not marked, or not read yet. The worker that gets the job reads it; one that it does not know it
        -- writes down, and puts the job back.
        local version = redis.call('HGET', job, 'pw_schema')
        if not version then
            return true
        end
        for _, one in ipairs(policy.versions) do
            if one == version then
                return true
            end
        end
        local name = task .. '\n' .. version
        if not by_name[name] then
            by_name[name] = {task = task, version = version, jobs = 0, since = now_ms}
            table.insert(waiting, by_name[name])
        end
        by_name[name].jobs = by_name[name].jobs + 1
        return false
    end

    local function tell(all)
        if not asks then
            return
        elseif #waiting == 0 then
            if all then
                redis.call('DEL', key)
            end
            return
        end
        for _, one in ipairs(cjson.decode(redis.call('GET', key) or '[]')) do
            local now = by_name[one.task .. '\n' .. one.version]
            if now then
                now.since = one.since
                now.jobs = all and now.jobs or math.max(now.jobs, one.jobs)
            elseif not all then
                table.insert(waiting, one)
            end
        end
        redis.call('SET', key, cjson.encode(waiting), 'PX', KEPT)
    end

    return {known = known, tell = tell}
end
