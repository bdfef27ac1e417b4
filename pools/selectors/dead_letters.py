"""Dead letters and their groups, as an actor may see them. One filter serves page, API and operation."""

import base64
import binascii
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import batched
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.actor import Actor
from pools.arguments import UNSAID
from pools.models import SHELVED, DeadLetter, DeadLetterState, FailureGroup, Pool, still_there
from pools.permissions import visible_pools
from pools.selectors.arguments import letters_with, searched_pools
from pools.selectors.filter_text import line_of, parse_line
from pools.selectors.filter_values import ANY, NONE, Values, canonical, expiry, moment, quoted, read_values
from pools.selectors.filter_values import FilterError as FilterError
from pools.selectors.group_life import in_states, owned_by
from pools.selectors.matching import Part, parts

PAGE_SIZE = 50
VALUE_LIMIT = 2000
ME = "me"


@dataclass(frozen=True)
class DeadLetterFilter:
    """What to show, as text from a query string. Empty: no restriction; ``state`` is ``open`` unless said otherwise.

    ``filter_text`` says how several values, and those to leave out, are written, and prints it all as one line.
    ``since`` and ``until`` are times of failure: RFC 3339, or so long ago (``15m``, ``24h``, ``7d``); ``expires`` is
    such a time to come, after ``<`` or ``>``. ``q`` searches messages and job ids; ``error`` is an exception's name
    with or without its module; ``version`` the worker's config version, as ``v41``; ``group`` the number of a failure
    group, ``group_state`` what it shows, ``owner`` the username of who looks after it, ``me`` or ``none``. ``args``
    holds paths with values, ``user.id=42``, and matches only where the actor may reveal payloads.
    ``restorable``: ``yes`` leaves out what no longer lies in trash, quarantine or archive.
    """

    pool: str = ""
    queue: str = ""
    task: str = ""
    error: str = ""
    host: str = ""
    version: str = ""
    group: str = ""
    group_state: str = ""
    owner: str = ""
    args: str = ""
    q: str = ""
    since: str = ""
    until: str = ""
    expires: str = ""
    state: str = DeadLetterState.OPEN
    restorable: str = ""

    @classmethod
    def from_query(cls, params: Mapping[str, Any]) -> "DeadLetterFilter":
        """Read known parameters, ignore others. Raises ``FilterError``."""
        values = {f.name: str(params.get(f.name) or "").strip() for f in fields(cls)}
        for name, value in values.items():
            if len(value) > VALUE_LIMIT or "\x00" in value:
                raise FilterError(name, f"at most {VALUE_LIMIT:,} characters, none of them NUL")
            values[name] = canonical(name, value)
        values["state"] = values["state"] or DeadLetterState.OPEN
        return cls(**values)

    @classmethod
    def from_line(cls, line: str) -> "DeadLetterFilter":
        """Read the filter bar's text. Raises ``FilterError`` with the place of what cannot be read."""
        return cls.from_query(parse_line(line))

    def as_query(self) -> dict[str, str]:
        """The parameters that differ from their defaults, for links."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    def as_record(self) -> dict[str, str]:
        """The same for what is kept and shown to others: what it asks of arguments is left unsaid."""
        return self.as_query() | ({"args": UNSAID} if self.args else {})

    def as_line(self) -> str:
        """As the filter bar shows it."""
        return line_of(self.as_query())

    def narrowed(self, field: str, value: str) -> "DeadLetterFilter":
        """Only this value of a field that takes several."""
        return replace(self, **{field: quoted(value)})

    def letter_conditions(self) -> Q:
        """What a dead letter must be, but for ``since``, ``until`` and ``q``. Raises ``FilterError``."""
        where = Q() if self.is_anywhere else self._among("state", _in("state"))
        where &= self._among("queue", _in("queue")) & self._among("host", _in("host", empty=""))
        where &= self._among("version", _versions)
        if self.restorable:
            now = timezone.now()
            where &= reduce(or_, (still_there(state, now) for state in SHELVED))
        if self.expires:
            side, at = expiry(self.expires)
            where &= Q(expires_at__lt=at) if side == "<" else Q(expires_at__gt=at)
        return where

    @property
    def is_beside(self) -> bool:
        """Whether what is asked of the jobs themselves stands in the index of their group: all but what shelves know of
        them, and what restricts them to states."""
        return not self.restorable and (self.is_anywhere or self.state == DeadLetterState.OPEN)

    @property
    def is_ranged(self) -> bool:
        """Whether nothing is asked of the jobs themselves but when they failed, be they open or in any state."""
        return self.is_beside and not (self.queue or self.host or self.version or self.expires)

    @property
    def is_anywhere(self) -> bool:
        """Whether jobs in any state match. Raises ``FilterError``."""
        return ANY in read_values("state", self.state).wanted

    @property
    def asks_of_groups(self) -> bool:
        """Whether anything but jobs themselves decides what matches."""
        return any((self.pool, self.task, self.error, self.group, self.group_state, self.owner, self.args, self.q))

    def group_conditions(self) -> Q:
        """What its failure group must be. Raises ``FilterError``."""
        where = Q(open_count__gt=0) if self.state == DeadLetterState.OPEN else Q()
        for name, column in (("pool", "pool__slug"), ("task", "func"), ("group", "pk")):
            where &= self._among(name, _in(column))
        where &= self._among("error", _errors) & self._among("group_state", in_states)
        return where & self._among("owner", lambda owners: Q.create([owned_by(owner) for owner in owners], Q.OR))

    def pool_conditions(self) -> Q:
        """What its pool must be. Raises ``FilterError``."""
        return self._among("pool", _in("slug"))

    def _among(self, field: str, match: Callable[[Sequence[str]], Q]) -> Q:
        """One of the field's values, and none of those that it leaves out. Raises ``FilterError``."""
        values = read_values(field, getattr(self, field))
        where = match(values.wanted) if values.wanted else Q()
        return where & ~match(values.unwanted) if values.unwanted else where

    def seen_by(self, actor: Actor) -> "DeadLetterFilter":
        """The same filter with the actor's name in place of ``me``."""
        if not self.owner or actor.user is None:
            return self
        name, owners = actor.user.get_username(), read_values("owner", self.owner)
        said = [tuple(name if owner == ME else owner for owner in some) for some in (owners.wanted, owners.unwanted)]
        return replace(self, owner=str(Values(*said)))

    def at_moment(self, newest: datetime | None = None) -> "DeadLetterFilter":
        """The same filter with times that stand still; with ``newest``, nothing that fails after it matches."""
        since = self.since and as_text(moment("since", self.since))
        until = self.until and as_text(moment("until", self.until))
        expires = self.expires and f"{self.expires[0]}{as_text(expiry(self.expires)[1])}"
        last = as_text(newest + timedelta(microseconds=1)) if newest else until
        return replace(self, since=since, until=last, expires=expires)


@dataclass(frozen=True)
class Page[T]:
    """One page of a list read by key, never by offset. ``next``: the cursor of the following page, "" at the end."""

    items: list[T]
    next: str


def matching_groups(actor: Actor, wanted: DeadLetterFilter) -> QuerySet[FailureGroup]:
    """Groups that are as the filter asks, whatever it asks of their jobs."""
    pools = _pools(actor, wanted)
    found = FailureGroup.objects.filter(wanted.seen_by(actor).group_conditions(), pool__in=pools)
    return found.select_related("pool", "owner")


def matching(actor: Actor, wanted: DeadLetterFilter) -> list[Part]:
    """The dead letters that match, in parts. Raises ``FilterError``."""
    groups = matching_groups(actor, wanted).select_related(None)
    since = moment("since", wanted.since) if wanted.since else None
    until = moment("until", wanted.until) if wanted.until else None
    whole = Part(groups, wanted.letter_conditions(), since, until, jobs=letters_with(wanted.args))
    whole = replace(whole, ranged=wanted.is_ranged, beside=wanted.is_beside, anywhere=wanted.is_anywhere)
    whole = _hinted(whole, wanted)
    return list(parts(whole, wanted.q))


def _hinted(part: Part, wanted: DeadLetterFilter) -> Part:
    """With what leads the database to the index of open jobs by queue, by expiry, by host or by version. See
    ``DeadLetter``.

    Not where it had better begin at a few groups.
    """
    few = wanted.group or wanted.task or wanted.error or wanted.q or wanted.args
    if few or wanted.state != DeadLetterState.OPEN:
        return part
    if read_values("queue", wanted.queue).wanted:
        brokers = Pool.objects.order_by().values_list("broker", flat=True).distinct()
        return replace(part, hint=Q(broker__in=list(brokers)), leads=True)
    if wanted.expires.startswith("<"):
        pools = Pool.objects.values_list("pk", flat=True)
        return replace(part, hint=Q(pool__in=list(pools)), leads=True)
    hosts, versions = (read_values(name, getattr(wanted, name)).wanted for name in ("host", "version"))
    if hosts and NONE not in hosts:
        return replace(part, hint=~Q(host=""))
    return replace(part, beside=False) if versions and NONE not in versions else part


def _pools(actor: Actor, wanted: DeadLetterFilter) -> QuerySet[Pool]:
    """Those in which the actor may ask what the filter asks. Raises ``FilterError``."""
    if not wanted.args:
        return visible_pools(actor)
    return searched_pools(actor, wanted.args, wanted.pool_conditions(), wanted.as_line())


def dead_letters(actor: Actor, wanted: DeadLetterFilter) -> QuerySet[DeadLetter]:
    """Those that match, newest failure first."""
    found = [part.all() for part in matching(actor, wanted)] or [DeadLetter.objects.none()]
    return reduce(or_, found).select_related("pool", "group").order_by("-failed_at", "-pk")


def dead_letter_page(
    actor: Actor, wanted: DeadLetterFilter, cursor: str = "", size: int = PAGE_SIZE
) -> Page[DeadLetter]:
    """Raises ``FilterError`` for a cursor that this function did not make."""
    before = Q()
    if cursor:
        at, pk = _read_cursor(cursor)
        before = Q(failed_at__lte=at) & ~Q(failed_at=at, pk__gte=pk)
    keys = newest_keys(actor, wanted, size + 1, before)
    rows = _seen(actor).select_related("pool", "group").in_bulk([pk for _, pk in keys[:size]])
    items = [rows[pk] for _, pk in keys[:size] if pk in rows]
    return Page(items, _cursor(*keys[size - 1]) if len(keys) > size else "")


def newest_keys(
    actor: Actor, wanted: DeadLetterFilter, size: int, before: Q | None = None
) -> list[tuple[datetime, int]]:
    """When those that match failed, with their primary keys, newest failure first; ``before`` a place in the list."""
    everywhere = not wanted.asks_of_groups and not Pool.objects.exclude(pk__in=visible_pools(actor)).exists()
    some = [piece for part in matching(actor, wanted) for piece in part.by_state()]
    lists = [part.newest(before or Q(), size, everywhere=everywhere) for part in some]
    return sorted((key for part in lists for key in part.values_list("failed_at", "pk")), reverse=True)[:size]


def group_counts(actor: Actor, wanted: DeadLetterFilter) -> dict[int, int]:
    """How many dead letters match, by the number of their failure group; only groups with at least one."""
    return {pk: counts[0] for pk, counts in counts_since(actor, wanted, ()).items()}


def counts_since(actor: Actor, wanted: DeadLetterFilter, moments: Sequence[datetime]) -> dict[int, list[int]]:
    """As ``group_counts``, and then how many of them failed at each of the moments, none before ``since``, or later."""
    found: dict[int, list[int]] = {}
    for part in (piece for whole in matching(actor, wanted) for piece in whole.by_state()):
        for pk, counts in part.counts(moments).items():
            found[pk] = [sum(both) for both in zip(found[pk], counts, strict=True)] if pk in found else counts
    return found


def find_group(actor: Actor, pk: int) -> FailureGroup:
    """Raises ``FailureGroup.DoesNotExist`` also for a group in a pool that the actor may not see."""
    return FailureGroup.objects.select_related("pool", "owner").get(pk=pk, pool__in=visible_pools(actor))


def find_dead_letter(actor: Actor, job_id: str, broker: str = "default") -> DeadLetter:
    """Raises ``DeadLetter.DoesNotExist``, as above."""
    return _seen(actor).select_related("pool", "group", "detail").get(job_id=job_id, broker=broker)


def dead_letter_of(actor: Actor, pk: int) -> DeadLetter:
    """Raises ``DeadLetter.DoesNotExist``, as above."""
    return _seen(actor).select_related("pool", "group", "detail").get(pk=pk)


def pks_of_jobs(actor: Actor, job_ids: list[str], broker: str = "default") -> dict[str, int]:
    """Job id → primary key, for those among the dead letters that the actor may see."""
    found: dict[str, int] = {}
    for chunk in batched(job_ids, 500):
        rows = _seen(actor).filter(job_id__in=chunk, broker=broker)
        found |= dict(rows.values_list("job_id", "pk"))
    return found


def _seen(actor: Actor) -> QuerySet[DeadLetter]:
    return DeadLetter.objects.filter(pool__in=visible_pools(actor))


def traceback_of(dead_letter: DeadLetter) -> str:
    """The stored traceback, "" when there is none."""
    detail = getattr(dead_letter, "detail", None)
    return zlib.decompress(bytes(detail.traceback)).decode() if detail else ""


def as_text(moment: datetime) -> str:
    """As ``since`` and ``until`` take it, to the microsecond."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _in(column: str, empty: str = NONE) -> Callable[[Sequence[str]], Q]:
    """A column that holds one of the values; ``empty`` stands in it where the filter says ``none``."""

    def condition(values: Sequence[str]) -> Q:
        first, *others = [empty if value == NONE else value for value in values]
        return Q(**{f"{column}__in": [first, *others]}) if others else Q(**{column: first})

    return condition


def _errors(names: Sequence[str]) -> Q:
    """Exceptions by name, with or without their module."""
    exact = Q(exc_type__in=["" if name == NONE else name for name in names])
    return Q.create([exact, *(Q(exc_type__endswith=f".{name}") for name in names)], Q.OR)


def _versions(names: Sequence[str]) -> Q:
    """Config versions as ``v41``; ``none`` for workers without one."""
    found = Q(config_number__in=[int(name[1:]) for name in names if name != NONE])
    return found | Q(config_number=None) if NONE in names else found


def _cursor(at: datetime, pk: int) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{pk}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[datetime, int]:
    try:
        at, pk = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split("|")
        return datetime.fromisoformat(at).astimezone(UTC), int(pk)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise FilterError("cursor", "this cursor was not given out by a list") from error
