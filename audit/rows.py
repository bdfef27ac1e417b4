"""What the pages show of an event: text and tones, no markup."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, timedelta
from itertools import groupby
from typing import Any

from django.utils import timezone

from audit import sentences
from audit.actions import ACTIONS
from audit.models import Event, Outcome
from controlplane import wording

MINUS = "\N{MINUS SIGN}"
OUTCOMES: dict[str, tuple[str, str, str]] = {
    Outcome.INTENT: ("run", "Intent", "player-play"),
    Outcome.DONE: ("ok", "Done", "circle-check"),
    Outcome.FAILED: ("bad", "Failed", "alert-triangle"),
    Outcome.DENIED: ("bad", "Refused", "ban"),
}


@dataclass(frozen=True)
class Row:
    """One line of the timeline. ``index`` is None while the event is pending."""

    event: Event
    index: int | None = None

    @property
    def who(self) -> str:
        return sentences.who(self.event)

    @property
    def predicate(self) -> str:
        return sentences.predicate(self.event)

    @property
    def icon(self) -> str:
        if self.event.outcome == Outcome.DENIED:
            return "ban"
        action = ACTIONS.get(self.event.action)
        return action.icon if action else "help"

    @property
    def tone(self) -> str:
        """A class for the icon: red for what was refused, failed or broke."""
        action = ACTIONS.get(self.event.action)
        broke = action is not None and action.severity == "warning"
        return "pw-t-bad" if broke or self.event.outcome in (Outcome.DENIED, Outcome.FAILED) else ""

    @property
    def facts(self) -> str:
        """The grey line: index, pool, and the reason or what was lacking."""
        lacked = self.event.detail.get("permission")
        parts = [
            "" if self.index is None else f"{self.index:,}",
            self.event.pool,
            f"lacks {lacked}" if lacked else "",
            f"“{self.event.reason}”" if self.event.reason else "",
        ]
        return " · ".join(part for part in parts if part)


@dataclass(frozen=True)
class Day:
    """The events of one UTC day, newest first."""

    label: str
    rows: list[Row]


@dataclass(frozen=True)
class Change:
    """One field before and after, as text. ``difference`` is a signed number, or empty when there is none to give."""

    name: str
    before: str
    after: str
    difference: str

    @property
    def changed(self) -> bool:
        return self.before != self.after


def days(events: Iterable[Event]) -> list[Day]:
    """Integrated events by day."""
    rows = [Row(event, event.placed.index) for event in events]
    grouped = groupby(rows, key=lambda row: row.event.at.astimezone(UTC).date())
    return [Day(_day_label(day), list(group)) for day, group in grouped]


def changes(event: Event) -> list[Change]:
    """Every field of the event's before and after, nested ones by their path (``spec.workers``)."""
    before, after = flat(event.before or {}), flat(event.after or {})
    names = dict.fromkeys([*before, *after])
    return [
        Change(name, _text(before.get(name)), _text(after.get(name)), _difference(before.get(name), after.get(name)))
        for name in names
    ]


def facts(event: Event) -> list[tuple[str, str]]:
    """What the event's detail holds, as names and text; ``permission`` has a place of its own."""
    known = {name: value for name, value in flat(event.detail).items() if value is not None and name != "permission"}
    return [(name.replace("_", " ").capitalize(), _text(value)) for name, value in known.items()]


def flat(value: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Nested objects as one, keyed by path."""
    fields: dict[str, Any] = {}
    for name, item in value.items():
        inner = item if isinstance(item, dict) and item else None
        fields |= flat(inner, f"{path}{name}.") if inner else {f"{path}{name}": item}
    return fields


def _text(value: Any) -> str:
    if value is None:
        return wording.MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return wording.count(value)
    return json.dumps(value, ensure_ascii=False)


def _difference(before: Any, after: Any) -> str:
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in (before, after)):
        return ""
    return f"{after - before:+,}".replace("-", MINUS) if after != before else "0"


def _day_label(day: date) -> str:
    today = timezone.now().astimezone(UTC).date()
    if day == today:
        return "Today"
    return "Yesterday" if day == today - timedelta(days=1) else f"{day:%A} {day.day} {day:%B %Y}"
