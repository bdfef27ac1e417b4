import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pools.spec import PoolSpec, SpecError, parse_spec, parse_yaml, to_yaml
from pools.spec.yaml_text import MAX_BYTES

GOOD = "queues: [mail]\nworkers: 2\n"


def refused(text: str) -> tuple[str, str, int | None]:
    with pytest.raises(SpecError) as refusal:
        parse_yaml(text)
    [error] = refusal.value.errors
    return error.path, error.message, error.line


def test_yaml_is_read_and_written() -> None:
    spec = parse_yaml(GOOD + "retry:\n  - task: billing.*\n    permanent: [ValueError]\n")
    assert (spec.queues, spec.workers, spec.retry[0].permanent) == (["mail"], 2, ["ValueError"])
    assert to_yaml(spec).startswith("queues:\n  - mail\nworkers: 2\n")
    assert parse_yaml(to_yaml(spec)) == spec


@pytest.mark.parametrize(
    ("text", "problem", "line"),
    [
        ("queues: [mail]\nworkers 4\nserializer: json", "not valid YAML: could not find expected ':'", 2),
        ("queues: [mail]\nworkers: 1\nworkers: 2\n", "repeated key", 3),
        ("queues: [mail]\nplacement:\n  a: x\n  a: y\n", "repeated key", 4),
        ("queues: &q [mail]\nworkers: 1\n", "anchors", 1),
        ("queues: [mail]\nworkers: *w\n", "anchors", 2),
        ("a: &a [x]\nb: [*a, *a, *a, *a, *a, *a, *a, *a]\n", "anchors", 1),
        ("queues: [mail\nworkers: 1\n", "expected ',' or ']'", 2),
        ("queues: [mail]\n\tworkers: 1\n", "cannot start any token", 2),
        ("queues: [mail]\nworkers: 1\n---\nworkers: 2\n", "another document", 3),
        ("queues: !!python/object/apply:os.system ['id']\n", "tag", 1),
        ("queues: !!timestamp 'x'\n", "tag", 1),
        ("workers: !!float 1\n", "tag", 1),
        ("workers: !!int x\n", "whole number", None),
        ("queues: [mail]\n1: x\n", "a key must be text", 2),
        ("? [a]\n: 1\n", "a key must be text", 1),
        ("queues: [mail]\nworkers: \x01\n", "forbids", 2),
        ("workers: " + "9" * 5000, "too large", None),
        ("[" * 60_000, "deeply", None),
    ],
)
def test_broken_text_is_refused_with_its_line(text: str, problem: str, line: int | None) -> None:
    path, message, found = refused(text)
    assert (path, found) == ("", line)
    assert problem in message


def test_too_long_a_text_is_not_read() -> None:
    assert parse_yaml(GOOD + "#" * (MAX_BYTES - len(GOOD))).workers == 2
    assert "at most 64 KiB" in refused(GOOD + "#" * (MAX_BYTES - len(GOOD) + 1))[1]
    assert "at most 64 KiB" in refused("é" * (MAX_BYTES // 2 + 1))[1]
    assert "at most 64 KiB" in refused("x" * 5_000_000)[1]


@pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "null", "- a", "just text", "7"])
def test_text_without_fields(text: str) -> None:
    assert refused(text) == ("", "must be a group of fields", None)


@pytest.mark.parametrize("word", ["yes", "no", "on", "true", "1.5", "12:30", "0x10", "1_000", "2026-01-01", "<<", "="])
def test_words_stay_text(word: str) -> None:
    """YAML 1.1 reads each of these as something else."""
    spec = parse_yaml(f"queues: [mail]\nworkers: 2\nplacement:\n  zone: {word}\n")
    assert spec.placement == {"zone": word}
    assert parse_yaml(to_yaml(spec)) == spec
    assert refused(f"queues: [mail]\nworkers: {word}\n") == ("workers", "must be a whole number", None)


def test_field_errors_are_those_of_the_schema() -> None:
    assert refused("queues: [mail]\nworkers: 513\n") == ("workers", "must be at most 512", None)
    assert refused(GOOD + "secrets:\n") == ("secrets", "must be a list", None)


def test_worst_text_of_the_allowed_length_is_refused_quickly() -> None:
    started = time.monotonic()
    for text in ("[" * MAX_BYTES, "{a: " * (MAX_BYTES // 4), "- " * (MAX_BYTES // 2), "? " * (MAX_BYTES // 2)):
        refused(text)
    assert time.monotonic() - started < 20


names = st.from_regex(r"[A-Za-z0-9_.:-]{1,20}", fullmatch=True)
values = st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"]), min_size=1, max_size=30)
dotted = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}(\.[A-Za-z_][A-Za-z0-9_]{0,8}){0,2}", fullmatch=True)
rules = st.fixed_dictionaries(
    {"task": st.from_regex(r"[a-z0-9_.*?\[\]!-]{1,20}", fullmatch=True), "max": st.integers(0, 100)},
    optional={"backoff": st.integers(0, 600), "transient": st.lists(dotted, unique=True, max_size=3)},
)
specs = st.fixed_dictionaries(
    {"queues": st.lists(names, min_size=1, max_size=5, unique=True), "workers": st.integers(0, 512)},
    optional={
        "job_timeout": st.integers(1, 86_400),
        "serializer": st.sampled_from(["json", "pickle"]),
        "placement": st.dictionaries(st.from_regex(r"[A-Za-z0-9]{1,9}", fullmatch=True), values, max_size=4),
        "environment": st.lists(st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True), unique=True, max_size=4),
        "secrets": st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,9}", fullmatch=True), unique=True, max_size=4),
        "retry": st.lists(rules, max_size=3, unique_by=lambda rule: rule["task"]),
    },
)


@given(specs)
@settings(max_examples=150)
def test_every_spec_survives_yaml_and_json(data: dict[str, Any]) -> None:
    spec = parse_spec(data)
    assert parse_yaml(to_yaml(spec)) == spec
    assert parse_spec(spec.as_dict()) == spec


@given(st.text(max_size=200))
@settings(max_examples=300)
def test_any_text_is_a_spec_or_a_spec_error(text: str) -> None:
    try:
        result: object = parse_yaml(text)
    except SpecError as error:
        result = error.errors[0]
    assert result is not None
    assert isinstance(result, PoolSpec) or str(result)
