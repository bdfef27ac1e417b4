"""Dead letters and their groups, as an actor may see them. One filter serves page, API and operation."""

import base64
import binascii
import re
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import reduce
from itertools import batched
from operator import or_
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from audit.actor import Actor
from pools.models import SHELVED, DeadLetter, DeadLetterState, FailureGroup, still_there
from pools.permissions import visible_pools
from pools.selectors.group_life import SHOWN_STATES, in_states, owned_by
from pools.selectors.matching import Part, parts

PAGE_SIZE = 50
VALUE_LIMIT = 2000
ME = "me"
GROUP_NUMBERS = re.compile(r"[0-9]{1,18}(,[0-9]{1,18})*")
LONG_AGO = re.compile(r"([0-9]{1,4})(m|h|d)")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class FilterError(ValueError):
    """A filter value that cannot be read. ``field`` names the parameter."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


@dataclass(frozen=True)
class DeadLetterFilter:
    """What to show, as text from a query string. Empty: no restriction; ``state`` is ``open`` unless said otherwise.

    ``since`` and ``until`` are times of failure: RFC 3339, or so long ago (``15m``, ``24h``, ``7d``). ``q`` searches
    messages and job ids; ``error`` is the name of an exception with or without its module; ``group`` the number of a
    failure group, or several with commas between. ``group_state``: what failure groups show, several with commas
    between; ``owner``: the username of their owner, ``me`` or ``none``. ``restorable``: ``yes`` leaves out what no
    longer lies in trash, quarantine or archive.
    """

    pool: str = ""
    queue: str = ""
    task: str = ""
    error: str = ""
    group: str = ""
    group_state: str = ""
    owner: str = ""
    q: str = ""
    since: str = ""
    until: str = ""
    state: str = DeadLetterState.OPEN
    restorable: str = ""

    @classmethod
    def from_query(cls, params: Mapping[str, Any]) -> "DeadLetterFilter":
        """Read known parameters, ignore others. Raises ``FilterError``."""
        values = {f.name: str(params.get(f.name) or "").strip() for f in fields(cls)}
        for name, value in values.items():
            if len(value) > VALUE_LIMIT or "\x00" in value:
                raise FilterError(name, f"at most {VALUE_LIMIT:,} characters, none of them NUL")
        values["state"] = values["state"] or DeadLetterState.OPEN
        found = cls(**values)
        found.letter_conditions()
        found.group_conditions()
        return found

    def as_query(self) -> dict[str, str]:
        """The parameters that differ from their defaults, for links and for the record of an operation."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) != f.default}

    def letter_conditions(self) -> Q:
        """What a dead letter itself must be, but for ``q``. Raises ``FilterError`` for a value that cannot be read."""
        if self.state not in {*DeadLetterState.values, "any"}:
            raise FilterError("state", f"expected {', '.join(DeadLetterState.values)} or any, not {self.state!r}")
        where = Q() if self.state == "any" else Q(state=self.state)
        if self.queue:
            where &= Q(queue=self.queue)
        if self.restorable not in ("", "yes"):
            raise FilterError("restorable", f"expected yes or nothing, not {self.restorable!r}")
        if self.restorable:
            now = timezone.now()
            where &= reduce(or_, (still_there(state, now) for state in SHELVED))
        if self.since:
            where &= Q(failed_at__gte=_time("since", self.since))
        if self.until:
            where &= Q(failed_at__lt=_time("until", self.until))
        return where

    def groups(self) -> list[int]:
        """The numbers in ``group``. Raises ``FilterError``."""
        if not GROUP_NUMBERS.fullmatch(self.group):
            raise FilterError("group", f"expected numbers of failure groups, not {self.group!r}")
        return [int(number) for number in self.group.split(",")]

    def group_conditions(self) -> Q:
        """What its failure group must be. Raises ``FilterError``."""
        where = Q(open_count__gt=0) if self.state == DeadLetterState.OPEN else Q()
        if self.pool:
            where &= Q(pool__slug=self.pool)
        if self.task:
            where &= Q(func=self.task)
        if self.error:
            where &= Q(exc_type=self.error) | Q(exc_type__endswith=f".{self.error}")
        if self.group:
            where &= Q(pk__in=self.groups())
        return where & self._decided()

    def _decided(self) -> Q:
        """What people decided about the group. Raises ``FilterError``."""
        where = Q()
        if self.group_state:
            states = self.group_state.split(",")
            if not set(states) <= set(SHOWN_STATES):
                message = f"expected {', '.join(SHOWN_STATES)}, several with commas between, not {self.group_state!r}"
                raise FilterError("group_state", message)
            where &= in_states(states)
        return where & owned_by(self.owner) if self.owner else where

    def seen_by(self, actor: Actor) -> "DeadLetterFilter":
        """The same filter with the actor's name in place of ``me``."""
        return replace(self, owner=actor.user.get_username()) if self.owner == ME and actor.user else self

    def at_moment(self, newest: datetime | None = None) -> "DeadLetterFilter":
        """The same filter with times that stand still; with ``newest``, nothing that fails after it matches."""
        since = self.since and as_text(_time("since", self.since))
        until = self.until and as_text(_time("until", self.until))
        return replace(self, since=since, until=as_text(newest + timedelta(microseconds=1)) if newest else until)


@dataclass(frozen=True)
class Page[T]:
    """One page of a list read by key, never by offset. ``next``: the cursor of the following page, "" at the end."""

    items: list[T]
    next: str


def matching_groups(actor: Actor, wanted: DeadLetterFilter) -> QuerySet[FailureGroup]:
    """Groups that are as the filter asks, whatever it asks of their jobs."""
    found = FailureGroup.objects.filter(wanted.seen_by(actor).group_conditions(), pool__in=visible_pools(actor))
    return found.select_related("pool", "owner")


def matching(actor: Actor, wanted: DeadLetterFilter) -> list[Part]:
    """The dead letters that match, in parts. Raises ``FilterError``."""
    return list(parts(matching_groups(actor, wanted).select_related(None), wanted.letter_conditions(), wanted.q))


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
    found = [
        row for part in matching(actor, wanted) for row in part.newest(before, size + 1).values_list("failed_at", "pk")
    ]
    keys = sorted(found, reverse=True)[: size + 1]
    rows = DeadLetter.objects.select_related("pool", "group").in_bulk([pk for _, pk in keys[:size]])
    items = [rows[pk] for _, pk in keys[:size] if pk in rows]
    return Page(items, _cursor(*keys[size - 1]) if len(keys) > size else "")


def group_counts(actor: Actor, wanted: DeadLetterFilter) -> dict[int, int]:
    """How many dead letters match, by the number of their failure group; only groups with at least one."""
    counts: Counter[int] = Counter()
    for part in matching(actor, wanted):
        counts.update(part.counts())
    return dict(counts)


def find_group(actor: Actor, pk: int) -> FailureGroup:
    """Raises ``FailureGroup.DoesNotExist`` also for a group in a pool that the actor may not see."""
    return FailureGroup.objects.select_related("pool", "owner").get(pk=pk, pool__in=visible_pools(actor))


def find_dead_letter(actor: Actor, job_id: str, broker: str = "default") -> DeadLetter:
    """Raises ``DeadLetter.DoesNotExist``, as above."""
    visible = DeadLetter.objects.filter(pool__in=visible_pools(actor)).select_related("pool", "group", "detail")
    return visible.get(job_id=job_id, broker=broker)


def pks_of_jobs(actor: Actor, job_ids: list[str], broker: str = "default") -> dict[str, int]:
    """Job id → primary key, for those among the dead letters that the actor may see."""
    found: dict[str, int] = {}
    for chunk in batched(job_ids, 500):
        rows = DeadLetter.objects.filter(job_id__in=chunk, broker=broker, pool__in=visible_pools(actor))
        found |= dict(rows.values_list("job_id", "pk"))
    return found


def traceback_of(dead_letter: DeadLetter) -> str:
    """The stored traceback, "" when there is none."""
    detail = getattr(dead_letter, "detail", None)
    return zlib.decompress(bytes(detail.traceback)).decode() if detail else ""


def as_text(moment: datetime) -> str:
    """As ``since`` and ``until`` take it, to the microsecond."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _time(field: str, text: str) -> datetime:
    if ago := LONG_AGO.fullmatch(text):
        return timezone.now() - timedelta(**{UNITS[ago[2]]: int(ago[1])})
    try:
        value = parse_datetime(text)
        if value is not None:
            return (value if timezone.is_aware(value) else timezone.make_aware(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise FilterError(field, f"expected a time such as 2026-11-22T02:31:00Z or 15m, 24h, 7d, not {text!r}")


def _cursor(at: datetime, pk: int) -> str:
    return base64.urlsafe_b64encode(f"{at.isoformat()}|{pk}".encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[datetime, int]:
    try:
        at, pk = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().split("|")
        return datetime.fromisoformat(at).astimezone(UTC), int(pk)
    except (ValueError, OverflowError, binascii.Error) as error:
        raise FilterError("cursor", "this cursor was not given out by a list") from error
