"""Looks at the broker every 2 s and keeps what pages show. Reads first, then writes in one short transaction."""

import time
from dataclasses import replace
from datetime import timedelta

from django.utils import timezone

from pools.broker.connection import BrokerUnavailable, get_broker
from pools.broker.sampler import Sample, take_sample
from pools.controller.claims import Claims, claims_for
from pools.controller.lease import LeaderLease
from pools.controller.sampling.agents import AgentWatch
from pools.controller.sampling.beat import read_beats
from pools.controller.sampling.breakers import record_turns
from pools.controller.sampling.changes import upsert
from pools.controller.sampling.figures import Rate, Seen, WantedWorkers, pool_figures, write_figures
from pools.controller.sampling.gates import WatchedGates
from pools.controller.sampling.history import History
from pools.controller.sampling.queues import queue_rows, unclaimed
from pools.controller.sampling.workers import Look, WorkerWatch, queue_names
from pools.models import BrokerState, Pool, PoolKind

LONGEST_GAP = 6.0
"""Seconds between two looks after which the first says nothing about the second: silence in between went unheard."""


LONGEST_NAME = 255


class Sampler:
    name = "sampler"
    interval = 2.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._agents = AgentWatch()
        self._workers = WorkerWatch()
        self._wanted = WantedWorkers()
        self._rate = Rate()
        self._history = History()
        self._gates = WatchedGates()
        self._since = 0.0
        self._last: float | None = None

    def tick(self) -> bool:
        broker = get_broker(self._alias)
        try:
            sample = take_sample(broker, self._gates.of(self._alias))
        except BrokerUnavailable as error:
            self._last = None
            self._write_state(reachable=False, error=error.why)
            raise
        tick = time.monotonic()
        unbroken = self._last is not None and tick - self._last <= LONGEST_GAP
        if not unbroken:
            self._since = tick
        self._keep(sample, broker.region, tick, unbroken)
        self._last = tick
        return False

    def _keep(self, sample: Sample, region: str, tick: float, unbroken: bool) -> None:
        now = timezone.now()
        previous = now - timedelta(seconds=tick - self._last) if unbroken and self._last is not None else None
        sample = _fitting(sample)
        beats = read_beats(sample.agents)
        listened = queue_names(sample.workers)
        claims = claims_for(self._alias, {*listened, *(queue.name for queue in sample.queues)}, self._lease)
        queues = queue_rows(self._alias, sample.queues, listened | _configured(claims), claims)
        agents = self._agents.rows(self._alias, beats, claims.by_uid, at=sample.at, tick=tick, since=self._since)
        workers = self._workers.rows(self._alias, sample.workers, agents, claims, Look(now, tick, previous))
        self._rate.add(tick, workers.done)
        figures = pool_figures(
            claims.pools,
            Seen(queues.rows, agents, workers),
            self._wanted.of(claims.pools),
            self._history.failed_last_hour,
            self._rate,
            now,
        )
        for row in figures:
            row.gates = sample.gates.get(str(row.pool.uid), {})
        with self._lease.fenced():
            queues.write()
            agents.write()
            workers.write()
            record_turns(figures)
            write_figures(figures)
            self._history.add(figures, workers.done, workers.failed, now)
            _write_unclaimed(claims, unclaimed(queues.rows))
            self._write_state(reachable=True, error="", region=region, sampled_at=now, round_trips=sample.round_trips)

    def _write_state(self, **values: object) -> None:
        upsert([BrokerState(alias=self._alias, **values)], ["alias"], list(values))


def _configured(claims: Claims) -> set[str]:
    return {queue for pool in claims.pools if pool.is_managed for queue in pool.queues}


def _write_unclaimed(claims: Claims, queues: list[str]) -> None:
    attached = claims.of_kind(PoolKind.ATTACHED)
    if attached is not None and attached.queues != queues:
        Pool.objects.filter(pk=attached.pk).update(queues=queues)


def _fitting(sample: Sample) -> Sample:
    """Without queues and workers whose names no column holds: RQ makes none, but anybody may write to the broker."""
    return replace(
        sample,
        queues=[queue for queue in sample.queues if len(queue.name) <= LONGEST_NAME],
        workers=[worker for worker in sample.workers if len(worker.name) <= LONGEST_NAME],
    )
