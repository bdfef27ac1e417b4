"""Every read of the log, for actors who hold ``audit.view_event``."""

import json
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.utils import timezone

from audit.actor import Actor
from audit.models import Event, Leaf, Pending

PERMISSION = "audit.view_event"
PAGE = 50
PENDING_SHOWN = 50
SAME_REQUEST_SHOWN = 50


class ViewDenied(PermissionDenied):
    """The actor lacks ``permission``. The message also says who can grant it."""

    permission = PERMISSION


@dataclass(frozen=True)
class Filters:
    """What the timeline is narrowed to; an empty field does not narrow.

    ``action`` is an id or its first word ("operation"); ``actor`` and ``target`` are a name or an id; ``q`` is looked
    for in names, action and reason. ``since`` is included, ``until`` is not.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    pool: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None
    q: str = ""


@dataclass(frozen=True)
class Page:
    """Integrated events, newest first. ``next`` is the ``before`` of the page after this one, None at the end."""

    events: list[Event]
    next: int | None


@dataclass(frozen=True)
class LogState:
    """How long the log is and what waits for it: the newest index (None while it is empty), an age in seconds."""

    newest: int | None
    newest_at: datetime | None
    pending: int
    oldest_pending_age: int

    @property
    def size(self) -> int:
        return 0 if self.newest is None else self.newest + 1


def events(actor: Actor, filters: Filters, *, before: int | None = None, size: int = PAGE) -> Page:
    """Up to ``size`` integrated events with an index below ``before``. Raises ViewDenied."""
    found = _integrated(actor, filters)
    if before is not None:
        found = found.filter(placed__index__lt=before)
    page = list(found.order_by("-placed__index")[: size + 1])
    more = len(page) > size
    return Page(page[:size], page[size - 1].placed.index if more else None)


def events_around(actor: Actor, filters: Filters, index: int, *, newer: int = 3, size: int = PAGE) -> list[Event]:
    """A stretch of the timeline with the event at ``index`` in it, newest first. Raises ViewDenied."""
    found = _integrated(actor, filters)
    after = list(found.filter(placed__index__gt=index).order_by("placed__index")[:newer])
    return after[::-1] + list(found.filter(placed__index__lte=index).order_by("-placed__index")[: size - len(after)])


def pending_events(actor: Actor, filters: Filters) -> list[Event]:
    """The newest events that have no leaf yet. Raises ViewDenied."""
    _require(actor)
    return list(_matching(filters).filter(pending__isnull=False).order_by("-id")[:PENDING_SHOWN])


def event_by_index(actor: Actor, index: int) -> Event:
    """The event of a leaf. Raises ViewDenied, Event.DoesNotExist."""
    return _integrated(actor, Filters()).get(placed__index=index)


def personal_values(event: Event) -> dict[str, str]:
    """The plain values of an event's personal fields, without those that were erased."""
    if event.schema_version == 1:  # which kept them in the leaf
        leaf = json.loads(bytes(event.leaf))
        return {field: leaf[field] for field in ("address", "session") if leaf[field]}
    return {row.field: row.value for row in event.personal.all()}


def same_request(actor: Actor, event: Event) -> list[Event]:
    """The other integrated events that the same request caused, oldest first. Raises ViewDenied."""
    if not event.request_id:
        return []
    others = _integrated(actor, Filters()).filter(request_id=event.request_id).exclude(pk=event.pk)
    return list(others.order_by("placed__index")[:SAME_REQUEST_SHOWN])


def log_state() -> LogState:
    """The log's size and lag, which say nothing of its content: anyone may know them."""
    newest = Leaf.objects.select_related("event").only("event__at").order_by("-index").first()
    oldest = Pending.objects.select_related("event").only("event__at").order_by("event_id").first()
    return LogState(
        newest=newest.index if newest else None,
        newest_at=newest.event.at if newest else None,
        pending=Pending.objects.count(),
        oldest_pending_age=max(int((timezone.now() - oldest.event.at).total_seconds()), 0) if oldest else 0,
    )


def _require(actor: Actor) -> None:
    if actor.kind == "system" or (actor.user is not None and actor.user.has_perm(PERMISSION)):
        return
    granters = get_user_model().objects.with_perm(
        "auth.change_group", backend="django.contrib.auth.backends.ModelBackend"
    )
    names = [user.get_username() for user in granters.order_by("pk")[:3]]
    who = " or ".join(names) or "An administrator"
    raise ViewDenied(f"Reading the audit log needs the permission {PERMISSION}. {who} can grant it.")


def _integrated(actor: Actor, filters: Filters) -> QuerySet[Event]:
    _require(actor)
    return _matching(filters).filter(placed__index__gte=0).select_related("placed").prefetch_related("personal")


def _matching(filters: Filters) -> QuerySet[Event]:
    found = Event.objects.all()
    if filters.actor:
        found = found.filter(Q(actor_name=filters.actor) | Q(actor_id=filters.actor))
    if filters.action:
        found = found.filter(Q(action=filters.action) | Q(action__startswith=f"{filters.action}."))
    if filters.target:
        found = found.filter(Q(target_name=filters.target) | Q(target_id=filters.target))
    if filters.pool:
        found = found.filter(pool=filters.pool)
    if filters.outcome:
        found = found.filter(outcome=filters.outcome)
    if filters.since:
        found = found.filter(at__gte=filters.since)
    if filters.until:
        found = found.filter(at__lt=filters.until)
    if filters.q:
        columns = ("reason", "action", "actor_name", "target_name", "pool")
        found = found.filter(Q.create([(f"{column}__icontains", filters.q) for column in columns], connector=Q.OR))
    return found
