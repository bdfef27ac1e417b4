"""The filter bar of dead letters: from its line to the address, and what could be typed next."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.selectors.dead_letters import DeadLetterFilter, FilterError
from pools.selectors.filter_text import KEYS, as_typed, line_of
from pools.selectors.suggestions import suggestions
from pools.selectors.triage import Narrowing


@dataclass(frozen=True)
class Term:
    """One restriction as the line has it, and the address without it."""

    text: str
    without: str


@dataclass(frozen=True)
class Link:
    """What the line would get, where that leads, and how many dead letters are there."""

    text: str
    url: str
    count: int


@require_safe
def suggest(request: HttpRequest) -> HttpResponse:
    """Options for the filter bar's list: ``filter`` is its line, ``at`` the caret."""
    line, at = request.GET.get("filter", ""), request.GET.get("at", "")
    caret = int(at) if at.isascii() and at.isdigit() and len(at) < 6 else len(line)
    found = suggestions(actor_of(request), line, caret)
    return render(request, "dead_letters/_suggestions.html", {"suggestions": found})


def address(wanted: DeadLetterFilter, show: str = "groups") -> str:
    """The inbox with this filter: the one spelling of its address. A bare one would mean the visitor's own view."""
    query = wanted.as_query()
    query = query if query and show != "jobs" else {"show": show} | query
    return f"{reverse('dead-letters')}?{urlencode(query)}"


def to_its_address(request: HttpRequest, show: str) -> HttpResponseRedirect:
    """What was typed into the bar goes into the address. Raises ``FilterError``."""
    return HttpResponseRedirect(address(DeadLetterFilter.from_line(request.GET["filter"]), show))


def bar(request: HttpRequest, wanted: DeadLetterFilter, show: str, problem: FilterError | None) -> dict[str, Any]:
    """What the bar shows: the filter as a line, or, if it cannot be read, what was typed, in three parts of which the
    middle one is at fault."""
    shown: dict[str, Any] = {"line": wanted.as_line(), "terms": terms(wanted, show), "keys": KEYS}
    shown |= {"query": urlencode(wanted.as_query()), "clear_url": address(DeadLetterFilter(), show)}
    if problem is None or problem.field == "cursor":
        return shown
    line = request.GET.get("filter") or problem.line
    if not line:
        return shown | {"line": as_typed(request.GET.dict())}
    return shown | {
        "line": line,
        "fault": (line[: problem.start], line[problem.start : problem.end], line[problem.end :]),
        "place": problem.start + 1,
    }


def narrower(wanted: DeadLetterFilter, found: Iterable[Narrowing], show: str) -> list[Link]:
    """Links to what divides the list."""
    only = [(each, wanted.narrowed(each.field, each.value)) for each in found]
    return [Link(line_of({each.field: getattr(to, each.field)}), address(to, show), each.count) for each, to in only]


def terms(wanted: DeadLetterFilter, show: str) -> list[Term]:
    query = wanted.as_query()
    empty = DeadLetterFilter()
    return [
        Term(line_of({name: value}), address(replace(wanted, **{name: getattr(empty, name)}), show))
        for name, value in query.items()
    ]
