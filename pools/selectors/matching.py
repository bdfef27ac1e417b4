"""What a filter of dead letters matches, asked in the way that a database answers fast at a million rows.

What a filter asks of failure groups is answered by their table, which is small; what it asks of the jobs, by an index
that holds the asked columns beside the group, so that no row is read to be counted. A search has two parts: jobs of
whole groups, and jobs one by one. Parts never overlap.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Case, Count, F, OuterRef, Q, QuerySet, Subquery, Sum, When

from pools.models import DeadLetter, DeadLetterState, FailureGroup
from pools.selectors.search import search

type Jobs = frozenset[int] | QuerySet[Any, Any]

WHOLE = Q(state=DeadLetterState.OPEN)


@dataclass(frozen=True)
class Part:
    """Jobs of ``groups`` that are as ``letters`` says and failed at ``since`` or later; ``jobs``: only these,
    their primary keys or a query for them.

    ``ranged``: all that ``letters`` asks is where an index begins, so that jobs are counted without looking at those
    that do not match.
    """

    groups: QuerySet[FailureGroup]
    letters: Q
    since: datetime | None = None
    ranged: bool = False
    jobs: Jobs | None = None

    def all(self) -> QuerySet[DeadLetter]:
        """In no order."""
        found = DeadLetter.objects.filter(self.letters & _from(self.since))
        found = found.filter(group__in=self.groups.order_by().values("pk"))
        return found if self.jobs is None else found.filter(pk__in=self.jobs)

    def counts(self, moments: Sequence[datetime] = ()) -> dict[int, list[int]]:
        """How many there are, and how many of them failed at each of the moments or later, by the primary key of their
        group; only of groups that have any. The moments are not before ``since``."""
        if not self.ranged or self.jobs is not None:
            rows: Iterable[tuple[int, ...]] = self._in_one_pass(moments)
        elif connection.vendor == "postgresql" and self._is_most():
            rows = self._by_slice(moments)
        else:
            rows = self._by_group(moments)
        return {pk: [n or 0 for n in counts] for pk, *counts in rows if counts[0]}

    def _in_one_pass(self, moments: Sequence[datetime]) -> QuerySet[DeadLetter, tuple[int, ...]]:
        later = {f"n{n}": Count("pk", filter=_from(at)) for n, at in enumerate(moments)}
        return self.all().order_by().values_list("group_id").annotate(n=Count("pk"), **later)

    def _is_most(self) -> bool:
        """Whether most open jobs are of its groups."""
        held, others = (
            groups.aggregate(n=Sum("open_count", default=0))["n"]
            for groups in (
                self.groups.order_by(),
                FailureGroup.objects.exclude(pk__in=self.groups.order_by().values("pk")),
            )
        )
        return bool(held > others)

    def _by_slice(self, moments: Sequence[datetime]) -> Iterator[tuple[int, ...]]:
        """From one moment to the next: PostgreSQL shares a range among processes, and does not do so group by group."""
        sums: dict[int, int] = {}
        columns, until = {}, None
        for at in sorted(moments, reverse=True):
            columns[at] = sums = _added(sums, self._between(at, until))
            until = at
        held = dict(self.groups.order_by().values_list("pk", "open_count"))
        whole = held if self._is_known else _added(sums, self._between(self.since, until))
        for pk in held:
            yield pk, whole.get(pk, 0), *(columns[at].get(pk, 0) for at in moments)

    def _between(self, since: datetime | None, until: datetime | None) -> dict[int, int]:
        found = DeadLetter.objects.filter(self.letters & _from(since), Q(failed_at__lt=until) if until else Q())
        return dict(found.order_by().values_list("group_id").annotate(n=Count("*")))

    @property
    def _is_known(self) -> bool:
        return self.letters == WHOLE and self.since is None

    def _by_group(self, moments: Sequence[datetime]) -> QuerySet[FailureGroup, tuple[int, ...]]:
        later = {
            # None of a group that was last seen before.
            f"n{n}": Case(When(last_seen__gte=at, then=self._count(at)))
            for n, at in enumerate(moments)
        }
        every = F("open_count") if self._is_known else self._count(self.since)
        groups = self.groups.order_by().annotate(n=every, **later)
        return groups.values_list("pk", "n", *later)

    def _count(self, since: datetime | None) -> Subquery:
        here = DeadLetter.objects.filter(self.letters & _from(since), group=OuterRef("pk"))
        return Subquery(here.order_by().values("group_id").annotate(n=Count("*")).values("n"))

    def newest(self, before: Q, size: int, *, everywhere: bool) -> QuerySet[DeadLetter]:
        """Those that failed last, of those ``before`` a place in the list. Primary keys come from an index alone.

        ``everywhere``: no group that has such jobs is left out, so their groups need not be looked at.
        """
        found = DeadLetter.objects.filter(self.letters & _from(self.since), before)
        if not everywhere:  # as a list: with a query the database might begin at the groups
            found = found.filter(group_id__in=list(self.groups.order_by().values_list("pk", flat=True)))
        if self.jobs is not None:
            found = found.filter(pk__in=self.jobs)
        return found.order_by("-failed_at", "-pk")[:size]


def parts(whole: Part, q: str) -> Iterator[Part]:
    """What of ``whole`` the search ``q`` finds."""
    if not q:
        yield whole
        return
    found = search(q, whole.groups, whole.all())
    if found.groups:
        yield replace(whole, groups=whole.groups.filter(pk__among=found.groups))
    if found.jobs:
        groups = whole.groups.filter(pk__among=set(found.jobs.values()))
        yield replace(whole, groups=groups, jobs=frozenset(found.jobs))


def _added(some: Mapping[int, int], others: Mapping[int, int]) -> dict[int, int]:
    return {pk: some.get(pk, 0) + others.get(pk, 0) for pk in some.keys() | others.keys()}


def _from(since: datetime | None) -> Q:
    return Q(failed_at__gte=since) if since else Q()
