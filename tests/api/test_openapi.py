"""The OpenAPI document, and the page that is rendered from it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from pydantic import BaseModel, ValidationError

from pools.api import approvals, bodies, group_bodies, notification_bodies, saved_views
from pools.spec import parse_spec
from tests.api.calling import BASE
from tests.docs.test_documents import read

READ = {"401", "403", "404", "422"}
WRITE = READ | {"400", "409", "413", "415"}


@pytest.fixture(scope="module")
def document() -> Any:
    response = Client().get(f"{BASE}openapi.json")
    assert response.status_code == 200 and response["Content-Type"] == "application/json"
    return response.json()


def operations(document: Any) -> list[tuple[str, str, dict[str, Any]]]:
    return [(m, path, entry) for path, methods in document["paths"].items() for m, entry in methods.items()]


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
        return own.union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_every_reference_leads_somewhere(document: Any) -> None:
    for reference in references(document):
        found = document
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        assert found


def test_every_operation_explains_itself(document: Any) -> None:
    names = [entry["operationId"] for _, _, entry in operations(document)]
    assert len(names) == len(set(names)) > 20
    for method, path, entry in operations(document):
        assert entry["summary"] and entry["description"].endswith(".") and entry["tags"], path
        assert entry["security"] == [{"BearerToken": []}], path
        assert {*entry["responses"]} >= (READ if method == "get" else WRITE), path
        keys = [p["name"] for p in entry["parameters"] if p["in"] == "header"]
        assert keys == ([] if method == "get" else ["Idempotency-Key"]), path


def test_errors_are_problem_documents(document: Any) -> None:
    for status, response in document["components"]["responses"].items():
        assert re.fullmatch("[45][0-9]{2}", status)
        (media,) = response["content"]
        assert media == "application/problem+json"


GROUP_BODIES = ["DecideIn", "ResolveIn", "SnoozeIn", "AssignIn", "NoteIn", "RunbookIn"]


@pytest.mark.parametrize(
    "name",
    [
        "PoolIn",
        "ReasonIn",
        "ScaleIn",
        "ConfigIn",
        "OperationIn",
        "RevealIn",
        "MoveIn",
        "RateIn",
        "WhyIn",
        "PoolChangeIn",
        "ApproveIn",
        "EditIn",
        *GROUP_BODIES,
        "ChannelIn",
        "ChannelChangeIn",
        "NameIn",
        "ViewIn",
        "DefaultIn",
    ],
)
def test_examples_are_good_and_unknown_fields_are_not(document: Any, name: str) -> None:
    rooms = (bodies, group_bodies, notification_bodies, approvals, saved_views)
    room = next(room for room in rooms if hasattr(room, name))
    schema, body = document["components"]["schemas"][name], getattr(room, name)
    assert schema["additionalProperties"] is False
    for example in schema["examples"]:
        assert issubclass(body, BaseModel)
        body.model_validate(example)
        parse_spec(example.get("spec", bodies.EXAMPLE_SPEC))
        with pytest.raises(ValidationError):
            body.model_validate(example | {"unknown": 1})


def test_the_page_shows_every_operation_without_inline_code(document: Any) -> None:
    response = Client().get(f"{BASE}docs")
    page = response.content.decode()
    assert response.status_code == 200 and "default-src 'none'" in response["Content-Security-Policy"]
    for _, path, entry in operations(document):
        assert f'id="{entry["operationId"]}"' in page and path in page
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)", page)
    assert "one of pending, requeued" in page and "<code>start</code> is false" in page


def test_the_guide_has_an_example_of_every_operation(document: Any) -> None:
    guide = read("api.md")
    for method, path, _ in operations(document):
        row = f"| {method.upper()} `{path.removeprefix(BASE)}` |"
        assert row in guide, row
    for name in ("rate_per_second", "canary", "Idempotency-Key", "Idempotent-Replayed", "application/problem+json"):
        assert f"`{name}`" in guide, name


def test_every_command_of_the_guide_goes_to_an_operation(document: Any) -> None:
    """With parameters that it has. ``$verb`` and ``$1`` are what the loop or the calls beside them say."""
    entries = {(method, path.removeprefix(BASE)): entry for method, path, entry in operations(document)}
    commands = list(spoken(read("api.md")))
    assert len(commands) > 60
    for method, path, names in commands:
        found = [entry for (verb, known), entry in entries.items() if verb == method and fits(known, path)]
        found = [entries[method, path]] if (method, path) in entries else found
        assert found, f"{method} {path}"
        taken = {parameter["name"] for parameter in found[0]["parameters"] if parameter["in"] == "query"}
        assert names <= taken, f"{path}: {names - taken}"


def spoken(guide: str) -> Iterator[tuple[str, str, set[str]]]:
    """Method, path and names of the query of each request in the guide's shell commands."""
    for block in re.findall(r"```sh\n(.*?)```", guide, re.DOTALL):
        words = re.findall(r"for verb in ([\w ]+);", block) + re.findall(r"^\w+ ([a-z]+) '", block, re.MULTILINE)
        verbs = " ".join(words).split()
        for command in block.replace("\\\n", " ").split("curl ")[1:]:
            method = "post" if re.search(r"-d |-X POST", command) else "get"
            asked = re.search(r"\$CONSOLE/api/v1/([^\"\s]+)", command)
            assert asked, command
            path, _, query = asked[1].partition("?")
            for verb in verbs if re.search(r"\$(verb|1)", path) else [""]:
                yield (
                    method,
                    re.sub(r"\$(verb|1)", verb, path),
                    {pair.split("=")[0] for pair in query.split("&") if pair},
                )


def fits(known: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", known), path) is not None
