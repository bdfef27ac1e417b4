"""Every read of the log, for actors who hold ``audit.view_event``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from heapq import nlargest
from itertools import chain
from typing import Any, Self
from uuid import UUID

from django.db import connection
from django.db.models import Exists, OuterRef, Q, QuerySet, TextField
from django.db.models.functions import Cast
from django.utils import timezone

from audit.actions import ACTIONS
from audit.actor import Actor
from audit.models import Event, Export, Leaf, Pending, Personal, SavedFilter
from audit.permissions import VIEW, require

PAGE = 50
PENDING_SHOWN = 50
PENDING_SEARCHED = 500
SAME_REQUEST_SHOWN = 50
EXPORTS_SHOWN = 100
TEXT_SEARCHED = 5_000
"""Events whose text one page looks through: no index helps with a part of a word, so there is an end to it."""
SKEW = timedelta(days=1)
"""By how much a host's clock may be wrong before a page with a time filter could miss its events. Exports do not."""
# SQLite keeps JSON as Python writes it, with letters beyond ASCII escaped; PostgreSQL as the letters themselves.
_ESCAPES = connection.vendor == "sqlite"


@dataclass(frozen=True)
class Filters:
    """What the timeline is narrowed to; an empty field does not narrow.

    ``action`` is an id or its first word ("operation"); ``actor`` and ``target`` are a name, or else an id; ``q`` is
    looked for in names, action, reason, and in what changed. ``since`` is included, ``until`` is not.
    """

    actor: str = ""
    action: str = ""
    target: str = ""
    pool: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None
    q: str = ""

    def as_dict(self) -> dict[str, str]:
        """The fields that narrow, as text: for an address, or to be stored."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in given.items() if value
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """What ``as_dict`` gave; other keys are passed over."""
        known: dict[str, Any] = {item.name: stored[item.name] for item in fields(cls) if item.name in stored}
        for name in ("since", "until"):
            if name in known:
                known[name] = datetime.fromisoformat(known[name])
        return cls(**known)


@dataclass(frozen=True)
class Page:
    """Integrated events, newest first. ``next`` is the ``before`` of the page after this one, None at the end.

    ``searched``: a search for text went no further back than to this index, though the page is not full.
    """

    events: list[Event]
    next: int | None
    searched: int | None = None


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
    """Up to ``size`` integrated events with an index below ``before``. Raises Denied.

    In the order of event ids, which an index serves for every filter; it is the order of the log but for transactions
    that were open at the same time.
    """
    found, actions = _below(_integrated(actor, replace(filters, action="")), before), _actions(filters.action)
    searched = None
    if filters.q:
        looked_at = _newest_ids(found, actions, TEXT_SEARCHED)
        if len(looked_at) == TEXT_SEARCHED:
            searched = Leaf.objects.get(event=looked_at[-1]).index
            found = found.filter(id__gte=looked_at[-1])
    ids = _newest_ids(_with_text(found, filters.q), actions, size + 1)
    page = list(found.filter(id__in=ids).order_by("-id"))
    if len(page) > size:
        return Page(page[:size], page[size - 1].placed.index)
    return Page(page, searched, searched)


def events_around(actor: Actor, filters: Filters, index: int, *, newer: int = 3, size: int = PAGE) -> list[Event]:
    """A stretch of the timeline with the event at ``index`` in it, newest first. Raises Denied."""
    found = _integrated(actor, filters)
    middle = Leaf.objects.values_list("event_id", flat=True).get(index=index)
    after = list(_with_text(found.filter(id__gt=middle), filters.q).order_by("id")[:newer]) if not filters.q else []
    older = events(actor, filters, before=index + 1, size=size - len(after))
    return after[::-1] + older.events


def matching(filters: Filters, size: int) -> QuerySet[Event]:
    """The events among the log's first ``size`` that ``filters`` match, for whoever has checked that they may be
    read."""
    found = _matching(filters, near=False).filter(placed__index__lt=size)
    return _with_text(found, filters.q).select_related("placed")


def pending_events(actor: Actor, filters: Filters) -> list[Event]:
    """The newest events that have no leaf yet. Raises Denied."""
    require(actor, VIEW)
    waiting = Pending.objects.order_by("-event_id").values_list("event_id", flat=True)[:PENDING_SEARCHED]
    found = _with_text(_matching(filters).filter(id__in=list(waiting)), filters.q)
    return list(found.prefetch_related("personal").order_by("-id")[:PENDING_SHOWN])


def event_by_index(actor: Actor, index: int) -> Event:
    """The event of a leaf. Raises Denied, Event.DoesNotExist."""
    return _integrated(actor, Filters()).get(placed__index=index)


def personal_values(event: Event) -> dict[str, str]:
    """The plain values of an event's personal fields, without those that were erased."""
    if event.schema_version == 1:  # which kept them in the leaf
        leaf = json.loads(bytes(event.leaf))
        return {field: leaf[field] for field in ("address", "session") if leaf[field]}
    return {row.field: row.value for row in event.personal.all()}


def same_value_counts(event: Event) -> dict[str, int]:
    """For each personal field of the event that is there: how many events have the same value in it."""
    rows = event.personal.all()
    return {row.field: Personal.objects.filter(field=row.field, value=row.value).count() for row in rows}


def exports(actor: Actor) -> list[Export]:
    """The newest exports, whoever asked for them. Raises Denied."""
    require(actor, VIEW)
    return list(Export.objects.all()[:EXPORTS_SHOWN])


def export_of(actor: Actor, uid: UUID) -> Export:
    """Raises Denied, Export.DoesNotExist."""
    require(actor, VIEW)
    return Export.objects.get(uid=uid)


def saved_filters(actor: Actor) -> list[SavedFilter]:
    """The actor's own. Raises Denied."""
    require(actor, VIEW)
    return list(SavedFilter.objects.filter(owner_id=actor.id))


def same_request(actor: Actor, event: Event) -> list[Event]:
    """The other integrated events that the same request caused, oldest first. Raises Denied."""
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


def _integrated(actor: Actor, filters: Filters) -> QuerySet[Event]:
    require(actor, VIEW)
    # Not by a join, which a database may begin at the leaves: then it sorts the whole log for one page.
    found = _matching(filters).filter(Exists(Leaf.objects.filter(event=OuterRef("pk"))))
    return found.select_related("placed").prefetch_related("personal")


def _below(found: QuerySet[Event], before: int | None) -> QuerySet[Event]:
    place = Leaf.objects.filter(index=before).values_list("event_id", flat=True).first() if before is not None else None
    return found if place is None else found.filter(id__lt=place)


def _newest_ids(found: QuerySet[Event], actions: list[str], count: int) -> list[int]:
    """The ids of the newest ``count`` events, the newest first.

    Each action by itself and then merged: an index gives one action's events in order, and several at once it does not.
    """
    parts = [found.filter(action=action) for action in actions] or [found]
    newest = (part.order_by("-id").values_list("id", flat=True)[:count] for part in parts)
    return nlargest(count, chain.from_iterable(newest))


def _matching(filters: Filters, *, near: bool = True) -> QuerySet[Event]:
    """All that ``filters`` match but for the text. ``near``: look only among ids that belong to the time that is asked
    for, so that a page need not pass over all that is newer."""
    found = Event.objects.all()
    if filters.actor:
        found = found.filter(_named("actor", filters.actor))
    if filters.target:
        found = found.filter(_named("target", filters.target))
    if filters.action:
        found = found.filter(action__in=_actions(filters.action))
    if filters.pool:
        found = found.filter(pool=filters.pool)
    if filters.outcome:
        found = found.filter(outcome=filters.outcome)
    if filters.since:
        found = found.filter(at__gte=filters.since)
        earlier = Event.objects.filter(at__lt=filters.since - SKEW).order_by("-at").values_list("id", flat=True)
        if near and (below := earlier.first()):
            found = found.filter(id__gt=below)
    if filters.until:
        found = found.filter(at__lt=filters.until)
        later = Event.objects.filter(at__gte=filters.until + SKEW).order_by("at").values_list("id", flat=True)
        if near and (above := later.first()):
            found = found.filter(id__lt=above)
    return found


def _named(field: str, wanted: str) -> Q:
    """By name, or else by id; also by a name that is personal, as long as it is not erased."""
    typed = Personal.objects.filter(field=field, value=wanted)
    if typed.exists():
        return Q(**{f"{field}_name": wanted}) | Q(id__in=typed.values("event"))
    named = Event.objects.filter(**{f"{field}_name": wanted}).exists()
    return Q(**{f"{field}_name" if named else f"{field}_id": wanted})


def _actions(wanted: str) -> list[str]:
    """The actions that an action's id, or its first word, stands for."""
    return [action for action in ACTIONS if action.startswith(f"{wanted}.")] or ([wanted] if wanted else [])


def _with_text(found: QuerySet[Event], text: str) -> QuerySet[Event]:
    """Those that hold ``text`` in a name, the action, the reason, or in what the event tells of the change."""
    if not text:
        return found
    columns = ("reason", "action", "actor_name", "target_name", "pool")
    held = Q.create([(f"{column}__icontains", text) for column in columns], connector=Q.OR)
    for column in ("before", "after", "detail"):
        found = found.alias(**{f"{column}_text": Cast(column, TextField())})
        held |= Q(**{f"{column}_text__icontains": json.dumps(text, ensure_ascii=_ESCAPES)[1:-1]})
    return found.filter(held)
