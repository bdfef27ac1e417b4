"""An event as plain values, as the API and the exports give it."""

from typing import Any

from audit.models import Event
from audit.selectors import personal_values
from audit.sentences import sentence

_SAME = ("at", "action", "outcome", "reason", "request_id", "before", "after", "detail")


def plain(event: Event) -> dict[str, Any]:
    """All of an integrated event but its leaf. ``at`` is a datetime."""
    personal = personal_values(event)
    target = {"kind": event.target_kind, "id": event.target_id, "name": event.shown_target, "pool": event.pool}
    return {name: getattr(event, name) for name in _SAME} | {
        "index": event.placed.index,
        "id": event.uid,
        "actor": {"kind": event.actor_kind, "id": event.actor_id, "name": event.actor_name},
        "target": target,
        "sentence": sentence(event),
        "address": personal.get("address", ""),
        "session": personal.get("session", ""),
        "leaf_hash": bytes(event.placed.hash).hex(),
    }
