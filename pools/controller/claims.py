"""Which pool a queue belongs to: the managed pool whose config lists it, the console's own, or the attached one."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from django.conf import settings

from audit.actor import system_actor
from audit.recorder import record
from pools.broker.console_queue import QUEUE as CONSOLE_QUEUE
from pools.controller.lease import LeaderLease
from pools.models import Criticality, Pool, PoolKind, Team
from pools.permissions import grant_team

NAMES = {PoolKind.ATTACHED: "Attached workers", PoolKind.CONSOLE: "Console jobs"}


@dataclass(frozen=True)
class Claims:
    """A broker's pools, and the queues they claim."""

    pools: list[Pool]
    by_queue: dict[str, Pool]

    @cached_property
    def by_uid(self) -> dict[str, Pool]:
        return {str(pool.uid): pool for pool in self.pools}

    @cached_property
    def by_id(self) -> dict[int, Pool]:
        return {pool.pk: pool for pool in self.pools}

    def of_kind(self, kind: PoolKind) -> Pool | None:
        return next((pool for pool in self.pools if pool.kind == kind), None)

    def pool_of(self, queue: str) -> Pool | None:
        """The pool of a queue; None for one that needs the attached or the console's pool and there is none yet."""
        if queue == CONSOLE_QUEUE:
            return self.of_kind(PoolKind.CONSOLE)
        return self.by_queue.get(queue) or self.of_kind(PoolKind.ATTACHED)


def load_claims(alias: str) -> Claims:
    pools = list(Pool.objects.filter(broker=alias).order_by("pk"))
    managed = [pool for pool in pools if pool.kind == PoolKind.MANAGED]
    # Should two pools claim one queue, the older has it.
    return Claims(pools, {queue: pool for pool in reversed(managed) for queue in pool.queues})


def searched_arguments(alias: str, queues: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The paths that pools let be searched, by queue; only of those of the ``queues`` whose pool names any."""
    claims = load_claims(alias)
    pools = {queue: claims.pool_of(queue) for queue in set(queues)}
    return {
        queue: tuple(pool.searchable_arguments) for queue, pool in pools.items() if pool and pool.searchable_arguments
    }


def claims_for(alias: str, queues: Iterable[str], lease: LeaderLease) -> Claims:
    """The claims, with a pool for each of ``queues``: the attached and the console's pools are made on first need."""
    claims = load_claims(alias)
    homeless = {queue for queue in queues if claims.pool_of(queue) is None}
    kinds = {PoolKind.CONSOLE if queue == CONSOLE_QUEUE else PoolKind.ATTACHED for queue in homeless}
    for kind in sorted(kinds):
        _make_pool(kind, alias, lease)
    return load_claims(alias) if kinds else claims


def _make_pool(kind: PoolKind, alias: str, lease: LeaderLease) -> None:
    taken = alias != "default" or Pool.objects.filter(slug=kind).exists()
    slug = f"{kind}-{alias}" if taken else str(kind)
    with lease.fenced():
        pool = Pool.objects.create(
            slug=slug,
            name=NAMES[kind],
            kind=kind,
            broker=alias,
            environment=settings.POOLWARDEN_ENV,
            criticality=Criticality.INTERNAL if kind == PoolKind.CONSOLE else Criticality.STANDARD,
            team=_team(),
            queues=[CONSOLE_QUEUE] if kind == PoolKind.CONSOLE else [],
        )
        grant_team(pool)
        record(
            actor=system_actor("controller"),
            action="pool.attached",
            target=pool.target,
            after={"broker": alias, "team": pool.team.slug},
        )


def _team() -> Team:
    """The team ``default``, else the oldest; made when there is none."""
    team = Team.objects.filter(slug="default").first() or Team.objects.order_by("pk").first()
    return team or Team.objects.create(slug="default", name="Default")
