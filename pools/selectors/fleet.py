"""The present of some pools, in a fixed number of queries, however many pools, agents and workers there are."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, F, Q
from django.utils import timezone

from pools.models import (
    AgentPool,
    ConfigVersion,
    Pool,
    PoolKind,
    PoolNow,
    PoolSample,
    Resolution,
    RunCommand,
    RunState,
    Worker,
)

MOMENT = timedelta(seconds=15)
JUST_NOW = timedelta(minutes=1)
SPARK_SPAN = timedelta(minutes=5)


@dataclass(frozen=True)
class Told:
    """A config version in brief: what agents are told to run, or what awaits its signature."""

    number: int
    at: datetime
    signed_at: datetime | None
    author: str


@dataclass(frozen=True)
class Presence:
    """What is known of one pool now. ``versions``: config number → live workers that run it (None: unknown)."""

    pool: Pool
    now: PoolNow | None
    agents: list[AgentPool]
    published: Told | None
    newest: Told | None
    versions: Counter[int | None]
    command: RunCommand | None

    @property
    def live(self) -> list[AgentPool]:
        return [serving for serving in self.agents if serving.agent.gone_at is None]

    @property
    def gone(self) -> list[AgentPool]:
        return [serving for serving in self.agents if serving.agent.gone_at is not None]

    @property
    def refusing(self) -> list[AgentPool]:
        return [serving for serving in self.live if serving.refused_at is not None]

    @property
    def not_starting(self) -> list[AgentPool]:
        return [serving for serving in self.live if serving.boot_failure]

    @property
    def applied(self) -> list[AgentPool]:
        """Live agents that follow the newest run command."""
        return [serving for serving in self.live if serving.generation >= self.pool.generation]

    @property
    def is_applying(self) -> bool:
        """Whether it is worth saying how far the newest run command has come: not yet everywhere, or just now."""
        if self.command is None or not self.live:
            return False
        return len(self.applied) < len(self.live) or timezone.now() - self.command.issued_at < JUST_NOW

    @property
    def is_awaited(self) -> bool:
        """Whether somebody gave a command a moment ago and now watches it being applied."""
        if self.command is None or len(self.applied) == len(self.live):
            return False
        return timezone.now() - self.command.issued_at < MOMENT

    @property
    def attesting(self) -> int:
        """Live workers that run the version they were told."""
        return self.versions[self.published.number] if self.published else 0

    @property
    def drift(self) -> dict[int, int]:
        """Version → workers that run it although told another; for managed pools only."""
        if self.pool.kind != PoolKind.MANAGED or self.published is None:
            return {}
        told = self.published.number
        return {number: count for number, count in self.versions.items() if number is not None and number != told}

    @property
    def workers(self) -> int:
        return self.now.workers if self.now else sum(self.versions.values())

    @property
    def waiting(self) -> int:
        return self.now.waiting if self.now else 0

    @property
    def wanted(self) -> int:
        return self.now.wanted if self.now else 0

    @property
    def lacks_workers(self) -> bool:
        """Nobody is there although the config asks for workers, or, where no config speaks, although jobs wait."""
        is_needed = self.wanted or (self.waiting and self.pool.kind != PoolKind.MANAGED)
        return self.is_taking_jobs and not self.workers and bool(is_needed)

    @property
    def is_taking_jobs(self) -> bool:
        return self.pool.run_state == RunState.RUNNING


def presences(pools: Iterable[Pool]) -> list[Presence]:
    """One for each pool, in the order given; ``pools`` come with ``team`` and ``now`` selected. Four queries."""
    pools = list(pools)
    ids = [pool.pk for pool in pools]
    agents: defaultdict[int, list[AgentPool]] = defaultdict(list)
    for serving in AgentPool.objects.filter(pool__in=ids).select_related("agent").order_by("agent__name"):
        agents[serving.pool_id].append(serving)
    versions: defaultdict[int, Counter[int | None]] = defaultdict(Counter)
    counted = Worker.objects.filter(pool__in=ids, gone_at=None).order_by().values_list("pool_id", "config_number")
    for pool_id, number, count in counted.annotate(count=Count("pk")):
        versions[pool_id][number] = count
    told = _told(ids)
    commands = _commands([pool.pk for pool in pools if pool.generation])
    return [
        Presence(
            pool=pool,
            now=getattr(pool, "now", None),
            agents=agents[pool.pk],
            published=told.get((pool.pk, pool.published_number)),
            newest=told.get((pool.pk, pool.config_number)),
            versions=versions[pool.pk],
            command=commands.get(pool.pk),
        )
        for pool in pools
    ]


def _told(ids: list[int]) -> dict[tuple[int, int], Told]:
    wanted = Q(number=F("pool__published_number")) | Q(number=F("pool__config_number"))
    found = ConfigVersion.objects.filter(wanted, pool__in=ids).order_by()
    facts = found.values_list("pool_id", "number", "created_at", "signed_at", "author_name")
    return {(pool_id, number): Told(number, at, signed, author) for pool_id, number, at, signed, author in facts}


def _commands(ids: list[int]) -> dict[int, RunCommand]:
    newest = RunCommand.objects.filter(pool__in=ids, generation=F("pool__generation"))
    return {command.pool_id: command for command in newest}


def sparks(pools: Iterable[Pool]) -> dict[int, list[int]]:
    """Pool id → waiting jobs of the last five minutes, oldest first, a point each 10 s."""
    since = timezone.now() - SPARK_SPAN
    samples = PoolSample.objects.filter(
        resolution=Resolution.TEN_SECONDS, at__gte=since, pool__in=[p.pk for p in pools]
    )
    points: defaultdict[int, list[int]] = defaultdict(list)
    for pool_id, waiting in samples.order_by("at").values_list("pool_id", "waiting"):
        points[pool_id].append(waiting)
    return points
