"""The log over the API. ``request.auth`` is the actor; what the pages refuse is refused here."""

from base64 import b64encode
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, ConfigDict, Field, StringConstraints

from audit import proofs, selectors
from audit.actor import Actor
from audit.models import Checkpoint, Outcome
from audit.plain import plain

router = Router()

# No NUL, which PostgreSQL cannot compare, and no moment that overflows in another time zone.
Text = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1970, 1, 1, tzinfo=UTC), lt=datetime(9000, 1, 1, tzinfo=UTC))]
Cursor = Annotated[int | None, Query(ge=0, description="`next` of the previous page")]
Limit = Annotated[int, Query(ge=1, le=500, description="items a page")]


_ROOT = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_NOTE = (
    f"poolwarden/production\n2\n{b64encode(bytes.fromhex(_ROOT)).decode()}\n\n— poolwarden/production c2lnbmF0dXJl\n"
)
EXAMPLE_PROOF: dict[str, Any] = {
    "index": 0,
    "leaf_hash": _ROOT,
    "size": 2,
    "root": _ROOT,
    "proof": [_ROOT],
    "checkpoint": _NOTE,
}
EXAMPLE_CONSISTENCY: dict[str, Any] = {"from": 1, "to": 2, "from_root": _ROOT, "to_root": _ROOT, "proof": [_ROOT]}
EXAMPLE_CHECKPOINT: dict[str, Any] = {
    "size": 2,
    "root": _ROOT,
    "note": _NOTE,
    "at": "2026-11-22T02:53:14.000000Z",
    "cosignatures": [],
}


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


class ProofOut(Schema):
    """RFC 6962, 2.1.1: ``proof`` leads from ``leaf_hash`` to ``root``, the lowest sibling first. Hashes are hex;
    ``checkpoint`` is a signed note (C2SP tlog-checkpoint) over ``size`` and ``root``."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_PROOF]})

    index: int
    leaf_hash: str
    size: int
    root: str
    proof: list[str]
    checkpoint: str


class ConsistencyOut(Schema):
    """RFC 6962, 2.1.2: ``proof`` shows that the log of ``to`` events begins with the log of ``from`` events."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_CONSISTENCY]})

    from_: int = Field(alias="from")
    to: int
    from_root: str
    to_root: str
    proof: list[str]


class CosignatureOut(Schema):
    """``line`` is the witness's signature line, to be put below the note."""

    witness: str
    at: datetime
    line: str


class CheckpointOut(Schema):
    """``note`` is the signed note, byte for byte."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE_CHECKPOINT]})

    size: int
    root: str
    note: str
    at: datetime
    cosignatures: list[CosignatureOut]


@router.get("/events", response=PageOut)
def list_events(
    request: HttpRequest, filters: Query[FiltersIn], cursor: Cursor = None, limit: Limit = 100
) -> dict[str, Any]:
    """Integrated events, newest first."""
    wanted = selectors.Filters(**filters.dict() | {"outcome": filters.outcome or ""})
    page = selectors.events(_actor(request), wanted, before=cursor, size=limit)
    items = [plain(event) for event in page.events]
    return {"items": items, "next": None if page.next is None else str(page.next)}


@router.get("/events/{int:index}", response=EventDetailOut)
def get_event(request: HttpRequest, index: int) -> dict[str, Any]:
    """One event with its leaf."""
    event = selectors.event_by_index(_actor(request), index)
    return plain(event) | {"leaf": bytes(event.leaf).decode(errors="replace")}


@router.get("/events/{int:index}/proof", response=ProofOut)
def get_event_proof(request: HttpRequest, index: int) -> dict[str, Any]:
    """That the event is in the log, as its newest checkpoint says. 404 until a checkpoint covers it."""
    proof = proofs.inclusion(_actor(request), index)
    return {
        "index": index,
        "leaf_hash": proof.leaf_hash.hex(),
        "size": proof.checkpoint.size,
        "root": bytes(proof.checkpoint.root).hex(),
        "proof": [hashed.hex() for _, hashed in proof.path],
        "checkpoint": proofs.full_note(proof.checkpoint),
    }


@router.get("/consistency", response=ConsistencyOut, by_alias=True)
def get_consistency(
    request: HttpRequest,
    from_: Annotated[int, Query(alias="from", ge=1, le=2**63 - 1, description="a size of the log that you know")],
    to: Annotated[
        int | None, Query(ge=1, le=2**63 - 1, description="a later one; the newest checkpoint's if empty")
    ] = None,
) -> dict[str, Any]:
    """That the log only grew between two sizes."""
    proof = proofs.consistency(_actor(request), from_, to)
    return {
        "from": proof.old,
        "to": proof.size,
        "from_root": proof.old_root.hex(),
        "to_root": proof.root.hex(),
        "proof": [hashed.hex() for hashed in proof.path],
    }


@router.get("/checkpoint", response=CheckpointOut)
def get_checkpoint(request: HttpRequest) -> dict[str, Any]:
    """The newest checkpoint, with its witnesses' signatures. 404 before the first."""
    checkpoint: Checkpoint = proofs.newest_checkpoint(_actor(request))
    cosignatures = [{"witness": row.witness, "at": row.at, "line": row.line} for row in checkpoint.cosignatures.all()]
    return {
        "size": checkpoint.size,
        "root": bytes(checkpoint.root).hex(),
        "note": bytes(checkpoint.note).decode(),
        "at": checkpoint.at,
        "cosignatures": cosignatures,
    }


def _actor(request: HttpRequest) -> Actor:
    actor: Actor = request.auth  # type: ignore[attr-defined]
    return actor
