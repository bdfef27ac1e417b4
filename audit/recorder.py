"""Writing the log. An action and its event commit together: no event, no action."""

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import rfc8785
from django.db import connection, transaction
from django.db.models import Field, Model
from django.utils import timezone

from audit.actions import Action, action_of
from audit.actor import Actor
from audit.models import PERSONAL_NAME, Event, Outcome, Personal
from audit.target import Target

SCHEMA_VERSION = 2
REASON_LIMIT = 2_000
NAME_LIMIT = 500
LEAF_LIMIT = 64 * 1024
DEPTH_LIMIT = 16


class AuditError(ValueError):
    """A field that the log cannot hold. ``field`` names it; ``message`` says why, in words for people."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class TransactionRequired(RuntimeError):
    """``record`` was called outside a transaction."""


def record(
    *,
    actor: Actor,
    action: str,
    target: Target,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    reason: str = "",
    outcome: str = "done",
    detail: Mapping[str, Any] | None = None,
) -> Event:
    """Record ``action`` inside the transaction that performs it.

    ``before``, ``after`` and ``detail`` are JSON: text, whole numbers up to 2⁵³, lists, objects. ``outcome`` is intent,
    done, failed or denied. Raises AuditError (a field is too long or not JSON, or one that the action's sentence speaks
    of is missing), UnknownAction, and TransactionRequired outside ``transaction.atomic``: an event that commits alone
    could outlive an action that does not.
    """
    if not connection.in_atomic_block:
        raise TransactionRequired(f"{action} is recorded inside the transaction that performs it")
    event, personal = _event(actor, action, target, before, after, reason, outcome, detail)
    _store(event, personal)
    return event


def record_denied(*, actor: Actor, action: str, target: Target, permission: str, reason: str = "") -> Event:
    """Record that ``actor`` lacked ``permission`` for ``action``, after the refused action has rolled back.

    Whoever calls it inside a larger transaction lets that one commit, as the API's idempotent writes do.
    """
    with transaction.atomic():
        detail = {"permission": permission}
        return record(actor=actor, action=action, target=target, reason=reason, outcome="denied", detail=detail)


def commitment(salt: bytes, value: str) -> str:
    """What a leaf holds in place of a personal value: hex SHA-256 over the salt's 32 bytes and the value's UTF-8.

    Without the salt nobody can try values until one fits, so erasing both leaves nothing of the value.
    """
    return hashlib.sha256(salt + value.encode()).hexdigest()


def leaf_bytes(event: Event, personal: Mapping[str, str]) -> bytes:
    """The RFC 8785 bytes of an event's fields; what its leaf hash covers. Raises AuditError when they are not JSON.

    ``personal`` maps the names of the personal fields that have a value to their commitments.
    """
    fields = {"_type": f"poolwarden.event/{event.schema_version}", "personal": dict(personal)}
    try:
        leaf = rfc8785.dumps(fields | columns_of(event))
    except rfc8785.CanonicalizationError as error:
        raise AuditError("event", f"Not everything in it is JSON: {error}") from error
    if len(leaf) > LEAF_LIMIT:
        raise AuditError("event", f"It takes {len(leaf):,} bytes; the log holds {LEAF_LIMIT:,} for one event.")
    return leaf


def columns_of(event: Event) -> dict[str, Any]:
    """What the columns repeat of the leaf, as the leaf has it."""
    return {
        "id": str(event.uid),
        "at": rfc3339(event.at),
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "name": event.actor_name},
        "action": event.action,
        "target": {"kind": event.target_kind, "id": event.target_id, "name": event.target_name, "pool": event.pool},
        "outcome": event.outcome,
        "reason": event.reason,
        "request_id": event.request_id,
        "before": event.before,
        "after": event.after,
        "detail": event.detail,
    }


def rfc3339(at: datetime) -> str:
    """UTC with microseconds: ``2026-11-22T02:51:07.000000Z``."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _store(event: Event, personal: Sequence[Personal]) -> None:
    """Insert the event, which a trigger marks as pending, and its personal values.

    In plain SQL, for every action waits for it, and saying the same with the ORM takes three times as long (bench/).
    """
    with connection.cursor() as cursor:
        cursor.execute(_insert(Event, 1) + " RETURNING id", _values(event))
        event.pk = cursor.fetchone()[0]
        event._state.adding = False
        for value in personal:
            value.event_id = event.pk
        if personal:
            cursor.execute(_insert(Personal, len(personal)), [cell for row in personal for cell in _values(row)])


@cache
def _insert(model: type[Model], rows: int) -> str:
    columns = ", ".join(f'"{field.column}"' for field in _filled(model))
    places = ", ".join(["%s"] * len(_filled(model)))
    return f'INSERT INTO "{model._meta.db_table}" ({columns}) VALUES ' + ", ".join([f"({places})"] * rows)  # noqa: S608


@cache
def _filled(model: type[Model]) -> "list[Field[Any, Any]]":
    """The columns that we fill: all but the number, which the database draws."""
    return [field for field in model._meta.concrete_fields if field.name != "id"]


def _values(row: Model) -> list[Any]:
    return [field.get_db_prep_save(getattr(row, field.attname), connection) for field in _filled(type(row))]


def _event(
    actor: Actor,
    action: str,
    target: Target,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
    reason: str,
    outcome: str,
    detail: Mapping[str, Any] | None,
) -> tuple[Event, list[Personal]]:
    registered = action_of(action)
    event = Event(
        uid=uuid.uuid4(),
        schema_version=SCHEMA_VERSION,
        at=timezone.now(),
        actor_kind=actor.kind,
        actor_id=_text("actor", actor.id),
        actor_name=_text("actor", actor.name),
        action=registered.id,
        target_kind=_text("target", target.kind),
        target_id=_text("target", target.id),
        target_name=PERSONAL_NAME if registered.personal_target else _text("target", target.name),
        pool=_text("pool", target.pool),
        outcome=Outcome(outcome).value,
        reason=_text("reason", reason.strip(), limit=REASON_LIMIT),
        request_id=_text("request_id", actor.request_id),
        before=_json("before", before),
        after=_json("after", after),
        detail=_json("detail", detail or {}),
    )
    _require_fields(registered, event)
    values = {"address": actor.address, "session": actor.session}
    if registered.personal_target:
        values["target"] = target.name
    personal = [
        Personal(field=field, salt=secrets.token_bytes(32), value=_text(field, value))
        for field, value in values.items()
        if value
    ]
    event.leaf = leaf_bytes(event, {row.field: commitment(bytes(row.salt), row.value) for row in personal})
    return event, personal


def _require_fields(action: Action, event: Event) -> None:
    """Raise AuditError unless the event holds all that its sentence speaks of."""
    parts = [part for part in (event.detail, event.after, event.before) if part]
    for name in sorted(action.fields(event.outcome)):
        if all(part.get(name) is None for part in parts):
            raise AuditError("detail", f"{action.id} ({event.outcome}) needs {name}: its sentence speaks of it.")


def _text(field: str, value: str, *, limit: int = NAME_LIMIT) -> str:
    if len(value) > limit:
        raise AuditError(field, f"Use at most {limit:,} characters; this has {len(value):,}.")
    if "\x00" in value:
        raise AuditError(field, "Leave out the NUL character: PostgreSQL cannot store it.")
    return value


def _json(field: str, value: Any, depth: int = 0) -> Any:
    """``value`` as plain lists and objects, so that what the column returns makes the same bytes again."""
    if depth > DEPTH_LIMIT:
        raise AuditError(field, f"It is nested more than {DEPTH_LIMIT} deep.")
    if isinstance(value, Mapping):
        return {_text(field, str(key)): _json(field, item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(field, item, depth + 1) for item in value]
    if isinstance(value, str):
        return _text(field, value, limit=LEAF_LIMIT)
    if value is None or isinstance(value, bool | int):
        return value
    raise AuditError(
        field, f"A {type(value).__name__} has no place in an event: use text, whole numbers, lists, objects."
    )
