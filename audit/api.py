"""The log over the API. ``request.auth`` is the actor; what the pages refuse is refused here."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, Field, StringConstraints

from audit import selectors
from audit.actor import Actor
from audit.models import Event, Outcome
from audit.sentences import sentence

router = Router()

# No NUL, which PostgreSQL cannot compare, and no moment that overflows in another time zone.
Text = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
Cursor = Annotated[int | None, Query(ge=0, description="`next` of the previous page")]
Limit = Annotated[int, Query(ge=1, le=500, description="items a page")]


class FiltersIn(Schema):
    """``action`` is an id or its first word; ``since`` is included, ``until`` is not."""

    actor: Text = ""
    action: Text = ""
    target: Text = ""
    pool: Text = ""
    outcome: Outcome | None = None
    since: Moment | None = None
    until: Moment | None = None
    q: Text = ""


class ActorOut(Schema):
    kind: str
    id: str
    name: str


class TargetOut(ActorOut):
    pool: str


class EventOut(Schema):
    """An integrated event. ``leaf_hash`` is SHA-256 over 0x00 and the leaf's bytes, in hex."""

    index: int
    id: UUID
    at: datetime
    actor: ActorOut
    action: str
    target: TargetOut
    outcome: str
    sentence: str
    reason: str
    request_id: str
    address: str
    session: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    detail: dict[str, Any]
    leaf_hash: str


class EventDetailOut(EventOut):
    """``leaf``: the canonical JSON (RFC 8785) whose bytes the hash covers."""

    leaf: str


class PageOut(Schema):
    items: list[EventOut]
    next: str | None


@router.get("/events", response=PageOut)
def list_events(
    request: HttpRequest, filters: Query[FiltersIn], cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    """Integrated events, newest first."""
    wanted = selectors.Filters(**filters.dict() | {"outcome": filters.outcome or ""})
    page = selectors.events(_actor(request), wanted, before=cursor, size=limit)
    items = [_fields(event) for event in page.events]
    return {"items": items, "next": None if page.next is None else str(page.next)}


@router.get("/events/{int:index}", response=EventDetailOut)
def get_event(request: HttpRequest, index: int) -> dict[str, Any]:
    """One event with its leaf."""
    event = selectors.event_by_index(_actor(request), index)
    return _fields(event) | {"leaf": bytes(event.leaf).decode()}


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor


def _fields(event: Event) -> dict[str, Any]:
    same = ("at", "action", "outcome", "reason", "request_id", "before", "after", "detail")
    personal = selectors.personal_values(event)
    target = {"kind": event.target_kind, "id": event.target_id, "name": event.shown_target, "pool": event.pool}
    return {name: getattr(event, name) for name in same} | {
        "index": event.placed.index,
        "id": event.uid,
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "name": event.actor_name},
        "target": target,
        "sentence": sentence(event),
        "address": personal.get("address", ""),
        "session": personal.get("session", ""),
        "leaf_hash": bytes(event.placed.hash).hex(),
    }
