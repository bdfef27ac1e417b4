from typing import Any

import pytest

from pools.spec import FieldError, PoolSpec, SpecError, canonical, json_schema, parse_spec
from pools.spec.errors import MAX_ERRORS

GOOD: dict[str, Any] = {"queues": ["mail"], "workers": 2}
STRICT: dict[str, Any] = {"profile": "strict"}
RULE: dict[str, Any] = {"task": "billing.*"}
BREAKER: dict[str, Any] = {"name": "smtp", "tasks": ["mail.*"]}
LIMIT: dict[str, Any] = {"name": "api", "tasks": ["api.*"], "per_second": 5}


def errors(**fields: Any) -> list[FieldError]:
    with pytest.raises(SpecError) as refusal:
        parse_spec(GOOD | fields)
    return refusal.value.errors


def test_defaults() -> None:
    assert parse_spec(GOOD).as_dict() == {
        "queues": ["mail"],
        "workers": 2,
        "job_timeout": 180,
        "result_ttl": 500,
        "failure_ttl": 31_536_000,
        "serializer": "pickle",
        "stop_grace": 60,
        "horse": {"jobs": 1},
        "admission": {"tasks": [], "types": [], "callbacks": "allow", "webhooks": "allow", "job_kib": 16_384},
        "isolation": {
            "profile": "none",
            "memory": 1024,
            "cpu": 3600,
            "open_files": 1024,
            "processes": 64,
            "output": 1024,
            "writable": [],
            "egress": [],
        },
        "retry_budget": {"percent": 0, "per_minute": 10},
        "placement": {},
        "application": {"interpreter": "", "directory": "", "preload": []},
        "weights": {},
        "breakers": [],
        "limits": [],
        "environment": [],
        "secrets": [],
        "retry": [],
        "policies": [],
        "cron": [],
    }


def test_every_field_at_its_limits() -> None:
    low = {"workers": 0, "job_timeout": 1, "result_ttl": 0, "failure_ttl": 60, "stop_grace": 1}
    high = {"workers": 512, "job_timeout": 86_400, "result_ttl": 31_536_000, "failure_ttl": 31_536_000}
    high |= {"stop_grace": 3600}
    for limits in (low, high):
        assert {name: getattr(parse_spec(GOOD | limits), name) for name in limits} == limits
    rule = {"max": 100, "backoff": 86_400, "cap": 604_800, "jitter": 100}
    assert parse_spec(GOOD | {"retry": [RULE | rule]}).retry[0].model_dump(include=set(rule)) == rule
    assert len(parse_spec(GOOD | {"queues": [f"q{n}" for n in range(64)]}).queues) == 64


@pytest.mark.parametrize(
    ("field", "value", "path"),
    [
        ("queues", [], "queues"),
        ("queues", "mail", "queues"),
        ("queues", ["a", "b", "a"], "queues"),
        ("queues", ["a", "b c"], "queues.1"),
        ("queues", ["a", ""], "queues.1"),
        ("queues", ["x" * 201], "queues.0"),
        ("queues", ["a\n"], "queues.0"),
        ("queues", [1], "queues.0"),
        ("queues", [f"q{n}" for n in range(65)], "queues"),
        ("workers", -1, "workers"),
        ("workers", 513, "workers"),
        ("workers", True, "workers"),
        ("workers", 1.0, "workers"),
        ("workers", "1", "workers"),
        ("workers", None, "workers"),
        ("job_timeout", 0, "job_timeout"),
        ("job_timeout", 86_401, "job_timeout"),
        ("result_ttl", -1, "result_ttl"),
        ("failure_ttl", 59, "failure_ttl"),
        ("failure_ttl", 10**400, "failure_ttl"),
        ("serializer", "yaml", "serializer"),
        ("serializer", "JSON", "serializer"),
        ("stop_grace", 0, "stop_grace"),
        ("stop_grace", 3601, "stop_grace"),
        ("horse", {"jobs": 0}, "horse.jobs"),
        ("horse", {"jobs": 1001}, "horse.jobs"),
        ("isolation", {"profile": "jail"}, "isolation.profile"),
        ("isolation", {"profile": "loose"}, "isolation.profile"),
        ("isolation", {"memory": 15}, "isolation.memory"),
        ("isolation", {"cpu": 0}, "isolation.cpu"),
        ("isolation", {"open_files": 31}, "isolation.open_files"),
        ("isolation", {"processes": 32_769}, "isolation.processes"),
        ("isolation", {"output": 0}, "isolation.output"),
        ("isolation", {"writable": ["var/lib"]}, "isolation.writable.0"),
        ("isolation", {"writable": ["/"]}, "isolation.writable"),
        ("isolation", {"writable": [""]}, "isolation.writable"),
        ("isolation", {"jail": []}, "isolation.jail"),
        ("isolation", {"egress": ["api.example.com:443"]}, "isolation.egress"),
        ("isolation", STRICT | {"egress": ["api.example.com"]}, "isolation.egress.0"),
        ("isolation", STRICT | {"egress": ["API.example.com:443"]}, "isolation.egress.0"),
        ("isolation", STRICT | {"egress": ["https://example.com:443"]}, "isolation.egress.0"),
        ("isolation", STRICT | {"egress": ["*:443"]}, "isolation.egress.0"),
        ("isolation", STRICT | {"egress": ["a.*.com:443"]}, "isolation.egress.0"),
        ("isolation", STRICT | {"egress": ["2001:db8::1:443"]}, "isolation.egress.0"),
        ("isolation", STRICT | {"egress": ["example.com:0"]}, "isolation.egress.0"),
        ("isolation", STRICT | {"egress": ["example.com:65536"]}, "isolation.egress"),
        ("isolation", STRICT | {"egress": ["a:1", "a:1"]}, "isolation.egress"),
        ("isolation", STRICT | {"egress": [f"a:{n}" for n in range(1, 66)]}, "isolation.egress"),
        ("placement", [], "placement"),
        ("placement", {"zone": 1}, "placement.zone"),
        ("placement", {"zone": ""}, "placement.zone"),
        ("placement", {"zone": "a\u202eb"}, "placement.zone"),
        ("placement", {"zo ne": "a"}, "placement.zo ne"),
        ("placement", {f"l{n}": "x" for n in range(33)}, "placement"),
        ("application", "x", "application"),
        ("application", {"interpreter": "bin/python"}, "application.interpreter"),
        ("application", {"interpreter": "/srv/../etc/x"}, "application.interpreter"),
        ("application", {"interpreter": "/srv/\x00x"}, "application.interpreter"),
        ("application", {"directory": "~"}, "application.directory"),
        ("application", {"directory": "/" + "x" * 4096}, "application.directory"),
        ("application", {"preload": ["mod", "os; import sys"]}, "application.preload.1"),
        ("application", {"preload": ["django:"]}, "application.preload.0"),
        ("application", {"preload": ["a", "a"]}, "application.preload"),
        ("application", {"shell": "x"}, "application.shell"),
        ("environment", ["PATH=x"], "environment.0"),
        ("environment", ["1A"], "environment.0"),
        ("environment", ["A", "A"], "environment"),
        ("secrets", ["../x"], "secrets.0"),
        ("secrets", ["a", "a"], "secrets"),
        ("retry", {}, "retry"),
        ("retry", [{}], "retry.0.task"),
        ("retry", [RULE, {"task": "a b"}], "retry.1.task"),
        ("retry", [RULE | {"max": 101}], "retry.0.max"),
        ("retry", [RULE | {"max": -1}], "retry.0.max"),
        ("retry", [RULE | {"jitter": 101}], "retry.0.jitter"),
        ("retry", [RULE | {"backoff": -1}], "retry.0.backoff"),
        ("retry", [RULE | {"backoff": 20, "cap": 19}], "retry.0.cap"),
        ("retry", [RULE | {"cap": 9}], "retry.0.cap"),
        ("retry", [RULE | {"transient": ["requests..Timeout"]}], "retry.0.transient.0"),
        ("retry", [RULE | {"transient": ["OSError", "OSError"]}], "retry.0.transient"),
        ("retry", [RULE | {"permanent": ["ValueError()"]}], "retry.0.permanent.0"),
        ("retry", [RULE | {"transient": ["OSError"], "permanent": ["OSError"]}], "retry.0.permanent"),
        ("retry", [RULE | {"permanent": ["OSError"], "systemic": ["OSError"]}], "retry.0.systemic"),
        ("retry", [RULE | {"transient": ["OSError"], "systemic": ["OSError"]}], "retry.0.systemic"),
        ("retry", [RULE | {"patience": 604_801}], "retry.0.patience"),
        ("retry_budget", {"percent": 101}, "retry_budget.percent"),
        ("retry_budget", {"per_minute": -1}, "retry_budget.per_minute"),
        ("retry_budget", {"percent": "20"}, "retry_budget.percent"),
        ("retry", [RULE | {"extra": 1}], "retry.0.extra"),
        ("retry", [RULE, RULE], "retry"),
        ("weights", {"mail": 0}, "weights.mail"),
        ("weights", {"mail": 101}, "weights.mail"),
        ("weights", {"mail": "2"}, "weights.mail"),
        ("weights", {"nobody": 2}, "weights"),
        ("weights", ["mail"], "weights"),
        ("breakers", [BREAKER | {"name": "a b"}], "breakers.0.name"),
        ("breakers", [BREAKER | {"tasks": []}], "breakers.0.tasks"),
        ("breakers", [BREAKER | {"failures": 0}], "breakers.0.failures"),
        ("breakers", [BREAKER | {"window": 86_401}], "breakers.0.window"),
        ("breakers", [BREAKER | {"open_for": 0}], "breakers.0.open_for"),
        ("breakers", [BREAKER | {"probes": 101}], "breakers.0.probes"),
        ("breakers", [BREAKER | {"errors": ["no such"]}], "breakers.0.errors.0"),
        ("breakers", [BREAKER, BREAKER], "breakers.1.name"),
        ("limits", [LIMIT | {"tasks": ["a b"]}], "limits.0.tasks.0"),
        ("limits", [LIMIT | {"per_second": 0}], "limits.0.concurrency"),
        ("limits", [LIMIT | {"per_second": -1}], "limits.0.per_second"),
        ("limits", [LIMIT | {"burst": 0}], "limits.0.burst"),
        ("limits", [LIMIT | {"concurrency": 10_001}], "limits.0.concurrency"),
        ("limits", [LIMIT | {"by": "user..id"}], "limits.0.by"),
        ("limits", [LIMIT, LIMIT], "limits.1.name"),
        ("policies", [{"task": "a b"}], "policies.0.task"),
        ("policies", [{"task": "a.*", "delivery": "exactly_once"}], "policies.0.delivery"),
        ("policies", [{"task": "a.*", "losses": 0}], "policies.0.losses"),
        ("policies", [{"task": "a.*", "deadline": -1}], "policies.0.deadline"),
        ("policies", [{"task": "a.*", "idempotency_key": "a..b"}], "policies.0.idempotency_key"),
        ("policies", [{"task": "a.*", "idempotency_key": "queue"}], "policies.0.idempotency_key"),
        ("policies", [{"task": "a.*", "idempotency_keep": 604_801}], "policies.0.idempotency_keep"),
        ("policies", [{"task": "a.*", "schema_versions": [1, 1]}], "policies.0.schema_versions"),
        ("policies", [{"task": "a.*", "schema_versions": ["4"]}], "policies.0.schema_versions.0"),
        ("policies", [{"task": "a.*", "failure_ttl": 59}], "policies.0.failure_ttl"),
        ("policies", [{"task": "a.*", "fallback": "nodots"}], "policies.0.fallback"),
        ("policies", [{"task": "a.*", "fallback": "a.b", "fallback_queue": "others"}], "policies.0.fallback_queue"),
        ("policies", [{"task": "a.*"}, {"task": "a.*", "losses": 5}], "policies"),
        ("unknown", 1, "unknown"),
    ],
)
def test_broken_field_is_named_alone(field: str, value: Any, path: str) -> None:
    found = errors(**{field: value})
    assert [error.path for error in found] == [path]
    assert "Input" not in found[0].message, "a sentence for people, not the library's"


@pytest.mark.parametrize("data", [None, [], "text", 1, True])
def test_other_data_is_not_a_spec(data: Any) -> None:
    with pytest.raises(SpecError, match="spec: must be a group of fields"):
        parse_spec(data)


def test_required_fields() -> None:
    with pytest.raises(SpecError) as refusal:
        parse_spec({})
    assert [str(error) for error in refusal.value.errors] == ["queues: is required", "workers: is required"]


def test_all_faults_are_told_at_once() -> None:
    found = errors(workers=-1, serializer="x", retry=[RULE | {"max": 101}])
    assert {error.path for error in found} == {"workers", "serializer", "retry.0.max"}


def test_messages_name_the_limit() -> None:
    assert [str(error) for error in errors(workers=513)] == ["workers: must be at most 512"]
    assert [str(error) for error in errors(queues=["a", "a"])] == ["queues: must not name a twice"]
    assert [str(error) for error in errors(serializer="x")] == ["serializer: must be 'json' or 'pickle'"]
    rule = RULE | {"backoff": 20, "cap": 5}
    assert [str(error) for error in errors(retry=[rule])] == ["retry.0.cap: must be at least the first wait (20 s)"]


def test_errors_and_paths_are_bounded() -> None:
    found = errors(**{f"{'x' * 10_000}{n}": 1 for n in range(MAX_ERRORS + 10)})
    assert len(found) == MAX_ERRORS
    assert max(len(error.path) for error in found) < 100


@pytest.mark.parametrize("character", ["\x00", "\n", "\x7f", "\x85", "\u200b", "\u202e", "\u2028", "\ud800", "\ufeff"])
def test_control_and_invisible_characters_are_refused(character: str) -> None:
    [error] = errors(application={"directory": f"/srv/{character}app"})
    assert f"U+{ord(character):04X}" in error.message


def test_text_is_normalised_to_nfc() -> None:
    composed, decomposed = ({"placement": {"site": text}} for text in ("Z\u00fcrich", "Zu\u0308rich"))
    assert parse_spec(GOOD | composed) == parse_spec(GOOD | decomposed)
    assert canonical(parse_spec(GOOD | decomposed)) == canonical(parse_spec(GOOD | composed))


def test_canonical_form_does_not_depend_on_order_or_defaults() -> None:
    spelled_out = dict(reversed(parse_spec(GOOD).as_dict().items()))
    assert canonical(parse_spec(spelled_out)) == canonical(parse_spec(GOOD))
    assert canonical(parse_spec(GOOD)).startswith(b'{"admission":{"callbacks":"allow",')


def test_strict_isolation_names_what_it_cannot_be_had_with() -> None:
    faults = errors(isolation={"profile": "strict"}, horse={"jobs": 2}, secrets=["token"])
    assert [fault.path for fault in faults] == ["horse.jobs", "secrets", "admission.webhooks"]
    assert all("isolation.profile is strict" in fault.message for fault in faults)
    assert faults[0].message == "must be 1 where isolation.profile is strict: each job has its own"


def test_hostile_text_stays_text() -> None:
    for text in ("'; DROP TABLE pools; --", "<script>alert(1)</script>", "{{ 7*7 }}", "$(id)"):
        assert parse_spec(GOOD | {"placement": {"note": text}}).placement["note"] == text
        assert [error.path for error in errors(queues=[text])] == ["queues.0"]


def test_spec_cannot_be_changed() -> None:
    spec = parse_spec(GOOD)
    with pytest.raises(ValueError, match="frozen"):
        spec.workers = 3  # type: ignore[misc]


def test_specs_do_not_share_their_defaults() -> None:
    first, second = parse_spec(GOOD), parse_spec(GOOD)
    assert first.queues is not second.queues
    assert first.secrets is not second.secrets


def test_schema_has_a_label_and_a_help_text_for_each_field() -> None:
    schema = json_schema()
    parts = [schema, *schema["$defs"].values()]
    assert set(schema["properties"]) == set(PoolSpec.model_fields)
    assert {part["additionalProperties"] for part in parts} == {False}
    for part in parts:
        for name, field in part["properties"].items():
            assert field["title"], name
            assert field["description"].endswith("."), name
    assert schema["properties"]["workers"]["maximum"] == 512
    assert schema["properties"]["queues"]["uniqueItems"] is True
    assert schema["properties"]["queues"]["items"]["pattern"] == "^([A-Za-z0-9_.:-]{1,200})$"


def test_a_fallback_must_be_admitted() -> None:
    policies = [{"task": "a.*", "fallback": "b.instead"}]
    with pytest.raises(SpecError) as caught:
        parse_spec(GOOD | {"policies": policies, "admission": {"tasks": ["a.*"]}})
    assert [error.path for error in caught.value.errors] == ["policies.0.fallback"]
    assert parse_spec(GOOD | {"policies": policies, "admission": {"tasks": ["a.*", "b.*"]}}).policies[0].fallback
