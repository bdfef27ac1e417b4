"""Rows as the controller and the operations would have left them, for tests of what people see."""

import json
import time
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from pools.models import (
    Agent,
    AgentPool,
    BrokerState,
    ConfigState,
    ConfigVersion,
    ControllerLease,
    CronSlot,
    DeadLetter,
    DeadLetterState,
    FailureGroup,
    FailureHour,
    NotificationChannel,
    Occasion,
    Pool,
    PoolNow,
    PoolSample,
    QueueState,
    RunCommand,
    Team,
    Worker,
)
from pools.permissions import grant_team
from pools.spec import PoolSpec, canonical, parse_spec
from tests.support.waiting import wait_for

SPEC: dict[str, Any] = {"queues": ["payments", "payments.high"], "workers": 4, "serializer": "json"}
SPEC |= {"breakers": [{"name": "gateway", "tasks": ["shop.charge*"]}]}


def ago(**span: float) -> datetime:
    return timezone.now() - timedelta(**span)


def spec(**changes: Any) -> PoolSpec:
    return parse_spec(SPEC | changes)


def pool(
    team: Team, slug: str = "payments", *, versions: int = 1, now: dict[str, Any] | None = None, **more: Any
) -> Pool:
    """A managed pool with ``versions`` published config versions that differ in ``workers``; with figures if given."""
    queues = more.pop("queues", [slug, f"{slug}.high"])
    signed_at = more.pop("signed_at", timezone.now())
    made = Pool.objects.create(
        slug=slug,
        name=more.pop("name", slug),
        environment=settings.POOLWARDEN_ENV,
        team=team,
        queues=queues,
        config_number=versions,
        published_number=more.pop("published_number", versions),
        **more,
    )
    grant_team(made)
    for number in range(1, versions + 1):
        config_version(
            made, number, spec(queues=queues, workers=number + 3), newest=number == versions, signed_at=signed_at
        )
    if now is not None:
        sampled(made, **now)
    return made


def config_version(pool: Pool, number: int, wanted: PoolSpec, *, newest: bool = True, **more: Any) -> ConfigVersion:
    """A signed version; ``envelope=None`` leaves it unsigned."""
    envelope = {"payload": "e30=", "payloadType": "application/vnd.poolwarden.config+json"}
    envelope["signatures"] = [{"keyid": "ab" * 32, "sig": "c2ln"}]  # type: ignore[assignment]
    values: dict[str, Any] = {
        "spec": canonical(wanted),
        "message": f"Version {number}",
        "author_name": "alice",
        "state": ConfigState.PUBLISHED if newest else ConfigState.SUPERSEDED,
        "envelope": json.dumps(envelope).encode(),
        "payload_sha256": f"{number:064x}",
        "signed_at": timezone.now(),
        "expires": timezone.now() + timedelta(days=30),
    }
    return ConfigVersion.objects.create(pool=pool, number=number, **(values | more))


def sampled(pool: Pool, **figures: Any) -> PoolNow:
    values = {"sampled_at": timezone.now(), **figures}
    return PoolNow.objects.update_or_create(pool=pool, defaults=values)[0]


def broker(**more: Any) -> BrokerState:
    values = {"reachable": True, "sampled_at": timezone.now(), "scanned_at": timezone.now(), **more}
    return BrokerState.objects.update_or_create(alias="default", defaults=values)[0]


def lease(*, running: bool = True) -> ControllerLease:
    expires = timezone.now() + timedelta(seconds=10 if running else -60)
    return ControllerLease.objects.create(holder="here:1", expires_at=expires, acquired_at=ago(minutes=5))


def agent(name: str = "pay-01", **more: Any) -> Agent:
    values = {
        "host": name,
        "boot": "boot-1",
        "version": "0.1.0",
        "python_version": "3.13.2",
        "rq_version": "3.0.0",
        "root_sha256": "cd" * 32,
        "last_seen": timezone.now(),
    }
    return Agent.objects.create(name=name, **(values | more))


def serves(agent: Agent, pool: Pool, **more: Any) -> AgentPool:
    """The agent's word on a pool: by default it follows what was published last."""
    number = pool.published_number
    values = {"told": number, "verified": number, "running": number, "generation": pool.generation}
    return AgentPool.objects.create(agent=agent, pool=pool, **(values | more))


def worker(pool: Pool, name: str = "pay-01/1", **more: Any) -> Worker:
    values = {
        "state": "idle",
        "host": "pay-01",
        "pid": 4711,
        "last_seen": timezone.now(),
        "config_number": pool.published_number or None,
        "queues": pool.queues,
    }
    return Worker.objects.create(pool=pool, name=name, **(values | more))


def cron_slot(pool: Pool, name: str, *, minutes: float = 1, **more: Any) -> CronSlot:
    """A slot of ``minutes`` ago, enqueued as it should be."""
    values = {"slot_at": ago(minutes=minutes), "reported_at": ago(minutes=minutes), "outcome": "enqueued", **more}
    return CronSlot.objects.create(pool=pool, name=name, **values)


def queue(pool: Pool, name: str, **more: Any) -> QueueState:
    return QueueState.objects.create(pool=pool, name=name, **more)


def samples(pool: Pool, *, waiting: list[int], resolution: int = 10, **more: Any) -> None:
    """Points up to now, ``resolution`` seconds apart."""
    values = {"oldest_seconds": 0, "workers": 4, "busy": 2, "done": 10, "failed": 0, **more}
    start = timezone.now() - timedelta(seconds=resolution * len(waiting))
    PoolSample.objects.bulk_create(
        PoolSample(
            pool=pool, resolution=resolution, at=start + timedelta(seconds=resolution * n), waiting=level, **values
        )
        for n, level in enumerate(waiting, start=1)
    )


def run_command(pool: Pool, state: str, **more: Any) -> RunCommand:
    """The newest command; the pool follows it."""
    pool.generation += 1
    pool.run_state = state
    pool.save()
    values = {"reason": "The gateway is down", "issued_by": "alice", "deadline": timezone.now() + timedelta(seconds=30)}
    return RunCommand.objects.create(pool=pool, generation=pool.generation, state=state, **(values | more))


def failure_group(
    pool: Pool, title: str = "TimeoutError connect to eu2.cardgate.example:443", **more: Any
) -> FailureGroup:
    """One that failed just now, in an hour that is not about to end."""
    wait_for(lambda: time.time() % 3600 < 3580, message="the next hour")
    values = {
        "digest": f"{FailureGroup.objects.count():064x}",
        "func": "shop.payments.capture",
        "exc_type": title.split()[0],
        "first_seen": ago(minutes=50),
        "last_seen": timezone.now(),
        "open_count": 1,
        "total_count": 1,
    }
    return FailureGroup.objects.create(pool=pool, title=title, **(values | more))


def failure_hours(group: FailureGroup, *counts: int) -> None:
    """Failures an hour, this hour last."""
    this = timezone.now().replace(minute=0, second=0, microsecond=0)
    FailureHour.objects.bulk_create(
        FailureHour(group=group, hour=this - timedelta(hours=back), count=count)
        for back, count in enumerate(reversed(counts))
    )


def channel(team: Team, name: str = "oncall", **more: Any) -> NotificationChannel:
    """A webhook that tells of everything."""
    values = {"kind": "webhook", "url": "https://hooks.example/", "occasions": list(Occasion.values)}
    return NotificationChannel.objects.create(team=team, name=name, **(values | more))


def dead_letter(group: FailureGroup, job_id: str = "job-1", **more: Any) -> DeadLetter:
    values = {
        "pool": group.pool,
        "queue": group.pool.queues[0] if group.pool.queues else "default",
        "func": group.func,
        "exc_type": group.exc_type,
        "message": group.title,
        "failed_at": timezone.now(),
    }
    letter = DeadLetter.objects.create(group=group, job_id=job_id, **(values | more))
    still_open = group.dead_letters.filter(state=DeadLetterState.OPEN).count()
    FailureGroup.objects.filter(pk=group.pk).update(open_count=still_open)
    return letter
