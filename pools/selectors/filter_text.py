r"""The filter of dead letters as one line, ``pool:payments -queue:low,bulk age:<1h timed out``, and back. No queries.

A filter is fields with text, as a query string or the API has them. A field of several values has commas between them
and ``-`` before each that is left out; a value with a comma, a blank or a quote in it, or with ``-`` before it, stands
in double quotes, inside which ``\"`` and ``\\`` are a quote and a backslash. In the line, ``-key:`` leaves values out,
and what belongs to no key is searched for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from pools.models import DeadLetterState
from pools.selectors.filter_values import (
    SPAN,
    FilterError,
    Values,
    arguments_text,
    canonical,
    in_quotes,
    item,
    quoted,
    read_arguments,
    read_values,
)
from pools.selectors.group_life import SHOWN_STATES

LINE_LIMIT = 4000  # characters
KEY = re.compile(r'(-?)([A-Za-z_]+)(?:(?<=\b(?i:args))\.([^\s:,"]*))?:(?!//)')


@dataclass(frozen=True)
class Key:
    """A key of the line, the field that it fills, and what it takes, in words and as an example."""

    field: str
    takes: str
    example: str


KEYS = {
    "pool": Key("pool", "a pool", "pool:payments"),
    "queue": Key("queue", "a queue", "-queue:low"),
    "task": Key("task", "the dotted name of a function", "task:shop.payments.capture"),
    "error": Key("error", "an exception, with or without its module, or none", "error:TimeoutError,KeyError"),
    "host": Key("host", "host of the worker, or none", "host:pay-01"),
    "version": Key("version", "config version of the worker, or none", "version:v41"),
    "age": Key("", "failed less or longer ago than so many m, h or d", "age:<1h"),
    "since": Key("since", "failed then or later, UTC", "since:2026-11-22T02:31Z"),
    "until": Key("until", "failed before then, UTC", "until:2026-11-22T03:00Z"),
    "expires": Key("expires", "vanishes by its failure TTL within, or later than, so many m, h or d", "expires:<24h"),
    "is": Key("group_state", f"its group is {', '.join(SHOWN_STATES)}", "is:new,regressed"),
    "owner": Key("owner", "who looks after its group: a username, me or none", "owner:me"),
    "group": Key("group", "the number of a failure group", "group:17"),
    "state": Key("state", f"{', '.join(DeadLetterState.values)} or any; open unless said", "state:requeued"),
    "args": Key("args", "a value that the job was called with, under a searchable path", "args.user.id:42"),
    "restorable": Key("restorable", "yes: only what still lies in trash, quarantine or archive", "restorable:yes"),
}
MEANT = {
    "exception": "error", "type": "error", "func": "task", "function": "task", "config": "version", "worker": "host",
    "arguments": "args", "status": "is", "team": "pool", "expiry": "expires", "ttl": "expires",
}  # fmt: skip


def parse_line(line: str) -> dict[str, str]:
    """The fields of a line, in canonical spelling. Raises ``FilterError`` with the place of what cannot be read."""
    if len(line) > LINE_LIMIT or "\x00" in line:
        raise FilterError("filter", f"at most {LINE_LIMIT:,} characters, none of them NUL")
    fields: dict[str, str] = {}
    words: list[str] = []
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
        elif key := KEY.match(line, at):
            at = _term(line, key, fields)
        else:
            if _leaves_out_a_word(line[at:]):
                message = "only a key can be left out, as in -queue:low; text with - before it needs quotes"
                raise FilterError("filter", message, at, _word_end(line, at))
            word, at = item("filter", line, at, str.isspace)
            words.append(word)
    searched = " ".join(filter(None, words)).strip()
    return fields | ({"q": searched} if searched else {})


def line_of(fields: Mapping[str, str]) -> str:
    """The line that says the same as these fields, which are in canonical spelling."""
    terms = []
    for key, known in KEYS.items():
        text = fields.get(known.field, "")
        if key in ("since", "until") and SPAN.fullmatch(text):
            terms.append(f"age:{'<' if key == 'since' else '>'}{text}")
        elif key in ("since", "until", "expires"):
            terms += [f"{key}:{quoted(text)}"] if text else []
        elif key == "args":
            terms += [term for path, values in read_arguments(text).items() for term in _terms(f"{key}.{path}", values)]
        else:
            terms += _terms(key, read_values(known.field, text))
    searched = fields.get("q", "")
    if searched:
        terms.append(searched if _is_plain(searched) else in_quotes(searched))
    return " ".join(terms)


def _terms(key: str, values: Values) -> list[str]:
    said = (("", values.wanted), ("-", values.unwanted))
    return [f"{sign}{key}:{','.join(map(quoted, some))}" for sign, some in said if some]


def as_typed(params: Mapping[str, str]) -> str:
    """A line for parameters that cannot be read, for whoever wants to mend them."""
    terms = [_as_typed(key, params[known.field]) for key, known in KEYS.items() if params.get(known.field)]
    return " ".join([*terms, params.get("q", "")]).strip()


def _as_typed(key: str, text: str) -> str:
    try:
        return line_of({"args": arguments_text(text)}) if key == "args" else f"{key}:{quoted(text)}"
    except FilterError:
        return f"{key}:{quoted(text)}"


def _term(line: str, key: re.Match[str], fields: dict[str, str]) -> int:
    """Read ``key:value`` into the fields; returns where it ends. Raises ``FilterError``."""
    leaves_out, name, path, begin = bool(key[1]), key[2].lower(), key[3], key.end()
    if name not in KEYS:
        raise FilterError("filter", _unknown(key[2]), key.start(), begin)
    if name == "args" and not path:
        expected = f"expected the path of an argument between args and the colon, as in {KEYS[name].example}"
        raise FilterError("filter", expected, key.start(), begin)
    at, found = begin - 1, []
    while at == begin - 1 or line.startswith(",", at):
        start = at + 1
        value, at = item("filter", line, start, lambda character: character == "," or character.isspace())
        if not value:
            expected = f"expected {KEYS[name].takes} after {line[start - 1]!r}, as in {KEYS[name].example}"
            raise FilterError("filter", expected, key.start(), max(at, begin))
        found.append(f"{path}={value}" if path else value)
    try:
        field, text = _restriction(name, found, leaves_out=leaves_out)
        if field in ("since", "until", "expires") and field in fields:
            raise FilterError(field, f"{name}: is given twice")
        joined = ",".join(filter(None, [fields.get(field), text]))
        fields[field] = canonical(field, joined)
    except FilterError as error:
        raise FilterError("filter", error.message, key.start(), at) from error
    return at


def _restriction(name: str, found: list[str], *, leaves_out: bool) -> tuple[str, str]:
    """The field and the text that a term adds to it. Raises ``FilterError``."""
    if name not in ("age", "since", "until", "expires"):
        return KEYS[name].field, str(Values((), tuple(found)) if leaves_out else Values(tuple(found)))
    if leaves_out or len(found) > 1:
        raise FilterError(name, f"{name}: takes one value, and < or > say which side: {KEYS[name].example}")
    value = found[0]
    if name != "age":
        return KEYS[name].field, value
    if value[0] not in "<>" or not SPAN.fullmatch(value[1:]):
        raise FilterError(name, f"expected < or > and a span of m, h or d, as in age:<1h or age:>24h, not {value!r}")
    return ("since" if value[0] == "<" else "until"), value[1:]


def _unknown(key: str) -> str:
    name = key.lower()
    near = MEANT.get(name) or next(iter(get_close_matches(name, KEYS, n=1, cutoff=0.6)), "")
    meant = f"did you mean {near}:?" if near else f"the keys are {', '.join(KEYS)}."
    return f"there is no key {key}:, {meant} Text with a colon in it needs quotes"


def _leaves_out_a_word(text: str) -> bool:
    return text[:1] == "-" and text[1:2].isalpha()


def _word_end(line: str, at: int) -> int:
    return next((place for place in range(at, len(line)) if line[place].isspace()), len(line))


def _is_plain(searched: str) -> bool:
    """Whether its words, without quotes, are read as themselves."""
    words = searched.split(" ")
    return searched.split() == words and not any(
        word.startswith('"') or KEY.match(word) or _leaves_out_a_word(word) for word in words
    )
