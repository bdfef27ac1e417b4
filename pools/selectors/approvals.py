"""When an operation is too large for one person: what it would touch, and what they did lately, against the limits."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, F, Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit.actor import Actor
from controlplane.wording import count
from pools.models import Decision, Operation, OperationItem, OperationState, Outcome, Pool
from pools.models.operation import PUTS_BACK
from pools.permissions import APPROVE_OPERATIONS, can, people_with, who_can_grant
from pools.selectors.attention import Action, Item
from pools.selectors.operations import row_of, visible_operations, with_progress
from pools.selectors.phrases import jobs, names

TOGETHER = timedelta(hours=1)
"""Several operations of one person's within this time count as one: cutting a large one into small ones is no way."""
SHOWN = 3
OVER = (OperationState.CANCELLED, OperationState.ENDED)


@dataclass(frozen=True)
class Need:
    """``jobs`` in the pool, with ``lately`` more of the same person's, cross its limit."""

    pool: Pool
    jobs: int
    lately: int
    limit: int

    def as_json(self) -> dict[str, Any]:
        return {"pool": self.pool.slug, "jobs": self.jobs, "lately": self.lately, "limit": self.limit}


@dataclass(frozen=True)
class Asked:
    """What a page says before the click. ``approvers``: who may say yes, without the visitor."""

    needs: list[Need]
    approvers: list[str]

    @property
    def sentence(self) -> str:
        return f"{' '.join(need_phrase(need.as_json()) for need in self.needs)} {self._by_whom}"

    @property
    def _by_whom(self) -> str:
        if self.approvers:
            return f"{_or(self.approvers)} can give it, within 24 hours. Nothing is sent before."
        pools = names([need.pool.slug for need in self.needs])
        return f"Nobody else holds pools.{APPROVE_OPERATIONS} on {pools} now. {who_can_grant()}"


def need_phrase(need: Mapping[str, Any]) -> str:
    """Why an approval is needed, for one pool."""
    lately = (
        f" and {jobs(need['lately'])} of the same person's, not approved, of the last hour" if need["lately"] else ""
    )
    more = f"more than {count(need['limit'])}" if need["limit"] else "any"
    return f"{jobs(need['jobs'])} in {need['pool']}{lately}: {more} there need a second person's approval."


def asked(actor: Actor, by_pool: Sequence[tuple[Pool, int]]) -> Asked | None:
    """What an operation on so many dead letters would need; None when the actor decides about it alone."""
    needs = needs_of(actor.user, [pool for pool, _ in by_pool], {pool.pk: number for pool, number in by_pool})
    return Asked(needs, approvers_of([need.pool for need in needs], besides=actor.user)) if needs else None


def needs_of(
    user: Any, pools: Iterable[Pool], by_pool: Mapping[int, int], besides: Operation | None = None
) -> list[Need]:
    """The pools whose limit so many jobs of this person's would cross. ``besides``: the operation that is counted."""
    limited = {pool.pk: pool for pool in pools if pool.has_limit}
    if not limited:
        return []
    lately, counts = _lately(user, list(limited), besides), Counter(by_pool)
    return [
        Need(pool, counts[pk], lately[pk], pool.approved_above)
        for pk, pool in sorted(limited.items(), key=lambda row: row[1].slug)
        if pool.approved_above is not None and counts[pk] and counts[pk] + lately[pk] > pool.approved_above
    ]


def _lately(user: Any, pools: list[int], besides: Operation | None) -> Counter[int]:
    """Jobs by pool of this person's operations that nobody else decided about, and that go on or did a moment ago."""
    near = Q(operation__progressed_at__gt=timezone.now() - TOGETHER) | ~Q(operation__state__in=OVER)
    touched = Q(dead_letter__pool__in=pools) | Q(operation__to_pool__in=pools)
    items = OperationItem.objects.filter(near, touched, operation__created_by=user)
    items = items.exclude(operation__kind__in=PUTS_BACK).exclude(outcome=Outcome.CANCELLED)
    items = items.exclude(operation__state=OperationState.AWAITING)
    items = items.exclude(operation__approval__decision=Decision.APPROVED)
    if besides:
        items = items.exclude(operation=besides)
    return jobs_by_pool(items)


def jobs_by_pool(items: QuerySet[OperationItem]) -> Counter[int]:
    """How many jobs a pool loses or gets by these items: one that is moved to another pool counts in both."""
    pools, number = items.order_by(), Count("pk")
    counts = Counter(dict(pools.values_list("dead_letter__pool_id").annotate(n=number)))
    gets = pools.exclude(operation__to_pool=None).exclude(operation__to_pool=F("dead_letter__pool"))
    counts.update(dict(gets.values_list("operation__to_pool_id").annotate(n=number)))
    return counts


def approvers_of(pools: Iterable[Pool], *, besides: Any) -> list[str]:
    """Who may approve for all of these pools, by name, without one person."""
    found = [set(people_with(APPROVE_OPERATIONS, pool).values_list("pk", "username")) for pool in pools]
    both = set.intersection(*found) if found else set()
    return sorted(name for pk, name in both if besides is None or pk != besides.pk)


def limited_pools(row: Operation) -> list[Pool]:
    """The pools for whose limit the operation waits, or waited."""
    return list(Pool.objects.filter(slug__in=row.approval.pool_slugs).order_by("slug"))


def may_decide(actor: Actor, row: Operation) -> bool:
    own = actor.user is None or actor.user.pk == row.created_by_id
    return not own and all(can(actor, APPROVE_OPERATIONS, pool) for pool in limited_pools(row))


def awaiting(actor: Actor) -> list[Item]:
    """Operations that wait for a second person, for the overview: the oldest first, at most ``SHOWN``."""
    rows = visible_operations(actor).filter(state=OperationState.AWAITING).order_by("pk")[:SHOWN]
    items = []
    for row, progress in with_progress(list(rows)):
        mine = may_decide(actor, row)
        see = Action(f"Review operation {row.pk}" if mine else f"See operation {row.pk}", _url(row), primary=mine)
        title = row_of(row, progress).title
        items.append(
            Item(
                key=f"approval-{row.pk}",
                severity="warn",
                icon="user-check",
                icon_label="Awaiting approval",
                title=f"{row.actor_name} asks to {title[:1].lower()}{title[1:]}",
                since=row.created_at,
                since_label="Asked",
                detail=f"“{row.reason}” " + ("It needs your approval." if mine else "It awaits another's approval."),
                actions=(see,),
            )
        )
    return items


def _url(row: Operation) -> str:
    return reverse("operation", args=[row.pk])


def _or(people: list[str]) -> str:
    return " or ".join(people[:3]) + (f" or {len(people) - 3} more" if len(people) > 3 else "")
