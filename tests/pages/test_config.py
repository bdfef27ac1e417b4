"""Config: both editors, what they refuse, comparing, publishing, conflicts."""

import json
from typing import Any

import pytest

from audit.models import Event
from pools.forms.cron import EMPTY
from pools.models import ConfigVersion, Pool, SecretReference
from pools.operations import config_publish
from pools.spec import parse_spec
from tests.pages.posting import ENTRY, HOSTILE, URL, entry, fields, rule, text, unchanged
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in


def test_an_operator_publishes_from_the_form(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.alice).post(URL, fields(workers="9", placement="zone=eu"), follow=True)
    assert response.redirect_chain == [("/pools/payments/config/3/", 302)]
    version = ConfigVersion.objects.get(number=3)
    assert (version.message, version.author_name) == ("Why not", "alice")
    assert b'"placement":{"zone":"eu"}' in bytes(version.spec) and b'"workers":9' in bytes(version.spec)
    event = Event.objects.get()
    assert (event.action, event.outcome, event.reason) == ("config.published", "done", "Why not")
    assert event.before == {"workers": "5", "placement.zone": None} and event.after == {
        "placement.zone": "eu",
        "workers": "9",
    }
    content = response.content.decode()
    assert "v3 of payments is published" in content and "has not signed it yet" in content


def test_an_operator_publishes_from_yaml(cast: Cast, payments: Pool) -> None:
    wanted = make.spec(workers=9, retry=[{"task": "shop.*", "max": 5}])
    assert signed_in(cast.alice).post(URL, text(wanted)).status_code == 302
    assert ConfigVersion.objects.get(number=3).message == "Why not"


def test_the_form_holds_every_field_of_a_spec(cast: Cast, payments: Pool) -> None:
    SecretReference.objects.create(name="gateway-key", uri="env://POOLWARDEN_SECRET_GATEWAY", team=cast.payments)
    wanted = parse_spec(
        {
            "queues": ["payments", "payments.high"],
            "workers": 7,
            "job_timeout": 30,
            "result_ttl": 0,
            "failure_ttl": 60,
            "serializer": "pickle",
            "stop_grace": 5,
            "placement": {"zone": "eu", "gpu": "a=b"},
            "application": {"interpreter": "/srv/bin/python", "directory": "/srv", "preload": ["django:shop.settings"]},
            "isolation": {"profile": "standard", "memory": 16, "cpu": 1, "processes": 2, "writable": ["/srv/media"]},
            "environment": ["TZ", "LANG"],
            "secrets": ["gateway-key"],
            "retry": [{"task": "shop.*", "max": 1, "transient": ["OSError"], "permanent": ["ValueError"]}],
            "breakers": [{"name": "smtp", "tasks": ["shop.*", "mail.*"], "failures": 9, "errors": ["OSError"]}],
            "limits": [{"name": "api", "tasks": ["shop.a"], "per_second": 9, "concurrency": 3, "by": "user.id"}],
            "policies": [
                {"task": "shop.*", "delivery": "at_least_once", "schema_versions": [1, 2], "fallback": "shop.b"}
            ],
            "cron": [
                {"name": "a", "task": "shop.a", "schedule": "@daily", "args": {"region": "eu"}, "overlap": "allow"},
                {"name": "b", "task": "shop.b", "schedule": "* * * * *", "queue": "payments", "timezone": "Asia/Tokyo"},
            ],
        }
    )
    alice = signed_in(cast.alice)
    response = alice.post(URL, text(wanted, do="form"))
    form = response.context["form"]
    posted = {name: form[name].field.prepare_value(form[name].initial) for name in form.fields}
    parts = [part for forms in form.parts.values() for part in forms]
    posted |= {f"{part.prefix}-{f.name}": f.field.prepare_value(f.initial) for part in parts for f in part}
    posted |= {"retry-TOTAL_FORMS": "1", "retry-INITIAL_FORMS": "0", "as": "form", "do": "publish"}
    posted |= {"cron-TOTAL_FORMS": "2", "cron-INITIAL_FORMS": "0"}
    posted |= {"breakers-TOTAL_FORMS": "1", "breakers-INITIAL_FORMS": "0"}
    posted |= {"limits-TOTAL_FORMS": "1", "limits-INITIAL_FORMS": "0"}
    posted |= {"policies-TOTAL_FORMS": "1", "policies-INITIAL_FORMS": "0"}
    posted |= {"message": "All of it", "expected_version": "2"}
    assert alice.post(URL, {name: value for name, value in posted.items() if value is not None}).status_code == 302
    assert parse_spec(stored(ConfigVersion.objects.get(number=3))) == wanted


def stored(version: ConfigVersion) -> Any:
    return json.loads(bytes(version.spec))


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"queues": ""}, "id_queues", "This field is required"),
        ({"queues": "payments\nno spaces"}, "id_queues", "Line 2: must be 1 to 200 letters"),
        ({"queues": "a\na"}, "id_queues", "Must not name a twice"),
        ({"queues": "\n".join(f"q{n}" for n in range(65))}, "id_queues", "Must hold at most 64"),
        ({"workers": "-1"}, "id_workers", "Must be at least 0"),
        ({"workers": "513"}, "id_workers", "Must be at most 512"),
        ({"workers": "four"}, "id_workers", "Enter a whole number"),
        ({"workers": "9" * 5000}, "id_workers", "Enter a whole number"),
        ({"job_timeout": "0"}, "id_job_timeout", "Must be at least 1"),
        ({"job_timeout": ""}, "id_job_timeout", "This field is required"),
        ({"result_ttl": "-5"}, "id_result_ttl", "Must be at least 0"),
        ({"failure_ttl": "59"}, "id_failure_ttl", "Must be at least 60"),
        ({"stop_grace": "3601"}, "id_stop_grace", "Must be at most 3600"),
        ({"memory": "15"}, "id_memory", "Must be at least 16"),
        ({"profile": "jail"}, "id_profile", "Select a valid choice"),
        ({"egress": "example.com:443"}, "id_egress", "Must be empty unless isolation.profile is strict"),
        ({"egress": "a.example.com:443\nhttps://b"}, "id_egress", "Line 2: must be a host and a port in lower case"),
        ({"writable": "/srv/media\nmedia"}, "id_writable", "Line 2: must be empty or an absolute path"),
        ({"serializer": "marshal"}, "id_serializer", "Select a valid choice"),
        ({"placement": "zone"}, "id_placement", "needs the form name=value"),
        ({"placement": "b@d=eu"}, "id_placement", "b@d: must be 1 to 63 letters"),
        ({"interpreter": "bin/python"}, "id_interpreter", "Must be empty or an absolute path"),
        ({"directory": "/srv/../etc"}, "id_directory", "Must be empty or an absolute path"),
        ({"preload": "os; rm -rf /"}, "id_preload", "Line 1: must be a module"),
        ({"environment": "TZ\n1BAD"}, "id_environment", "Line 2: must be an environment variable"),
        ({"secrets": "no such name!"}, "id_secrets", "Line 1: must be 1 to 100 letters"),
        ({"secrets": "unregistered"}, "id_secrets", "No secret is registered as unregistered"),
        (rule(max="101"), "id_retry-0-max", "Must be at most 100"),
        (rule(backoff="-1"), "id_retry-0-backoff", "Must be at least 0"),
        (rule(cap="5"), "id_retry-0-cap", "Must be at least the first wait (10 s)"),
        (rule(jitter="x"), "id_retry-0-jitter", "Enter a whole number"),
        (rule(task="shop pay"), "id_retry-0-task", "Must be a task"),
        (rule(transient="OSError\nnot a name"), "id_retry-0-transient", "Line 2: must be an exception"),
        (rule(transient="OSError", permanent="OSError"), "id_retry-0-permanent", "Must not name OSError"),
        (entry(name="a b"), "id_cron-0-name", "Must be 1 to 63 letters"),
        (entry(task="report"), "id_cron-0-task", "Must be a task's dotted name"),
        (entry(schedule="30 2"), "id_cron-0-schedule", "Must be five cron fields"),
        (entry(schedule=""), "id_cron-0-schedule", "This field is required"),
        (entry(timezone="Berlin"), "id_cron-0-timezone", "Must be a time zone of the IANA list"),
        (entry(args="eu, 7"), "id_cron-0-args", "Must be JSON of text and whole numbers"),
        (entry(args="[1.5]"), "id_cron-0-args", "Must be JSON of text and whole numbers"),
        (entry(args='"eu"'), "id_cron-0-args", "Must be a list"),
        (entry(queue="emails"), "id_cron-0-queue", "Must be one of the pool's queues"),
        (entry(overlap="both"), "id_cron-0-overlap", "Select a valid choice"),
        (entry(catch_up="all"), "id_cron-0-catch_up", "Must not be all while overlaps are skipped"),
        ({"message": " "}, "id_message", "Say why"),
        ({"message": "x" * 2001}, "id_message", "at most 2,000 fit"),
        ({"queues": "console"}, "id_queues", "the queue of the console"),
    ],
)
def test_a_fault_is_named_beside_its_field(
    cast: Cast, payments: Pool, changes: dict[str, Any], field: str, said: str
) -> None:
    response = signed_in(cast.alice).post(URL, fields(workers="6") | changes)
    content = response.content.decode()
    assert response.status_code == 422
    beside = content.partition(f'id="{field}_error"')[2].partition("</p>")[0]
    assert said in beside.replace("&#x27;", "'"), beside or "no error at this field"
    assert unchanged()


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("queues: [payments\nworkers: 4", "Line 2: not valid YAML"),
        ("queues: [payments]\nworkers: 4\nworkers: 5", "Line 3: not valid YAML: repeated key"),
        ("queues: [payments]\nworkers: many", "workers: must be a whole number"),
        ("queues: [payments]\nworkers: 4\nretry: [{task: a, max: 101}]", "retry.0.max: must be at most 100"),
        ("queues: [payments]\nworkers: 4\ncolour: red", "colour: is not a field of a pool spec"),
        ("&a [*a]", "anchors (&amp;) and aliases (*) are refused"),
        ("!!python/object/apply:os.system [id]", "Line 1: not valid YAML"),
        (HOSTILE, "must be a group of fields"),
        ("", "An empty text is no spec"),
        ("x" * 70_000, "at most 64 KiB"),
    ],
)
def test_a_fault_in_yaml_names_the_line_or_the_field(cast: Cast, payments: Pool, typed: str, said: str) -> None:
    response = signed_in(cast.alice).post(URL, text(typed))
    content = response.content.decode()
    assert response.status_code == 422 and said in content.lower() + content
    assert "<script>alert" not in content and unchanged()


def test_nothing_typed_is_lost_on_an_error(cast: Cast, payments: Pool) -> None:
    sent = fields(workers="many", placement="zone=eu", message="My long thoughts") | rule(task="shop.pay", max="7")
    content = signed_in(cast.alice).post(URL, sent).content.decode()
    for kept in ("many", "zone=eu", "My long thoughts", "shop.pay", 'value="7"'):
        assert kept in content, kept


def test_another_rule_is_added_without_losing_anything(cast: Cast, payments: Pool) -> None:
    sent = fields(workers="8", message="") | rule(task="shop.pay") | {"do": "add_rule"}
    response = signed_in(cast.alice).post(URL, sent)
    content = response.content.decode()
    assert response.status_code == 200 and unchanged()
    assert "retry-1-task" in content and "shop.pay" in content and 'value="8"' in content
    assert "Say why" not in content


def test_a_cron_entry_is_published_as_typed(cast: Cast, payments: Pool) -> None:
    assert signed_in(cast.alice).post(URL, fields(workers="6") | entry()).status_code == 302
    (made,) = parse_spec(json.loads(bytes(ConfigVersion.objects.get(number=3).spec))).cron
    assert (made.name, made.schedule, made.timezone) == ("report", "30 2 * * 1-5", "Europe/Berlin")
    assert (made.args, made.queue, made.catch_up) == (["eu", 7], "payments.high", "last")
    content = signed_in(cast.alice).get(URL).content.decode()
    assert "[&quot;eu&quot;, 7]" in content, "and shown so again"


@pytest.mark.parametrize("typed", [entry(name=""), entry(**dict.fromkeys(ENTRY, "") | EMPTY)])
def test_an_entry_without_a_name_is_left_out(cast: Cast, payments: Pool, typed: dict[str, str]) -> None:
    assert signed_in(cast.alice).post(URL, fields(workers="6") | typed).status_code == 302
    assert b'"cron":[]' in bytes(ConfigVersion.objects.get(number=3).spec)


def test_a_rule_without_a_task_is_left_out(cast: Cast, payments: Pool) -> None:
    assert signed_in(cast.alice).post(URL, fields(workers="6") | rule(task="")).status_code == 302
    assert b'"retry":[]' in bytes(ConfigVersion.objects.get(number=3).spec)


@pytest.mark.parametrize("rules", [{"retry-TOTAL_FORMS": "x"}, {"retry-TOTAL_FORMS": "100000"}])
def test_forged_counts_of_rules_are_refused(cast: Cast, payments: Pool, rules: dict[str, str]) -> None:
    response = signed_in(cast.alice).post(URL, fields(workers="6") | rules)
    assert response.status_code == 422 and unchanged()


def test_switching_editors_keeps_what_was_typed(cast: Cast, payments: Pool) -> None:
    alice = signed_in(cast.alice)
    yaml = alice.post(URL, fields(workers="8", do="yaml", message="Half a thought")).content.decode()
    assert "workers: 8" in yaml and "Half a thought" in yaml
    form = alice.post(URL, text(make.spec(workers=11), do="form")).content.decode()
    assert 'value="11"' in form and unchanged()


def test_switching_with_an_error_stays_and_says_why(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.alice).post(URL, text("queues: [", do="form"))
    content = response.content.decode()
    assert response.status_code == 200 and "not valid YAML" in content and "queues: [" in content


def test_comparing_shows_what_would_change_and_writes_nothing(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.alice).post(URL, fields(workers="8", do="compare", message=""))
    content = response.content.decode()
    assert response.status_code == 200 and unchanged()
    assert '<div class="pw-del">- workers: 5</div><div class="pw-add">+ workers: 8</div>' in content


def test_while_somebody_types_only_the_comparison_is_answered(cast: Cast, payments: Pool) -> None:
    headers = {"HX-Request": "true"}
    alice = signed_in(cast.alice)
    response = alice.post(URL, fields(workers="8", do="compare"), headers=headers)
    content = response.content.decode()
    assert "<html" not in content and "+ workers: 8" in content and "HX-Request" in response["Vary"]
    broken = alice.post(URL, text("queues: [", do="compare"), headers=headers).content.decode()
    assert "the spec has errors" in broken and "not valid YAML" in broken
    same = alice.post(URL, fields(do="compare"), headers=headers).content.decode()
    assert "This is what v2 says already" in same


def test_publishing_what_is_there_already_is_refused(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.alice).post(URL, fields())
    assert response.status_code == 422 and "This is what v2 says already" in response.content.decode()
    assert unchanged()


def test_somebody_published_meanwhile(cast: Cast, payments: Pool) -> None:
    config_publish(actor=actor(cast.ada), pool=payments, spec=make.spec(workers=40), message="Mine", expected_version=2)
    alice = signed_in(cast.alice)
    response = alice.post(URL, fields(workers="6", message="Typed for an hour"))
    content = response.content.decode()
    assert response.status_code == 409
    assert "ada published v3" in content and "+ workers: 40" in content and "Publish v4 over v3" in content
    assert "Typed for an hour" in content and 'name="workers" value="6"' in content
    assert 'name="expected_version" value="3"' in content
    assert ConfigVersion.objects.count() == 3
    again = alice.post(URL, fields(workers="6", expected_version="3"))
    assert again.status_code == 302 and ConfigVersion.objects.count() == 4
