"""An event as a sentence for people: "Ana Ruiz requeued 4,102 dead letters in payments"."""

from collections import ChainMap
from collections.abc import Mapping
from string import Formatter
from typing import Any, Protocol

from audit.actions import ACTIONS


class Told(Protocol):
    """What a sentence is made of; an ``Event`` has it."""

    actor_kind: Any
    actor_name: Any
    action: Any
    target_name: Any
    pool: Any
    outcome: Any
    reason: Any
    before: Any
    after: Any
    detail: Any


class _Words(Formatter):
    """Numbers with thousands separators; a format spec is the noun that a number counts."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, bool) or not isinstance(value, int):
            return str(value)
        if not format_spec:
            return f"{value:,}"
        return f"{value:,} {format_spec}{'' if value == 1 else 's'}"


def who(event: Told) -> str:
    """The actor as a sentence begins with it."""
    if event.actor_kind == "token":
        return f"{event.actor_name} (token)"
    if event.actor_kind == "agent":
        return f"Agent {event.actor_name}"
    name = str(event.actor_name)
    return name[:1].upper() + name[1:].replace("-", " ") if event.actor_kind == "system" else name


def predicate(event: Told) -> str:
    """What the actor did, or tried to do. An event that lacks one of its action's fields is told in fewer words."""
    action = ACTIONS.get(event.action)
    lead, template = {
        "intent": ("set out to ", action and action.attempt),
        "failed": ("failed to ", action and action.attempt),
        "denied": ("was refused: ", action and action.attempt),
    }.get(event.outcome, ("", action and action.done))
    try:
        return lead + _Words().vformat(template or "", (), _fields(event)) if template else _plain(event)
    except KeyError:
        return _plain(event)


def sentence(event: Told) -> str:
    """The whole sentence, as plain text: escape it like any other text that people wrote."""
    return f"{who(event)} {predicate(event)}"


def _plain(event: Told) -> str:
    return f"· {event.action} {event.target_name} ({event.outcome})"


def _fields(event: Told) -> Mapping[str, Any]:
    common = {
        "target": event.target_name,
        "pool": event.pool or event.target_name,
        "in_pool": f" in {event.pool}" if event.pool else "",
        "reason": event.reason,
    }
    own: list[dict[str, Any]] = [part for part in (event.detail, event.after, event.before) if part]
    return ChainMap(common, *own)
