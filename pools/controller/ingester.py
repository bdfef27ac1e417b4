"""Reads what workers and agents report and makes rows of it.

1. A batch of events is read from the stream.
2. The details of failed jobs are read from RQ's own records, in one round trip.
3. One transaction for the dead letters; one for audit events and the id of the last event read.
4. Only then are the events acknowledged. Killed before, they are delivered again, and change nothing twice.
"""

from collections.abc import Sequence
from datetime import datetime

import structlog
from django.utils import timezone
from pydantic import ValidationError

from audit.recorder import AuditError, record
from pools.broker.connection import Broker, get_broker
from pools.broker.events import Event, ack, read_events
from pools.broker.failed_jobs import FailedJob, read_failed
from pools.controller.claims import searched_arguments
from pools.controller.cron_slots import EVENT, absorb_slots
from pools.controller.event_bodies import REPORTS, JobFailed, Reported
from pools.controller.lease import LeaderLease
from pools.controller.read_model import Facts, absorb
from pools.models import Agent, BrokerState, Pool

BATCH = 500
CONSUMER = "controller"
"""One name for every controller: a new leader continues with what the last one took and did not acknowledge."""

log = structlog.get_logger(__name__)


class Ingester:
    name = "ingester"
    interval = 0.25

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias

    def tick(self) -> bool:
        # Nobody reports where no agent was ever heard: a broker that is only looked at gets no stream and no group.
        if not Agent.objects.filter(broker=self._alias).exists():
            return False
        broker = get_broker(self._alias)
        events = read_events(broker, CONSUMER, BATCH, block_ms=0)
        if not events:
            return False
        read_at = timezone.now()
        self._absorb(broker, [event for event in events if event.type == "job.failed"], read_at)
        absorb_slots(self._lease, [event for event in events if event.type == EVENT], read_at)
        self._report([event for event in events if event.type in REPORTS], events[-1].id)
        ack(broker, [event.id for event in events])
        return len(events) == BATCH

    def _absorb(self, broker: Broker, events: Sequence[Event], read_at: datetime) -> None:
        facts: dict[str, Facts] = {}
        for event in events:
            try:
                body = JobFailed.model_validate(event.body)
            except ValidationError as error:
                _say_malformed(event, error)
                continue
            facts[body.job_id] = Facts(
                body.queue, body.worker[:255], body.host[:255], body.config, body.rq, body.python
            )
        queues = {job_id: fact.queue for job_id, fact in facts.items()}
        searched = searched_arguments(self._alias, queues.values()) if facts else {}
        found = read_failed(broker, list(facts), queues, searched) if facts else []
        absorb(self._lease, self._alias, [job for job in found if isinstance(job, FailedJob)], facts, read_at)

    def _report(self, events: Sequence[Event], last_id: str) -> None:
        """Audit events, once each: those up to the last id of an earlier transaction are there already."""
        with self._lease.fenced():
            state, _ = BrokerState.objects.get_or_create(alias=self._alias)
            seen = _order(state.last_event_id)
            pools = {str(pool.uid): pool for pool in Pool.objects.all()} if events else {}
            for event in events:
                if _order(event.id) > seen:
                    _record(event, pools)
            if _order(last_id) > seen:
                BrokerState.objects.filter(pk=state.pk).update(last_event_id=last_id)


def _record(event: Event, pools: dict[str, Pool]) -> None:
    try:
        body: Reported = REPORTS[event.type].model_validate(event.body)
        target = body.target(pools.get(body.pool_uid))
        record(actor=body.actor, action=event.type, target=target, detail=body.detail())
    except (ValidationError, AuditError) as error:
        _say_malformed(event, error)


def _say_malformed(event: Event, error: Exception) -> None:
    log.warning("event.malformed", id=event.id, type=event.type, error=str(error)[:500])


def _order(event_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in event_id.split("-")) if event_id else ()
