"""An event as a sentence for people: "Ana Ruiz requeued 4,102 dead letters in payments"."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from string import Formatter
from typing import Any, Protocol

from audit.actions import ACTIONS


class Told(Protocol):
    """What a sentence is made of; an ``Event`` has it."""

    actor_kind: Any
    actor_name: Any
    action: Any
    pool: Any
    outcome: Any
    reason: Any
    before: Any
    after: Any
    detail: Any

    @property
    def shown_target(self) -> str: ...


class _Words(Formatter):
    """Numbers with thousands separators; a format spec is the noun that a number counts. A field that the event lacks
    is an ellipsis: ``record`` refuses such events, but one of another version may lack what this one speaks of."""

    def get_value(self, key: int | str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs.get(str(key))

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return f"… {format_spec}s" if format_spec else "…"
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
    """What the actor did, or tried to do."""
    action = ACTIONS.get(event.action)
    if action is None:  # recorded by a later version than this one
        return f"· {event.action} {event.shown_target} ({event.outcome})"
    lead = {"intent": "set out to ", "failed": "failed to ", "denied": "was refused: "}.get(event.outcome, "")
    return lead + _Words().vformat(action.template(event.outcome), (), _fields(event))


def sentence(event: Told) -> str:
    """The whole sentence, as plain text: escape it like any other text that people wrote."""
    return f"{who(event)} {predicate(event)}"


def _fields(event: Told) -> Mapping[str, Any]:
    common = {
        "target": event.shown_target,
        "pool": event.pool or event.shown_target,
        "in_pool": f" in {event.pool}" if event.pool else "",
        "reason": event.reason,
    }
    own: list[dict[str, Any]] = [part for part in (event.detail, event.after, event.before) if part]
    return ChainMap(common, *own)
