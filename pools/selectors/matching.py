"""What a filter of dead letters matches, asked in the way that a database answers fast at a million rows.

What a filter asks of failure groups is answered by their table, which is small; what it asks of the jobs, by an index
that holds the asked columns beside the group, so that no row is read to be counted. A search has two parts: jobs of
whole groups, and jobs one by one. Parts never overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, F, OuterRef, Q, QuerySet, Subquery, When

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
        rows = self._by_range(moments) if self.ranged and self.jobs is None else self._in_one_pass(moments)
        return {pk: [n or 0 for n in counts] for pk, *counts in rows if counts[0]}

    def _in_one_pass(self, moments: Sequence[datetime]) -> QuerySet[DeadLetter, tuple[int, ...]]:
        later = {f"n{n}": Count("pk", filter=_from(at)) for n, at in enumerate(moments)}
        return self.all().order_by().values_list("group_id").annotate(n=Count("pk"), **later)

    def _by_range(self, moments: Sequence[datetime]) -> QuerySet[FailureGroup, tuple[int, ...]]:
        known = self.letters == WHOLE and self.since is None
        later = {
            # None of a group that was last seen before.
            f"n{n}": Case(When(last_seen__gte=at, then=self._count(at)))
            for n, at in enumerate(moments)
        }
        groups = self.groups.order_by().annotate(n=F("open_count") if known else self._count(self.since), **later)
        return groups.values_list("pk", "n", *later)

    def _count(self, since: datetime | None) -> Subquery:
        here = DeadLetter.objects.filter(self.letters & _from(since), group=OuterRef("pk"))
        return Subquery(here.order_by().values("group_id").annotate(n=Count("pk")).values("n"))

    def newest(self, before: Q, size: int) -> QuerySet[DeadLetter]:
        """Those that failed last, of those ``before`` a place in the list. Primary keys come from an index alone."""
        groups = list(self.groups.order_by().values_list("pk", flat=True))
        found = DeadLetter.objects.filter(self.letters & _from(self.since), before, group_id__in=groups)
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
        yield replace(whole, groups=whole.groups.filter(pk__in=found.groups))
    if found.jobs:
        yield replace(whole, groups=whole.groups.filter(pk__in=set(found.jobs.values())), jobs=frozenset(found.jobs))


def _from(since: datetime | None) -> Q:
    return Q(failed_at__gte=since) if since else Q()
