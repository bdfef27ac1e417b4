"""What could stand at the caret of the filter bar: keys, then values that the actor may see, most frequent first."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import CharField, Count, QuerySet, Sum, Value
from django.db.models.functions import Cast, Concat

from audit.actor import Actor
from controlplane.wording import count
from pools.models import DeadLetter, DeadLetterState, FailureGroup
from pools.permissions import visible_pools
from pools.selectors.arguments import searchable_paths
from pools.selectors.dead_letters import ME, DeadLetterFilter, newest_keys
from pools.selectors.filter_text import KEY, KEYS, LINE_LIMIT
from pools.selectors.filter_values import ANY, NONE, quoted
from pools.selectors.group_life import SHOWN_STATES

SHOWN = 20
FEW = 4  # values of one key, while no key is typed
SAMPLE = 5000  # the dead letters that failed last, in which queues, hosts and versions are counted
FIXED = {
    "age": ("<15m", "<1h", "<6h", "<24h", "<7d", ">1h", ">24h", ">7d"),
    "expires": ("<1h", "<24h", "<7d"),
    "is": SHOWN_STATES,
    "owner": (ME, NONE),
    "state": (*DeadLetterState.values, ANY),
}
BY_GROUP = {"pool": "pool__slug", "task": "func", "error": "exc_type", "owner": "owner__username"}
BY_LETTER = {"queue": "queue", "host": "host", "version": "config_number"}
WITHOUT_KEY = ("pool", "error", "task", "queue", "host")


@dataclass(frozen=True)
class Suggestion:
    """``text`` is what would stand there, ``note`` what it is; ``line`` the whole line then, with the ``caret`` after
    it."""

    text: str
    note: str
    line: str
    caret: int


@dataclass(frozen=True)
class Place:
    """The word around the caret: a ``key`` that is known, or "", and what of the value or word is ``typed`` so far.

    A suggestion goes between ``start`` and ``end``; ``sign`` is the ``-`` before a word without a key.
    """

    key: str
    sign: str
    typed: str
    start: int
    end: int


def place_of(line: str, caret: int) -> Place:
    word = value = 0
    inside = False
    for at, character in enumerate(line[:caret]):
        if character == '"':
            inside = not inside
        elif not inside and (character == "," or character.isspace()):
            value = at + 1
            word = word if character == "," else at + 1
    end = next((at for at in range(caret, len(line)) if line[at] == "," or line[at].isspace()), len(line))
    key = KEY.match(line, word, caret)
    if key and key[2].lower() in KEYS:
        begin = max(value, key.end())
        return Place(key[2].lower(), "", line[begin:caret].lstrip('"'), begin, end)
    sign = "-" if line.startswith("-", word) and word < caret else ""
    return Place("", sign, line[word:caret].removeprefix("-").lstrip('"'), word, end)


def suggestions(actor: Actor, line: str, caret: int) -> list[Suggestion]:
    """At most ``SHOWN``."""
    line = line[:LINE_LIMIT]
    place = place_of(line, min(max(caret, 0), len(line)))
    if place.key:
        found = [(quoted(text), note) for text, note in _values(actor, place.key, place.typed, SHOWN)]
        return [_put(line, place, text, note) for text, note in found[:SHOWN]]
    typed = place.typed.lower()
    named = {f"args.{path}": KEYS["args"].takes for path in searchable_paths(actor)}
    named = {key: known.takes for key, known in KEYS.items() if key != "args"} | named
    keys = [(f"{place.sign}{key}:", takes) for key, takes in named.items() if key.lower().startswith(typed)]
    shown = [_put(line, place, text, note, ends=False) for text, note in keys]
    for key in WITHOUT_KEY if typed else ():
        values = _values(actor, key, place.typed, FEW)
        shown += [_put(line, place, f"{place.sign}{key}:{quoted(text)}", note) for text, note in values]
    return shown[:SHOWN]


def _put(line: str, place: Place, text: str, note: str, *, ends: bool = True) -> Suggestion:
    """``ends``: nothing more belongs to this word, so the next one may begin."""
    rest = line[place.end :]
    before = line[: place.start] + text + (" " if ends and not rest else "")
    return Suggestion(text, note, before + rest, len(before))


def _values(actor: Actor, key: str, typed: str, limit: int) -> Iterable[tuple[str, str]]:
    """Values of a key that hold what is typed, each with a note."""
    fixed = [(text, "") for text in FIXED.get(key, ()) if typed.lower() in text]
    if key == "group":
        return _groups(actor, typed, limit)
    if key in BY_GROUP:
        counts = _by_group(actor, BY_GROUP[key], typed, limit)
    elif key in BY_LETTER:
        counts = _by_letter(actor, BY_LETTER[key], typed, limit)
    else:
        return fixed
    return fixed + [(text, count(number)) for text, number in counts]


def _by_group(actor: Actor, column: str, typed: str, limit: int) -> list[tuple[str, int]]:
    found = _open_groups(actor).filter(**{f"{column}__icontains": typed}).exclude(**{column: ""})
    rows = list(found.values_list(column).annotate(n=Sum("open_count")).order_by("-n", column)[:limit])
    if column != "exc_type":
        return rows
    names: Counter[str] = Counter()
    for name, number in rows:
        names[name if "." in typed else name.rpartition(".")[2]] += number
    return [(name, number) for name, number in names.most_common() if typed.lower() in name.lower()]


def _by_letter(actor: Actor, column: str, typed: str, limit: int) -> list[tuple[str, int]]:
    sample = [pk for _, pk in newest_keys(actor, DeadLetterFilter(), SAMPLE)]
    found = DeadLetter.objects.filter(pk__among=sample).exclude(**{column: None if column == "config_number" else ""})
    text = Concat(Value("v"), Cast(column, CharField())) if column == "config_number" else Cast(column, CharField())
    named = found.annotate(text=text).filter(text__icontains=typed)
    return list(named.values_list("text").annotate(n=Count("pk")).order_by("-n", "text")[:limit])


def _groups(actor: Actor, typed: str, limit: int) -> list[tuple[str, str]]:
    named = _open_groups(actor).annotate(text=Cast("pk", CharField()))
    found = named.filter(text__startswith=typed) | named.filter(title__icontains=typed)
    rows = found.order_by("-open_count", "-pk").values_list("text", "title", "open_count")[:limit]
    return [(text, f"{count(number)}: {title[:80]}") for text, title, number in rows]


def _open_groups(actor: Actor) -> QuerySet[FailureGroup]:
    return FailureGroup.objects.filter(pool__in=visible_pools(actor), open_count__gt=0).order_by()
