"""Cron entries: each agent enqueues what is due, and one script sees to it that each slot is dealt with once.

No leader, no lock: agents may do it at the same moment, die in between, or be behind. Time is the broker's, so agents'
own clocks do not matter. It needs neither the console nor SQL.
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from importlib.resources import files
from typing import Any

from redis.exceptions import ResponseError
from rq.job import Job, JobStatus
from rq.serializers import DefaultSerializer, JSONSerializer

from pools.runtime import events
from pools.runtime.keys import Keys
from pools.signing import VerifiedConfig
from pools.spec import CronEntry, PoolSpec
from pools.spec.schedule import Schedule

log = logging.getLogger("poolwarden.agent")

_LUA = files("pools.runtime").joinpath("lua")
ADOPT, DEAL = (_LUA.joinpath(f"{name}.lua").read_text() for name in ("cron_adopt", "cron"))
# A slot that is older has been missed, for whatever reason: no agent, no broker, a pool that was paused.
ON_TIME_SECONDS = 60
MOST_CAUGHT_UP = 100
SERIALIZERS: dict[str, Any] = {"json": JSONSerializer, "pickle": DefaultSerializer}

Config = VerifiedConfig[PoolSpec]


@dataclass(frozen=True)
class Step:
    """What to do about one slot (Unix time): enqueue its job, or note that it and those before it were missed."""

    slot: int
    missed: bool = False


def steps(entry: CronEntry, dealt_with: int, now: int) -> list[Step]:
    """What is due later than the slot ``dealt_with``, oldest first, by the entry's ``catch_up``."""
    if next_slot(entry.slots, dealt_with) > now:
        return []
    oldest = now - ON_TIME_SECONDS if entry.catch_up == "none" else dealt_with
    most = 1 if entry.catch_up == "last" else MOST_CAUGHT_UP
    found: list[Step] = []
    slot = entry.slots.before(now + 1)
    while slot > max(dealt_with, oldest) and len(found) < most:
        found.insert(0, Step(slot))
        slot = entry.slots.before(slot)
    return [Step(slot, missed=True), *found] if slot > dealt_with else found


@lru_cache(maxsize=4096)
def next_slot(slots: Schedule, dealt_with: int) -> int:
    """Asked every second, and another one only when a slot was dealt with."""
    return slots.after(dealt_with)


class Cron:
    """``signature``: what an event of this agent begins with."""

    def __init__(self, keys: Keys, signature: dict[str, object]) -> None:
        self._keys = keys
        self._signature = signature

    def tick(self, client: Any, configs: Sequence[Config]) -> None:
        """Deal with what is due in these pools: one round trip, and a second one when something is. Raises redis
        errors."""
        if not configs:
            return
        with client.pipeline(transaction=False) as pipeline:
            pipeline.time()
            for config in configs:
                pipeline.hgetall(self._keys.cron(config.payload.pool_uid))
            (now, _), *states = pipeline.execute(raise_on_error=False)
        with client.pipeline(transaction=False) as pipeline:
            sent = [
                told
                for config, state in zip(configs, states, strict=True)
                if isinstance(state, dict)
                for told in self._deal(pipeline, config, _State(state), now)
            ]
            outcomes = pipeline.execute(raise_on_error=False)
        # A key of another type, a full broker: one pool's trouble keeps neither the others nor the agent from going on.
        for trouble in (answer for answer in (*states, *outcomes) if isinstance(answer, ResponseError)):
            log.warning("Cron: the broker refuses: %s", trouble)
        for told, outcome in zip(sent, outcomes, strict=True):
            if told and isinstance(outcome, bytes):
                log.info("Cron: %s is %s", told, outcome.decode())

    def _deal(self, pipeline: Any, config: Config, state: "_State", now: int) -> Iterator[str]:
        """Put one pool's script calls on the pipeline; yields for each the job that a line in the log would name."""
        entries = config.spec.cron
        if state.version is not None and state.version > config.version:
            return  # another agent has a newer config, and this one will soon
        if state.version != config.version or any(state.slot(entry.name) is None for entry in entries):
            plans = [part for entry in entries for part in (entry.name, f"{entry.schedule} {entry.timezone}")]
            pipeline.eval(ADOPT, 1, self._keys.cron(config.payload.pool_uid), config.version, *plans)
            yield ""
            return
        for entry in entries:
            dealt_with = state.slot(entry.name) or 0
            for step in steps(entry, dealt_with, now):
                yield self._send(pipeline, config, entry, step, dealt_with, now)
                dealt_with = step.slot

    def _send(self, pipeline: Any, config: Config, entry: CronEntry, step: Step, before: int, now: int) -> str:
        job = job_for(pipeline, config, entry, step.slot, now)
        prefix, uid = self._keys.rq_prefix, config.payload.pool_uid
        body = {"at": now, "pool_uid": uid, "name": entry.name, "slot": step.slot, "config": config.version}
        body |= {"queue": job.origin, "job_id": "" if step.missed else job.id}
        fields = [part for field in job.to_dict().items() for part in field]
        pipeline.eval(
            DEAL,
            5,
            self._keys.cron(uid),
            f"{prefix}:queue:{job.origin}",
            f"{prefix}:queues",
            f"{prefix}:job:{job.id}",
            self._keys.events,
            entry.name,
            step.slot,
            before,
            config.version,
            "missed" if step.missed else entry.overlap,
            job.id,
            f"{prefix}:job:",
            events.MAX_LENGTH,
            json.dumps(self._signature | body),
            *fields,
        )
        return job.id


class _State:
    """A pool's cron hash. Whoever writes to the broker may have written anything: what is no number is not there."""

    def __init__(self, raw: dict[bytes, bytes]) -> None:
        self._raw = raw
        self.version = self._whole("version")

    def slot(self, name: str) -> int | None:
        return self._whole(f"{name}:slot")

    def _whole(self, field: str) -> int | None:
        value = self._raw.get(field.encode(), b"")
        return int(value) if value.isdigit() and len(value) < 16 else None


def job_id(pool_uid: str, name: str, slot: int) -> str:
    """One slot, one id: whoever enqueues it, and whatever else changed about the entry."""
    at = datetime.fromtimestamp(slot, UTC)
    return f"cron-{name}-{at:%Y%m%dT%H%M%SZ}-{hashlib.sha256(pool_uid.encode()).hexdigest()[:8]}"


def job_for(connection: Any, config: Config, entry: CronEntry, slot: int, now: int) -> Job:
    """The job as ``Queue.enqueue_call`` would make it, not stored yet. Tasks find their slot in the job's ``meta``."""
    spec, at = config.spec, datetime.fromtimestamp(slot, UTC)
    job = Job.create(
        entry.task,
        connection=connection,
        args=entry.args if isinstance(entry.args, list) else None,
        kwargs=entry.args if isinstance(entry.args, dict) else None,
        id=job_id(config.payload.pool_uid, entry.name, slot),
        origin=entry.queue or spec.queues[0],
        timeout=spec.job_timeout,
        meta={"cron": entry.name, "slot": f"{at:%Y-%m-%dT%H:%M:%SZ}"},
        status=JobStatus.QUEUED,
        serializer=SERIALIZERS[spec.serializer],
    )
    job.created_at = job.enqueued_at = datetime.fromtimestamp(now, UTC)
    return job
