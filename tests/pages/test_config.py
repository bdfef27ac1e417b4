"""Config: both editors, what they refuse, comparing, publishing, conflicts, history, going back."""

import json
from typing import Any

import pytest

from audit.models import Event
from pools.forms.config import ConfigForm
from pools.models import ConfigVersion, OutboxMessage, Pool, SecretReference
from pools.operations import config_publish
from pools.spec import PoolSpec, parse_spec, to_yaml
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

URL = "/pools/payments/config/"
HOSTILE = "<script>alert(1)</script>'; DROP TABLE pools_pool; --"
RULES = {"retry-TOTAL_FORMS": "0", "retry-INITIAL_FORMS": "0"}
RULE = {"task": "shop.*", "max": "3", "backoff": "10", "cap": "600", "jitter": "20", "transient": "", "permanent": ""}


def fields(**changes: Any) -> dict[str, Any]:
    """What the form page posts, unchanged but for ``changes``; they would publish version 3."""
    spec = make.spec(queues=["payments", "payments.high"], workers=5)
    form = ConfigForm(initial=ConfigForm.initial_of(spec))
    typed = {name: form[name].field.prepare_value(form[name].initial) for name in form.fields}
    posted = {name: str(value) for name, value in typed.items() if value is not None}
    return posted | RULES | {"as": "form", "do": "publish", "message": "Why not", "expected_version": "2"} | changes


def text(spec: PoolSpec | str, **changes: Any) -> dict[str, Any]:
    shown = spec if isinstance(spec, str) else to_yaml(spec)
    return {"as": "yaml", "do": "publish", "text": shown, "message": "Why not", "expected_version": "2"} | changes


def rule(**changes: str) -> dict[str, str]:
    return RULES | {"retry-TOTAL_FORMS": "1"} | {f"retry-0-{name}": value for name, value in (RULE | changes).items()}


def unchanged() -> bool:
    return ConfigVersion.objects.count() == 2 and not Event.objects.exists() and not OutboxMessage.objects.exists()


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
            "environment": ["TZ", "LANG"],
            "secrets": ["gateway-key"],
            "retry": [{"task": "shop.*", "max": 1, "transient": ["OSError"], "permanent": ["ValueError"]}],
        }
    )
    alice = signed_in(cast.alice)
    response = alice.post(URL, text(wanted, do="form"))
    form = response.context["form"]
    posted = {name: form[name].field.prepare_value(form[name].initial) for name in form.fields}
    one = {f"retry-0-{f.name}": f.field.prepare_value(f.initial) for f in form.rules.forms[0]}
    posted |= one | {"retry-TOTAL_FORMS": "1", "retry-INITIAL_FORMS": "0", "as": "form", "do": "publish"}
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


@pytest.mark.parametrize("person", ["vera", "bob", "otto"])
def test_who_may_not_publish_is_refused_and_recorded(cast: Cast, payments: Pool, person: str) -> None:
    client = signed_in(getattr(cast, person))
    response = client.post(URL, fields(workers="9"))
    assert response.status_code == 403 and "change_config on payments" in response.content.decode()
    event = Event.objects.get()
    assert (event.action, event.outcome, event.actor_name) == ("config.published", "denied", person)
    assert ConfigVersion.objects.count() == 2 and not OutboxMessage.objects.exists()
    page = client.get(URL).content.decode()
    assert "pools.change_config" in page and 'value="publish"' not in page


@pytest.mark.parametrize("path", [URL, f"{URL}1/", f"{URL}1/restore/"])
def test_an_outsider_sees_no_config(cast: Cast, payments: Pool, path: str) -> None:
    charlie = signed_in(cast.charlie)
    assert charlie.get(path).status_code == 404
    if path != f"{URL}1/":
        assert charlie.post(path, fields(workers="9", reason="x")).status_code == 404
    assert unchanged()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("path", [URL, f"{URL}1/", f"{URL}1/restore/"])
def test_other_methods_are_not_answered(cast: Cast, payments: Pool, path: str, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)(path).status_code == 405


@pytest.mark.parametrize("number", ["3", "0", "99999999999999999999999"])
def test_a_version_that_does_not_exist(cast: Cast, payments: Pool, number: str) -> None:
    alice = signed_in(cast.alice)
    assert alice.get(f"{URL}{number}/").status_code == 404
    assert alice.post(f"{URL}{number}/restore/", {"reason": "x"}).status_code == 404


def test_a_version_shows_its_change_and_its_signature(cast: Cast, payments: Pool) -> None:
    content = signed_in(cast.vera).get(f"{URL}2/").content.decode()
    assert "- workers: 4" in content and "+ workers: 5" in content and "Version 2" in content
    assert "ab" * 32 in content and f"{2:064x}" in content and "&quot;payload&quot;: &quot;e30=&quot;" in content
    assert "Go back" not in content


def test_going_back_is_a_new_version(cast: Cast, payments: Pool) -> None:
    alice = signed_in(cast.alice)
    assert "+ workers: 4" in alice.get(f"{URL}1/restore/").content.decode()
    sent = {"reason": "It was better", "expected_version": 2}
    response = alice.post(f"{URL}1/restore/", sent)
    assert response["Location"] == f"{URL}3/"
    made = ConfigVersion.objects.get(number=3)
    assert (made.restored_from, made.message) == (1, "It was better")
    assert bytes(made.spec) == bytes(ConfigVersion.objects.get(number=1).spec)
    assert "It says what" in alice.get(f"{URL}3/").content.decode()


@pytest.mark.parametrize("sent", [{"reason": ""}, {"reason": "x" * 2001}])
def test_going_back_needs_a_reason(cast: Cast, payments: Pool, sent: dict[str, str]) -> None:
    response = signed_in(cast.alice).post(f"{URL}1/restore/", sent)
    assert response.status_code == 422 and unchanged()


def test_going_back_while_somebody_published(cast: Cast, payments: Pool) -> None:
    sent = {"reason": "It was better", "expected_version": 1}
    response = signed_in(cast.alice).post(f"{URL}1/restore/", sent)
    assert response.status_code == 409 and "It was better" in response.content.decode() and unchanged()


def test_going_back_to_what_runs_is_no_change(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.alice).post(f"{URL}2/restore/", {"reason": "x"})
    assert response.status_code == 422 and unchanged()
    assert "nothing to go back to" in response.content.decode()


def test_who_may_not_go_back_is_recorded(cast: Cast, payments: Pool) -> None:
    assert signed_in(cast.bob).post(f"{URL}1/restore/", {"reason": "x"}).status_code == 403
    assert Event.objects.get().outcome == "denied" and ConfigVersion.objects.count() == 2


def test_history_goes_on_page_by_page(cast: Cast) -> None:
    make.pool(cast.payments, versions=30)
    alice = signed_in(cast.alice)
    first = alice.get(URL)
    assert [version.number for version in first.context["versions"]] == list(range(30, 5, -1))
    rest = alice.get(f"{URL}?cursor={first.context['older']}")
    assert [version.number for version in rest.context["versions"]] == [5, 4, 3, 2, 1]
    assert alice.get(f"{URL}?cursor=' OR 1=1").status_code == 200


def test_a_pool_that_no_agent_drives_has_no_config(cast: Cast) -> None:
    make.pool(cast.payments, "legacy", versions=0, kind="attached")
    ada = signed_in(cast.ada)
    assert "it has no config" in ada.get("/pools/legacy/config/").content.decode()
    response = ada.post("/pools/legacy/config/", fields(expected_version="0"))
    assert response.status_code == 422 and ConfigVersion.objects.count() == 0


def test_markup_in_a_message_is_shown_as_text(cast: Cast, payments: Pool) -> None:
    alice = signed_in(cast.alice)
    alice.post(URL, fields(workers="9", message=HOSTILE))
    for path in (URL, f"{URL}3/", "/pools/payments/", f"{URL}1/restore/"):
        content = alice.get(path).content.decode()
        assert "<script>alert" not in content
    assert "&lt;script&gt;alert(1)" in alice.get(f"{URL}3/").content.decode()
