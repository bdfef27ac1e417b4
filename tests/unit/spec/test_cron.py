"""Cron entries in a spec: each fault is beside its field."""

from typing import Any

import pytest

from pools.spec import SpecError, canonical, parse_spec, parse_yaml, to_yaml

BASE: dict[str, Any] = {"queues": ["mail", "bulk"], "workers": 1}
ENTRY: dict[str, Any] = {"name": "report", "task": "shop.report", "schedule": "0 3 * * *"}


def errors(*entries: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_spec(BASE | {"cron": list(entries)})
    return [str(error) for error in caught.value.errors]


def test_defaults() -> None:
    (entry,) = parse_spec(BASE | {"cron": [ENTRY]}).cron
    assert (entry.timezone, entry.args, entry.queue, entry.overlap, entry.catch_up) == ("UTC", [], "", "skip", "none")


def test_a_spec_without_the_field_is_the_spec_with_none() -> None:
    assert canonical(parse_spec(BASE)) == canonical(parse_spec(BASE | {"cron": []}))


@pytest.mark.parametrize("args", [[], ["eu", 7, -1], {"region": "eu", "days": 7}])
def test_yaml_gives_the_same_entry_back(args: Any) -> None:
    spec = parse_spec(BASE | {"cron": [ENTRY | {"args": args, "timezone": "Europe/Berlin", "queue": "bulk"}]})
    assert parse_yaml(to_yaml(spec)) == spec


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"name": "a.b"}, "cron.0.name"),
        ({"task": "report"}, "cron.0.task"),
        ({"schedule": "0 3 * *"}, "cron.0.schedule"),
        ({"schedule": "0 0 30 2 *"}, "cron.0.schedule"),
        ({"timezone": "Mars/Olympus"}, "cron.0.timezone"),
        ({"timezone": "../UTC"}, "cron.0.timezone"),
        ({"args": "eu"}, "cron.0.args"),
        ({"args": [1.5]}, "cron.0.args"),
        ({"args": [True]}, "cron.0.args"),
        ({"args": [2**60]}, "cron.0.args"),
        ({"args": [["nested"]]}, "cron.0.args"),
        ({"args": ["\u202e"]}, "cron.0.args"),
        ({"args": {"a b": 1}}, "cron.0.args"),
        ({"args": [1] * 65}, "cron.0.args"),
        ({"queue": "other"}, "cron.0.queue"),
        ({"overlap": "perhaps"}, "cron.0.overlap"),
        ({"catch_up": "all"}, "cron.0.catch_up"),
        ({"when": 1}, "cron.0.when"),
    ],
    ids=str,
)
def test_a_fault_is_beside_its_field(change: dict[str, Any], path: str) -> None:
    (error,) = errors(ENTRY | change)
    assert error.startswith(f"{path}: ")


def test_names_are_used_once() -> None:
    assert errors(ENTRY, ENTRY) == ["cron.1.name: must not be report twice"]
