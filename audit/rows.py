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
from audit.models import Event, Export, ExportKind, ExportState, Outcome, Personal
from audit.proofs import Inclusion
from audit.recorder import commitment, leaf_bytes
from audit.selectors import Filters
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

    @property
    def altered(self) -> bool:
        """Do the columns, which this line shows, tell another story than the leaf?"""
        return bool(differences(self.event))


@dataclass(frozen=True)
class Day:
    """The events of one UTC day, newest first."""

    label: str
    rows: list[Row]


@dataclass(frozen=True)
class PersonalField:
    """A personal field of an event; ``value`` is None once it is erased. ``false``: it is not what the leaf commits
    to. ``kept``: it stands in the leaf itself, as in events of the first schema, and cannot be erased."""

    name: str
    value: str | None
    false: bool = False
    kept: bool = False


@dataclass(frozen=True)
class ExportRow:
    """``kept``: its file can be fetched."""

    export: Export
    kept: bool = False

    @property
    def file_name(self) -> str:
        ending = {ExportKind.BUNDLE: "bundle", ExportKind.CSV: "csv", ExportKind.JSONL: "jsonl"}
        return f"poolwarden-audit-{self.export.pk}.{ending[ExportKind(self.export.kind)]}"

    @property
    def tone(self) -> str:
        tones = {ExportState.RUNNING: "run", ExportState.DONE: "ok", ExportState.FAILED: "bad"}
        return tones.get(ExportState(self.export.state), "")

    @property
    def filters(self) -> str:
        """What it holds, in words."""
        given = Filters.from_dict(self.export.filters).as_dict()
        return ", ".join(f"{name} {value}" for name, value in given.items()) or "the whole log"

    @property
    def personal(self) -> bool:
        return bool(self.export.filters.get("personal"))

    @property
    def progress(self) -> str:
        return f"{wording.count(self.export.written)} of {wording.count(self.export.total)} events are written"


@dataclass(frozen=True)
class Dot:
    """A node of the sketch. ``x`` and ``y`` are its place, ``side`` where its label stands: start, middle or end."""

    x: int
    y: int
    label: str
    side: str
    on_path: bool

    @property
    def label_x(self) -> int:
        return self.x - 10 if self.side == "end" else self.x + 12

    @property
    def label_y(self) -> int:
        return self.y + 4


@dataclass(frozen=True)
class Sketch:
    """The first steps of a proof below the root, to be drawn. A line is (x1, y1, x2, y2, on the path)."""

    dots: list[Dot]
    lines: list[tuple[int, int, int, int, bool]]
    shown: int
    steps: int

    @property
    def leaf_x(self) -> int:
        return self.dots[-1].x

    @property
    def leaf_y(self) -> int:
        return self.dots[-1].y + 22

    @property
    def height(self) -> int:
        return self.leaf_y + 8


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


def differences(event: Event) -> list[str]:
    """The fields that the database's columns tell otherwise than the leaf, which is the evidence."""
    try:
        leaf = json.loads(bytes(event.leaf))
        told = json.loads(leaf_bytes(event, leaf.get("personal", {})))
    except (ValueError, AttributeError):
        return ["everything"]
    return [name for name in told if name in leaf and told[name] != leaf[name]]


def personal_fields(event: Event) -> list[PersonalField]:
    """What is personal in the event, also what was erased."""
    try:
        leaf = json.loads(bytes(event.leaf))
    except ValueError:
        return []
    if event.schema_version == 1:
        return [PersonalField(name, leaf[name], kept=True) for name in ("address", "session") if leaf.get(name)]
    rows = {row.field: row for row in event.personal.all()}
    return [_personal_field(name, committed, rows.get(name)) for name, committed in leaf["personal"].items()]


def sketch(proof: Inclusion) -> Sketch:
    """The way from the root down to the leaf, at most three steps of it."""
    steps = proof.path[::-1][:3]
    x, y = 131, 20
    dots, lines = [Dot(x, y, "root", "start", True)], []
    for number, (side, _) in enumerate(steps):
        reach = (34, 24, 20)[number]  # so that a label fits beside the outermost dot
        ahead, aside = (x + reach, x - reach) if side == "left" else (x - reach, x + reach)
        lines += [(x, y, aside, y + 36, False), (x, y, ahead, y + 36, True)]
        x, y = ahead, y + 36
        dots += [Dot(aside, y, "sibling", "end" if aside < ahead else "start", False), Dot(x, y, "", "", True)]
    return Sketch(dots, lines, len(steps), len(proof.path))


def _personal_field(name: str, committed: str, row: Personal | None) -> PersonalField:
    if row is None:
        return PersonalField(name, None)
    return PersonalField(name, row.value, false=commitment(bytes(row.salt), row.value) != committed)


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
