"""What a selection would touch, and how a filter may be narrowed: counts for people who are about to act."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from audit.actor import Actor
from pools.models import DeadLetter, FailureGroup, Pool, RunState, is_poison
from pools.permissions import pools_with, who_can_grant
from pools.selectors.dead_letters import DeadLetterFilter
from pools.selectors.filter_values import NONE
from pools.selectors.gates import stopped
from pools.selectors.rights import Right

SHOWN = 5
AGES = (
    ("in the last hour", timedelta(hours=1)),
    ("in the last day", timedelta(days=1)),
    ("in the last week", timedelta(days=7)),
    ("before", None),
)
NARROWED = {"pool": 2, "error": 2, "task": 2}


@dataclass(frozen=True)
class Tally:
    """How many dead letters share a value, the largest first; ``others`` are the jobs of the values left out."""

    rows: list[tuple[str, int]]
    others: int

    @classmethod
    def of(cls, counts: Counter[str], shown: int = SHOWN) -> "Tally":
        rows = sorted(counts.items(), key=lambda row: (-row[1], row[0]))
        return cls(rows[:shown], sum(count for _, count in rows[shown:]))


@dataclass(frozen=True)
class Preview:
    """The open dead letters of a selection, as of ``at``. ``newest``: the last failure among them.

    ``damaged``: their record could not be read in full. ``expired``: the broker's own clock for them has run out.
    ``ages``: how long ago they failed, each once. ``poison``: those that came back from as many requeues as their pool
    allows. ``breakers``: those that keep jobs of the selection waiting, "smtp of payments".
    """

    at: datetime
    count: int
    newest: datetime | None
    damaged: int
    expired: int
    errors: Tally
    tasks: Tally
    pools: Tally
    by_pool: list[tuple[Pool, int]]
    paused: list[str]
    breakers: list[str]
    ages: list[tuple[str, int]]
    poison: int


@dataclass(frozen=True)
class Narrowing:
    """A value to filter by, and how many dead letters it would leave."""

    field: str
    value: str
    count: int


def preview_of(found: QuerySet[DeadLetter]) -> Preview:
    """In three queries, whatever the number of dead letters."""
    now = timezone.now()
    rows: Iterable[Any] = (
        found.order_by()
        .values("pool_id", "exc_type", "func")
        .annotate(n=Count("pk"), newest=Max("failed_at"))
        .annotate(bad=Count("pk", filter=~Q(damaged="")), late=Count("pk", filter=Q(expires_at__lte=now)))
        .annotate(**{f"age{place}": Count("pk", filter=young) for place, young in enumerate(_ages(now))})
    )
    errors, tasks, by_pool = Counter[str](), Counter[str](), Counter[int]()
    called = defaultdict[int, set[str]](set)
    newest, damaged, expired, ages = None, 0, 0, [0] * len(AGES)
    for row in rows:
        errors[row["exc_type"].rpartition(".")[2]] += row["n"]
        tasks[row["func"]] += row["n"]
        called[row["pool_id"]].add(row["func"])
        by_pool[row["pool_id"]] += row["n"]
        damaged, expired = damaged + row["bad"], expired + row["late"]
        ages = [number + row[f"age{place}"] for place, number in enumerate(ages)]
        newest = max(newest, row["newest"]) if newest else row["newest"]
    pools = list(Pool.objects.filter(pk__in=by_pool).select_related("now").order_by("slug"))
    return Preview(
        at=now,
        count=by_pool.total(),
        newest=newest,
        damaged=damaged,
        expired=expired,
        errors=Tally.of(errors),
        tasks=Tally.of(tasks),
        pools=Tally.of(Counter({pool.slug: by_pool[pool.pk] for pool in pools})),
        by_pool=[(pool, by_pool[pool.pk]) for pool in pools],
        paused=[pool.slug for pool in pools if pool.run_state != RunState.RUNNING],
        breakers=[f"{name} of {pool.slug}" for pool in pools for name in stopped(pool, called[pool.pk])],
        ages=[(label, number) for (label, _), number in zip(AGES, ages, strict=True) if number],
        poison=found.filter(is_poison()).count(),
    )


def _ages(now: datetime) -> list[Q]:
    """A condition for each of ``AGES``; together they hold for every dead letter, once."""
    conditions, since = [], None
    for _, span in AGES:
        begin = now - span if span else None
        young = Q(failed_at__gt=begin) if begin else Q()
        conditions.append(young & (Q(failed_at__lte=since) if since else Q()))
        since = begin
    return conditions


def lacking(actor: Actor, permission: str, preview: Preview) -> list[str]:
    """The pools of these dead letters on which the actor does not hold the permission."""
    held = set(pools_with(actor, permission).values_list("pk", flat=True))
    return [pool.slug for pool, _ in preview.by_pool if pool.pk not in held]


def right_anywhere(actor: Actor, permission: str) -> Right:
    """Whether the actor holds the permission on any pool at all."""
    return right(permission, allowed=pools_with(actor, permission).exists())


def right(permission: str, *, allowed: bool) -> Right:
    return Right(f"pools.{permission}", allowed, "" if allowed else who_can_grant().removesuffix(" can grant it."))


def narrowings(wanted: DeadLetterFilter, found: Mapping[int, int]) -> list[Narrowing]:
    """The values that divide the dead letters of ``group_counts``, the most frequent of each kind; none for a field
    that is set already."""
    counts: dict[str, Counter[str]] = {name: Counter() for name in NARROWED if not getattr(wanted, name)}
    causes = FailureGroup.objects.filter(pk__among=found).order_by().values_list("pk", "pool__slug", "exc_type", "func")
    for pk, slug, error, task in causes if counts else []:
        values = {"pool": slug, "error": error.rpartition(".")[2] or NONE, "task": task}
        for name, counter in counts.items():
            counter[values[name]] += found[pk]
    return [
        Narrowing(name, value, count)
        for name, counter in counts.items()
        if len(counter) > 1
        for value, count in Tally.of(counter, NARROWED[name]).rows
        if value
    ]
