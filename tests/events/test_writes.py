"""Each request that changes something leaves exactly the right events; each that does not, none."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from audit.models import Event
from audit.selectors import personal_values
from controlplane.api import api
from tests.api.calling import BASE, Caller, events
from tests.events.world import World
from tests.events.writes import API, PAGES, Write, arguments
from tests.support.cast import actor, signed_in

# What stands in an address, by the name of its converter: something that is there in every scene.
SOMEWHERE: dict[str, Any] = {
    "slug": "payments",
    "number": 1,
    "name": "gateway-key",
    "index": 0,
    "job_id": "job-1",
    "uid": "00000000-0000-4000-8000-000000000000",
}


def routes() -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and arguments of every page's route."""

    def walk(patterns: Any, prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        for pattern in patterns:
            if isinstance(pattern, URLResolver) and pattern.namespace != "api":
                yield from walk(pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else prefix)
            elif isinstance(pattern, URLPattern):
                assert pattern.name, pattern
                yield prefix + pattern.name, dict.fromkeys(pattern.pattern.converters)

    yield from walk(get_resolver().url_patterns)


def address(name: str, names: dict[str, Any], world: World) -> str:
    row = world.filter if name.startswith("audit:") else world.frozen
    found = SOMEWHERE | {"pk": world.group.pk if name == "failure-group" else row.pk}
    return reverse(name, kwargs={part: found[part] for part in names})


def person(world: World, write: Write) -> Client:
    return signed_in(world.person(write.who)) if write.who else Client()


def since(before: int) -> list[Event]:
    return list(Event.objects.filter(pk__gt=before).order_by("pk"))


def newest() -> int:
    return Event.objects.latest("pk").pk


def test_every_route_that_takes_a_post_is_in_the_table(world: World) -> None:
    takes = set()
    for name, names in routes():
        with transaction.atomic():
            client = signed_in(world.cast.ada)
            client.raise_request_exception = False
            if client.post(address(name, names, world), {}).status_code != 405:
                takes.add(name)
            transaction.set_rollback(True)
    assert takes == PAGES.keys()


def test_every_write_of_the_api_is_in_the_table() -> None:
    found = {
        f"{method.upper()} {path.removeprefix(BASE)}"
        for path, methods in api.document["paths"].items()
        for method in methods
        if method != "get"
    }
    assert found == API.keys()


PAGE_WRITES = [
    pytest.param(name, write, id=f"{name}-{n}") for name, all_ in PAGES.items() for n, write in enumerate(all_)
]
API_WRITES = [pytest.param(name, write, id=f"{name}-{n}") for name, all_ in API.items() for n, write in enumerate(all_)]


@pytest.mark.parametrize(("name", "write"), PAGE_WRITES)
def test_a_page_leaves_exactly_its_events(world: World, name: str, write: Write) -> None:
    client, before = person(world, write), newest()
    response = client.post(reverse(name, kwargs=arguments(write, world)), write.body(world))
    assert response.status_code == write.status, response.content.decode()
    found = since(before)
    assert [(event.action, event.outcome) for event in found] == list(write.events)
    kind, by = write.by
    for event in found:
        assert (event.actor_kind, event.actor_name) == (kind, by or write.who)
        assert event.request_id == response["X-Request-ID"]
        assert personal_values(event)["address"] == "127.0.0.1"
        assert ("session" in personal_values(event)) == (kind == "user")
        assert event.reason == write.body(world).get("reason", event.reason)


@pytest.mark.parametrize(("name", "write"), API_WRITES)
def test_the_api_leaves_exactly_the_events_of_the_operation(world: World, name: str, write: Write) -> None:
    caller = Caller(world.person(write.who))
    path = name.partition(" ")[2].format(**arguments(write, world))
    assert write.same is not None

    def send() -> None:
        response = caller.post(path, write.body(world))
        assert response.status_code == write.status, response.content

    by_page = taken_back(lambda: write.same and write.same(actor(world.person(write.who)), world))
    by_token = taken_back(send)
    assert [(event["action"], event["outcome"]) for event in by_token] == list(write.events)
    assert by_token == by_page


def taken_back(act: Callable[[], Any]) -> list[dict[str, Any]]:
    """What ``act`` records; all that it did is undone."""
    before = Event.objects.count()
    with transaction.atomic():
        act()
        found = events(Event.objects.count() - before)
        transaction.set_rollback(True)
    return found


def test_an_event_says_that_it_was_by_token(world: World) -> None:
    caller = Caller(world.cast.bob)
    response = caller.post("pools/payments/pause", {"reason": "The gateway is down"})
    event = Event.objects.latest("pk")
    assert (event.actor_kind, event.actor_name, event.request_id) == ("token", "bob", response["X-Request-ID"])
    assert personal_values(event) == {"address": "127.0.0.1"}


@pytest.mark.parametrize("who", ["ada", "otto", "vera", "charlie", ""])
def test_looking_at_pages_records_nothing(world: World, who: str) -> None:
    client = signed_in(world.person(who)) if who else Client()
    before, answered = newest(), 0
    for name, names in routes():
        response = client.get(address(name, names, world))
        answered += response.status_code == 200
    assert answered >= (8 if who else 2) and since(before) == []


def test_reading_the_api_records_nothing_but_the_token(world: World) -> None:
    caller, before = Caller(world.cast.ada), newest()
    values = SOMEWHERE | {"id": world.frozen.pk}
    for path, methods in api.document["paths"].items():
        if "get" in methods:
            query = {"from": 0, "to": 1} if path.endswith("consistency") else {}
            caller.get(path.removeprefix(BASE).format(**values), **query)
    assert since(before) == []


def test_an_auditor_only_reads(world: World) -> None:
    """By construction: what an auditor may write is their own; all else is refused, and the refusal recorded."""
    client, caller = signed_in(world.cast.otto), Caller(world.cast.otto)
    for name, writes in PAGES.items():
        for write in writes:
            if write.events and write.who and not write.own:
                before = newest()
                response = client.post(reverse(name, kwargs=arguments(write, world)), write.body(world))
                assert response.status_code == 403 and refused_and_recorded(before, write), name
    for name, writes in API.items():
        for write in writes:
            if write.own:
                continue
            before = newest()
            response = caller.post(name.partition(" ")[2].format(**arguments(write, world)), write.body(world))
            assert response.status_code == 403 and refused_and_recorded(before, write), name


def refused_and_recorded(before: int, write: Write) -> bool:
    """One denial since, of what was asked, with the right that is lacking."""
    (event,) = since(before)
    asked = {action for action, _ in write.events}
    lacks = bool(event.detail["permission"])
    return event.outcome == "denied" and event.actor_name == "otto" and event.action in asked and lacks
