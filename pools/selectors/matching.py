"""What a filter of dead letters matches, asked in the way that a database answers fast at a million rows.

What a filter asks of failure groups is answered by their table, which is small; what it asks of the jobs, by an index
that holds the asked columns beside the group, so that no row is read to be counted. A search has two parts: jobs of
whole groups, and jobs one by one. Parts never overlap.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Case, Count, F, Func, IntegerField, OuterRef, Q, QuerySet, Subquery, Sum, Value, When
from django.utils import timezone

from pools.models import DeadLetter, DeadLetterState, FailureGroup
from pools.selectors.search import search

type Jobs = frozenset[int] | QuerySet[Any, Any]

WHOLE = Q(state=DeadLetterState.OPEN)
EVER = datetime(1970, 1, 1, tzinfo=UTC)


# What failed since is most of what there is.
LONG = timedelta(days=1)


class _Unindexed(Func):
    """What it is given. SQLite takes no index for it then; PostgreSQL, which knows how many rows a range has, may."""

    template, arity = "%(expressions)s", 1

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return super().as_sql(compiler, connection, template="+%(expressions)s", **context)


@dataclass(frozen=True)
class Part:
    """Jobs of ``groups`` that are as ``letters`` says and failed at ``since`` or later and before ``until``; ``jobs``:
    only these, their primary keys or a query for them. ``hint``: what is true of all of them, and lets the database
    count them by an index that has them together; ``leads``: one that does not begin with their groups.

    ``ranged``: all that ``letters`` asks is where an index begins, so that jobs are counted without looking at those
    that do not match. ``beside``: what it asks stands beside them in the index of their group. ``anywhere``: in any
    state; there are indexes by state.
    """

    groups: QuerySet[FailureGroup]
    letters: Q
    since: datetime | None = None
    until: datetime | None = None
    ranged: bool = False
    beside: bool = False
    jobs: Jobs | None = None
    hint: Q | None = None
    leads: bool = False
    anywhere: bool = False

    def by_state(self) -> Iterator["Part"]:
        """The same jobs: those in one state after those in another, if they may be in any."""
        if not self.anywhere:
            yield self
            return
        for state in DeadLetterState:
            only = Q(state=state)
            ranged, beside = (asked and only == WHOLE for asked in (self.ranged, self.beside))
            yield replace(self, letters=only & self.letters, ranged=ranged, beside=beside, anywhere=False)

    def _between(self, since: datetime | None, until: datetime | None) -> QuerySet[DeadLetter]:
        began = Q(failed_at__gte=since) if since else Q()
        ended = Q(failed_at__lt=until) if until else Q()
        return DeadLetter.objects.filter(self.letters & began & ended)

    def all(self) -> QuerySet[DeadLetter]:
        """In no order."""
        found = self._between(self.since, self.until).filter(group__in=self.groups.order_by().values("pk"))
        if isinstance(self.jobs, frozenset):
            return found.filter(pk__among=self.jobs)
        return found if self.jobs is None else found.filter(pk__in=self.jobs)

    def counts(self, moments: Sequence[datetime] = ()) -> dict[int, list[int]]:
        """How many there are, and how many of them failed at each of the moments or later, by the primary key of their
        group; only of groups that have any. The moments are not before ``since``."""
        rows: Iterable[tuple[int, ...]]
        if isinstance(self.jobs, frozenset):
            rows = self._one_by_one(moments)
        elif self.jobs is not None or not (self.ranged or (self.beside and self.hint is None)):
            rows = self._in_one_pass(moments)
        elif connection.vendor == "postgresql" and self._is_most(moments):
            rows = self._by_slice(moments)
        else:
            rows = self._by_group(moments)
        return {pk: [n or 0 for n in counts] for pk, *counts in rows if counts[0]}

    def _one_by_one(self, moments: Sequence[datetime]) -> Iterator[tuple[int, ...]]:
        """A few thousand at most, in the order of their keys: or the database goes through all jobs of their groups."""
        found: dict[int, list[datetime]] = {}
        for pk, at in self.all().order_by("-pk").values_list("group_id", "failed_at"):
            found.setdefault(pk, []).append(at)
        for pk, times in found.items():
            yield pk, len(times), *(sum(at >= moment for at in times) for moment in moments)

    def _in_one_pass(self, moments: Sequence[datetime]) -> QuerySet[DeadLetter, tuple[int, ...]]:
        later = {f"n{n}": Count("pk", filter=Q(failed_at__gte=at)) for n, at in enumerate(moments)}
        found = (self._hinted() if self.leads else self.all()).filter(self.hint or Q()).order_by()
        return found.values_list("group_id").annotate(n=Count("pk"), **later)

    def _hinted(self) -> QuerySet[DeadLetter]:
        """As ``all``. Plus nothing: or the database might begin at the groups, or go through all that failed in a long
        time."""
        long = self.since is not None and timezone.now() - self.since > LONG
        found = self._between(None if long else self.since, self.until).alias(its_group=F("group_id") + 0)
        found = found.alias(at=_Unindexed("failed_at")).filter(at__gte=self.since) if long else found
        return found.filter(its_group__in=self.groups.order_by().values("pk"))

    def _is_most(self, moments: Sequence[datetime]) -> bool:
        """Whether most open jobs have to be counted: not those of groups that are younger than any of the moments."""
        young = self._known & Q(first_seen__gte=max(moments)) if moments else self._known
        counted, held = (
            groups.aggregate(n=Sum("open_count", default=0))["n"]
            for groups in (self.groups.order_by().exclude(young), FailureGroup.objects.all())
        )
        return bool(counted * 2 > held)

    def _by_slice(self, moments: Sequence[datetime]) -> Iterator[tuple[int, ...]]:
        """From one moment to the next: PostgreSQL shares a range among processes, and does not do so group by group."""
        sums: dict[int, int] = {}
        columns: dict[datetime | None, dict[int, int]] = {}
        *younger, rest = self._slices(moments)
        for at, until in younger:
            columns[at] = sums = _added(sums, self._counts_between(at, until))
        held = dict(self.groups.order_by().values_list("pk", "open_count"))
        whole = held if self._is_known else _added(sums, self._counts_between(*rest))
        for pk in held:
            yield pk, whole.get(pk, 0), *(columns[at].get(pk, 0) for at in moments)

    def _slices(self, moments: Sequence[datetime]) -> Iterator[tuple[datetime | None, datetime | None]]:
        """From each moment, the latest first, to the one before it; then what is left, which is oldest."""
        until = self.until
        for at in sorted(moments, reverse=True):
            yield at, until
            until = min(until, at) if until else at
        yield self.since, until

    def _counts_between(self, since: datetime | None, until: datetime | None) -> dict[int, int]:
        found = self._between(since, until).order_by()
        return dict(found.values_list("group_id").annotate(n=Count("*")))

    @property
    def _is_known(self) -> bool:
        return self.letters == WHOLE and self.since is None and self.until is None

    @property
    def _known(self) -> Q:
        """Groups of which all open jobs are meant: all that ever failed did so within the time."""
        if self.letters != WHOLE:
            return Q(pk__in=[])
        ended = Q(last_seen__lt=self.until) if self.until else Q()
        return Q(first_seen__gte=self.since or EVER) & ended

    def _by_group(self, moments: Sequence[datetime]) -> Iterator[tuple[int, ...]]:
        """From one moment to the next, too, so that no job is counted twice."""
        *younger, rest = self._slices(moments)
        slices = {f"n{n}": self._slice(*bounds) for n, bounds in enumerate(younger)}
        known = When(self._known, then=F("open_count"))
        left = Case(known, default=self._count(*rest), output_field=IntegerField())
        groups = self.groups.order_by().annotate(left=left, known=self._known, **slices)
        for pk, whole, is_known, *counts in groups.values_list("pk", "left", "known", *slices):
            whole += 0 if is_known else sum(counts)
            columns, so_far = {}, 0
            for (at, _), count in zip(younger, counts, strict=True):
                so_far = whole if count is None else so_far + count
                columns[at] = so_far
            yield pk, whole, *(columns[at] for at in moments)

    def _slice(self, since: datetime | None, until: datetime | None) -> Case:
        """Of a group that was last seen before, none; None, for all that are left, where it is known that all are
        younger."""
        none = When(last_seen__lt=since, then=Value(0))
        all_left = When(self._known & Q(first_seen__gte=since), then=Value(None))
        return Case(none, all_left, default=self._count(since, until), output_field=IntegerField())

    def _count(self, since: datetime | None, until: datetime | None) -> Subquery:
        """Of one group. Not as Django's aggregate, which would have the database group what is one group."""
        here = self._between(since, until).filter(group=OuterRef("pk")).order_by()
        return Subquery(here.annotate(n=Func(template="COUNT(*)", output_field=IntegerField())).values("n"))

    def newest(self, before: Q, size: int, *, everywhere: bool) -> QuerySet[DeadLetter]:
        """Those that failed last, of those ``before`` a place in the list. Primary keys come from an index alone.

        ``everywhere``: no group that has such jobs is left out, so their groups need not be looked at.
        """
        found = self._between(self.since, self.until).filter(before)
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
