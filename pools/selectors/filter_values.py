"""Values of a filter of dead letters as its fields have them, with commas between. No queries."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from pools.arguments import UNSAID, VALUE_LIMIT, is_path
from pools.models import DeadLetterState
from pools.selectors.group_life import SHOWN_STATES

NONE = "none"  # no exception, no host, no config version, no owner
ANY = "any"
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)
SPAN = re.compile(r"([0-9]{1,4})(m|h|d)")
NUMBER = re.compile(r"[0-9]{1,18}")
VERSION = re.compile(r"v?([0-9]{1,9})")
UNITS = {"m": "minutes", "h": "hours", "d": "days"}


class FilterError(ValueError):
    """A filter that cannot be read, or not be answered. ``field`` names the parameter, or is ``filter`` for the line;
    there ``start`` and ``end`` are the characters that it is about, as they are in ``line``, if that is given."""

    def __init__(self, field: str, message: str, start: int = 0, end: int = 0, line: str = "") -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message
        self.start = start
        self.end = end
        self.line = line


@dataclass(frozen=True)
class Values:
    """At least one of ``wanted``, if there are any, and none of ``unwanted``."""

    wanted: tuple[str, ...] = ()
    unwanted: tuple[str, ...] = ()

    def __str__(self) -> str:
        """As a field has them."""
        return ",".join([*map(quoted, self.wanted), *("-" + quoted(value) for value in self.unwanted)])


def read_values(field: str, text: str) -> Values:
    """The values of a field, each once and in its canonical spelling. Raises ``FilterError``."""
    wanted: list[str] = []
    unwanted: list[str] = []
    at = 0
    while text and at <= len(text):
        leaves_out = text.startswith("-", at)
        value, at = item(field, text, at + leaves_out, lambda character: character == ",")
        (unwanted if leaves_out else wanted).append(_checked(field, value.strip()))
        at += 1
    return Values(tuple(dict.fromkeys(wanted)), tuple(dict.fromkeys(unwanted)))


def read_arguments(text: str) -> dict[str, Values]:
    """What a filter asks of arguments, by path. Raises ``FilterError``."""
    values = read_values("args", text)
    found: dict[str, tuple[list[str], list[str]]] = {}
    for unwanted, some in enumerate((values.wanted, values.unwanted)):
        for path, _, value in (each.partition("=") for each in some):
            found.setdefault(path, ([], []))[unwanted].append(value)
    return {path: Values(tuple(wanted), tuple(unwanted)) for path, (wanted, unwanted) in found.items()}


def canonical(field: str, text: str) -> str:
    """A field's text in its one spelling. Raises ``FilterError``."""
    if field == "args":
        return arguments_text(text)
    if field in ("since", "until") and text:
        moment(field, text)
    elif field == "expires" and text:
        expiry(text)
    elif field not in ("q", "since", "until", "expires"):
        return str(read_values(field, text))
    return text


def quoted(value: str) -> str:
    """In quotes where it could be read as something else without them."""
    if value and not value.startswith("-") and not any(c in ',"' or c.isspace() for c in value):
        return value
    return in_quotes(value)


def moment(field: str, text: str, *, ahead: bool = False) -> datetime:
    """RFC 3339 in UTC, or so long ago: ``15m``, ``24h``, ``7d``; ``ahead``: from now. Raises ``FilterError``."""
    if span := SPAN.fullmatch(text):
        distance = timedelta(**{UNITS[span[2]]: int(span[1])})
        return timezone.now() + (distance if ahead else -distance)
    try:
        value = parse_datetime(text)
        if value is not None:
            return (value if timezone.is_aware(value) else timezone.make_aware(value)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise FilterError(field, f"expected a time such as 2026-11-22T02:31:00Z or 15m, 24h, 7d, not {text!r}")


def expiry(text: str) -> tuple[str, datetime]:
    """``<`` or ``>``, and the time. Raises ``FilterError``."""
    if text[:1] not in ("<", ">"):
        raise FilterError("expires", f"expected < or > and a time, as in <24h, not {text!r}")
    return text[0], moment("expires", text[1:], ahead=True)


def item(field: str, text: str, at: int, ends: Callable[[str], bool]) -> tuple[str, int]:
    """The value that begins at ``at``, and where it ends. Raises ``FilterError``."""
    if text.startswith('"', at):
        match = QUOTED.match(text, at)
        if match is None:
            raise FilterError(field, 'the quote that begins here does not end: expected another "', at, len(text))
        if match.end() < len(text) and not ends(text[match.end()]):
            expected = 'expected a comma or a blank after the closing quote; inside quotes a quote is written \\"'
            raise FilterError(field, expected, at, match.end() + 1)
        return ESCAPED.sub(r"\1", match[1]), match.end()
    end = next((place for place in range(at, len(text)) if ends(text[place])), len(text))
    return text[at:end], end


def in_quotes(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def arguments_text(text: str) -> str:
    """With the values of each path together, as the line has them."""
    found = read_arguments(text).items()
    wanted = tuple(f"{path}={value}" for path, values in found for value in values.wanted)
    return str(Values(wanted, tuple(f"{path}={value}" for path, values in found for value in values.unwanted)))


def _checked(field: str, value: str) -> str:
    """One value in its canonical spelling. Raises ``FilterError``."""
    if not value:
        raise FilterError(field, "expected a value before and after each comma")
    if field == "group" and not NUMBER.fullmatch(value):
        raise FilterError(field, f"expected numbers of failure groups, not {value!r}")
    if field == "version" and value != NONE:
        if not (number := VERSION.fullmatch(value)):
            raise FilterError(field, f"expected a config version such as v41, or none, not {value!r}")
        return f"v{int(number[1])}"
    if field == "args":
        return _checked_argument(value)
    if field == "restorable" and value != "yes":
        raise FilterError(field, f"expected yes, not {value!r}")
    vocabulary = {"state": (*DeadLetterState.values, ANY), "group_state": SHOWN_STATES}.get(field)
    if vocabulary and value not in vocabulary:
        raise FilterError(field, f"expected {_listed(vocabulary)}, several with commas between, not {value!r}")
    return value


def _checked_argument(text: str) -> str:
    path, is_there, value = text.partition("=")
    value = value.strip()
    if text == UNSAID:
        raise FilterError("args", "what it asked of arguments is not kept; write it again")
    if not is_there or not is_path(path):
        raise FilterError("args", f"expected the path of an argument and its value, as user.id=42, not {text!r}")
    if not value or len(value) > VALUE_LIMIT:
        raise FilterError("args", f"expected a value of 1 to {VALUE_LIMIT} characters for {path}")
    return f"{path}={value}"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"
