"""What a filter of dead letters matches, asked in the way that a database answers fast at a million rows.

What a filter asks of failure groups is answered by their table, which is small; what it asks of the jobs, by an index
that holds the asked columns beside the group, so that no row is read to be counted. A search has two parts: jobs of
whole groups, and jobs one by one. Parts never overlap.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Case, Count, OuterRef, Q, QuerySet, Subquery, When

from pools.models import DeadLetter, DeadLetterState, FailureGroup
from pools.selectors.search import search

type Jobs = frozenset[int] | QuerySet[Any, Any]

WHOLE, EVERY = Q(state=DeadLetterState.OPEN), Q()


@dataclass(frozen=True)
class Part:
    """Jobs of ``groups`` for which ``letters`` holds; ``jobs``: only these, their primary keys or a query for them."""

    groups: QuerySet[FailureGroup]
    letters: Q
    jobs: Jobs | None = None

    def all(self) -> QuerySet[DeadLetter]:
        """In no order."""
        found = DeadLetter.objects.filter(self.letters, group__in=self.groups.order_by().values("pk"))
        return found if self.jobs is None else found.filter(pk__in=self.jobs)

    def counts(self) -> dict[int, int]:
        """How many there are, by the primary key of their group; only of groups that have any."""
        groups = self.groups.order_by()
        if self.jobs is not None:
            return dict(self.all().order_by().values_list("group_id").annotate(n=Count("pk")))
        if self.letters == WHOLE:
            return {pk: n for pk, n in groups.values_list("pk", "open_count") if n > 0}
        return {pk: n for pk, n in groups.annotate(n=self._count()).values_list("pk", "n") if n}

    def counts_since(self, moments: Sequence[datetime]) -> dict[int, list[int]]:
        """How many of each group failed at each of the moments or later, by the primary key of the group."""
        if self.jobs is not None:
            single = {f"n{n}": Count("pk", filter=Q(failed_at__gte=at)) for n, at in enumerate(moments)}
            return {pk: counts for pk, *counts in self.all().order_by().values_list("group_id").annotate(**single)}
        whole = {
            # None of a group that was last seen before.
            f"n{n}": Case(When(last_seen__gte=at, then=self._count(Q(failed_at__gte=at))))
            for n, at in enumerate(moments)
        }
        found = self.groups.order_by().annotate(**whole).values_list("pk", *whole)
        return {pk: [n or 0 for n in counts] for pk, *counts in found}

    def _count(self, condition: Q = EVERY) -> Subquery:
        here = DeadLetter.objects.filter(self.letters, condition, group=OuterRef("pk")).order_by().values("group_id")
        return Subquery(here.annotate(n=Count("pk")).values("n"))

    def newest(self, before: Q, size: int) -> QuerySet[DeadLetter]:
        """Those that failed last, of those ``before`` a place in the list. Primary keys come from an index alone."""
        groups = list(self.groups.order_by().values_list("pk", flat=True))
        found = DeadLetter.objects.filter(self.letters, before, group_id__in=groups)
        if self.jobs is not None:
            found = found.filter(pk__in=self.jobs)
        return found.order_by("-failed_at", "-pk")[:size]


def parts(groups: QuerySet[FailureGroup], letters: Q, q: str, jobs: Jobs | None = None) -> Iterator[Part]:
    """The jobs of ``groups``, and of ``jobs``, for which ``letters`` and the search ``q`` hold."""
    whole = Part(groups, letters, jobs)
    if not q:
        yield whole
        return
    found = search(q, groups, whole.all())
    if found.groups:
        yield Part(groups.filter(pk__in=found.groups), letters, jobs)
    if found.jobs:
        yield Part(groups.filter(pk__in=set(found.jobs.values())), letters, frozenset(found.jobs))
