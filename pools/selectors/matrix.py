"""Exceptions by age: how many dead letters failed with which exception how long ago. Each number is a filter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log
from operator import add, sub
from urllib.parse import urlencode

from audit.actor import Actor
from pools.models import FailureGroup
from pools.selectors.dead_letters import DeadLetterFilter, counts_since
from pools.selectors.filter_values import NONE, Values, moment, read_values

SHOWN = 20
HEATS = (0.4, 0.6, 0.7)  # shares of the largest number's logarithm from which a cell is hotter


@dataclass(frozen=True)
class Age:
    """Failed ``since`` so long ago and not ``until`` then; "" is no bound."""

    label: str
    since: str
    until: str


AGES = (
    Age("under 15 min", "15m", ""),
    Age("15–60 min", "1h", "15m"),  # noqa: RUF001 - a range
    Age("1–6 h", "6h", "1h"),  # noqa: RUF001
    Age("6–24 h", "24h", "6h"),  # noqa: RUF001
    Age("1–7 d", "7d", "24h"),  # noqa: RUF001
    Age("older", "", "7d"),
    Age("all", "", ""),
)


@dataclass(frozen=True)
class Cell:
    """How many, and the filter that shows exactly those. ``heat`` from 1 to 4, 0 for none and for sums."""

    count: int
    filter: DeadLetterFilter
    age: Age
    heat: int = 0

    @property
    def query(self) -> str:
        return urlencode(self.filter.as_query())


@dataclass(frozen=True)
class Row:
    """One exception by its name without module, or several; a cell for each of ``AGES``."""

    label: str
    cells: list[Cell]


def counts_by_age(actor: Actor, wanted: DeadLetterFilter) -> dict[int, list[int]]:
    """How many dead letters match, and how many of them are younger than each of the ages, by their failure group; only
    groups with at least one. Ages that the filter rules out are left out."""
    return counts_since(actor, wanted, [moment("since", since) for since in _narrower(wanted)])


def matrix(wanted: DeadLetterFilter, counts: Mapping[int, Sequence[int]]) -> list[Row]:
    """The most frequent exceptions, the largest first, then all others in one row, then their sums.

    ``counts``: of ``counts_by_age`` for the same filter.
    """
    by_name = _by_name(wanted, counts)
    names = sorted(by_name, key=lambda name: (-by_name[name][-1], name))
    shown, others = names[:SHOWN], names[SHOWN:]
    largest = max((number for name in shown for number in by_name[name][:-1]), default=0)
    rows = [_row(_label(name), by_name[name], _only(wanted, name), largest) for name in shown]
    if others:
        sums = _sums(by_name[name] for name in others)
        rows.append(_row(f"{len(others)} others", sums, _but(wanted, shown), largest))
    return [*rows, _row("All", _sums(by_name.values()), wanted)] if rows else []


def bare(exc_type: str) -> str:
    """An exception's name without its module, as a filter takes it."""
    return exc_type.rpartition(".")[2] or exc_type or NONE


def _narrower(wanted: DeadLetterFilter) -> list[str]:
    """The ages that are shorter than the filter's own: up to a longer one there are as many as in all."""
    return [age.since for age in AGES if age.since and _aged(wanted, age.since) != wanted]


def _by_name(wanted: DeadLetterFilter, counts: Mapping[int, Sequence[int]]) -> dict[str, list[int]]:
    """Numbers by exception, one for each of ``AGES``."""
    names = {pk: bare(exc) for pk, exc in FailureGroup.objects.filter(pk__among=counts).values_list("pk", "exc_type")}
    found: dict[str, list[int]] = {}
    for pk, numbers in counts.items():
        sums = found.setdefault(names[pk], [0] * len(numbers))
        found[names[pk]] = [*map(add, sums, numbers)]
    ages = sum(bool(age.since) for age in AGES)
    up_to = {name: [*some, *[every] * (ages - len(some)), every] for name, (every, *some) in found.items()}
    return {name: [*map(sub, numbers, [0, *numbers]), numbers[-1]] for name, numbers in up_to.items()}


def _sums(rows: Iterable[Sequence[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def _row(label: str, numbers: Sequence[int], wanted: DeadLetterFilter, largest: int = 0) -> Row:
    return Row(
        label,
        [
            Cell(
                number,
                _aged(wanted, age.since, age.until),
                age,
                _heat(number, largest) if age.since or age.until else 0,
            )
            for number, age in zip(numbers, AGES, strict=True)
        ],
    )


def _heat(number: int, largest: int) -> int:
    if not number or not largest:
        return 0
    share = log(number + 1) / log(largest + 1)
    return 1 + sum(share >= step for step in HEATS)


def _label(name: str) -> str:
    return "no exception" if name == NONE else name


def _only(wanted: DeadLetterFilter, name: str) -> DeadLetterFilter:
    """Those with this exception; one that the filter names with its module keeps it."""
    errors = read_values("error", wanted.error)
    said = tuple(error for error in errors.wanted if bare(error) == name)
    return replace(wanted, error=str(Values(said or (name,), errors.unwanted)))


def _but(wanted: DeadLetterFilter, names: Sequence[str]) -> DeadLetterFilter:
    errors = read_values("error", wanted.error)
    return replace(wanted, error=str(Values(errors.wanted, (*errors.unwanted, *names))))


def _aged(wanted: DeadLetterFilter, since: str, until: str = "") -> DeadLetterFilter:
    """What of the filter has this age: of two bounds the tighter one."""
    since = max(filter(None, [wanted.since, since]), key=lambda text: moment("since", text), default="")
    until = min(filter(None, [wanted.until, until]), key=lambda text: moment("until", text), default="")
    return replace(wanted, since=since, until=until)
