"""Making a pool, and changing what describes it."""

import json
from typing import Any

import pytest

from audit.models import Event
from pools.models import ConfigVersion, OutboxMessage, Pool
from tests.pages.posting import entry
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

HOSTILE = "<script>alert(1)</script>'; DROP TABLE pools_pool; --"
NEW = {
    "slug": "emails",
    "name": "E-mails",
    "team": "payments",
    "criticality": "low",
    "queues": "emails",
    "workers": "2",
    "serializer": "json",
    "job_timeout": "180",
    "result_ttl": "500",
    "failure_ttl": "31536000",
    "stop_grace": "60",
    "horse_jobs": "1",
    "callbacks": "refuse",
    "webhooks": "refuse",
    "job_kib": "16384",
    "profile": "standard",
    "memory": "512",
    "cpu": "600",
    "open_files": "256",
    "processes": "32",
    "output": "100",
    "weights": "",
    "retry_percent": "0",
    "retry_per_minute": "10",
    "retry-TOTAL_FORMS": "0",
    "retry-INITIAL_FORMS": "0",
    "cron-TOTAL_FORMS": "0",
    "cron-INITIAL_FORMS": "0",
    "breakers-TOTAL_FORMS": "0",
    "breakers-INITIAL_FORMS": "0",
    "limits-TOTAL_FORMS": "0",
    "policies-TOTAL_FORMS": "0",
    "policies-INITIAL_FORMS": "0",
    "limits-INITIAL_FORMS": "0",
}
EDIT = {
    "name": "Card payments",
    "description": "Takes money",
    "criticality": "critical",
    "poison_after": "5",
    "expected_version": "1",
}
EDIT_URL = "/pools/payments/edit/"


def test_a_new_pool_gets_cron_entries(cast: Cast) -> None:
    """Adding an empty one loses nothing that was typed, and makes no pool."""
    response = signed_in(cast.alice).post("/pools/new/", NEW | {"do": "add_entry"})
    content = response.content.decode()
    assert response.status_code == 200 and "cron-0-schedule" in content and "E-mails" in content
    assert not Pool.objects.exists()
    assert signed_in(cast.alice).post("/pools/new/", NEW | entry(queue="emails")).status_code == 302
    assert b'"schedule":"30 2 * * 1-5"' in bytes(ConfigVersion.objects.get().spec)


def test_an_operator_makes_a_pool_with_its_first_version(cast: Cast) -> None:
    response = signed_in(cast.alice).post("/pools/new/", NEW, follow=True)
    assert response.redirect_chain == [("/pools/emails/", 302)]
    pool = Pool.objects.get()
    assert (pool.name, pool.team, pool.criticality, pool.queues) == ("E-mails", cast.payments, "low", ["emails"])
    assert ConfigVersion.objects.get().number == 1 and OutboxMessage.objects.get().key == "emails:1"
    assert set(Event.objects.values_list("action", flat=True)) == {"pool.created", "config.published"}
    assert signed_in(cast.vera).get("/pools/emails/").status_code == 200
    assert signed_in(cast.charlie).get("/pools/emails/").status_code == 404


POLICY = {"task": "billing.*", "delivery": "at_least_once", "losses": "5", "deadline": "60"}
POLICY |= {"idempotency_key": "order.id", "idempotency_keep": "600", "schema_versions": "3\n4"}
POLICY |= {"failure_ttl": "3600", "fallback": "billing.tell", "fallback_queue": "emails"}


def test_delivery_policies_are_parts_of_the_form(cast: Cast) -> None:
    """Adding an empty one loses nothing that was typed, and makes no pool."""
    client = signed_in(cast.alice)
    content = client.post("/pools/new/", NEW | {"do": "add_policy"}).content.decode()
    assert "policies-0-losses" in content and "E-mails" in content
    client.post("/pools/new/", NEW | policy())
    (stored,) = json.loads(bytes(ConfigVersion.objects.get().spec))["policies"]
    assert stored.pop("schema_versions") == [3, 4]
    assert stored == {name: type(stored[name])(POLICY[name]) for name in stored} and len(stored) == len(POLICY) - 1
    assert 'value="order.id"' in client.get("/pools/emails/config/").content.decode()


def policy(**changes: str) -> dict[str, str]:
    fields = {f"policies-0-{name}": value for name, value in (POLICY | changes).items()}
    return {"policies-TOTAL_FORMS": "1"} | fields


def test_breakers_and_limits_are_parts_of_the_form(cast: Cast) -> None:
    """Adding an empty one loses nothing that was typed, and makes no pool."""
    client = signed_in(cast.alice)
    for add, field in (("add_breaker", "breakers-0-open_for"), ("add_limit", "limits-0-burst")):
        content = client.post("/pools/new/", NEW | {"do": add}).content.decode()
        assert field in content and "E-mails" in content
    breaker = {"name": "smtp", "tasks": "mail.*\nnews.*", "failures": "5", "window": "60", "open_for": "30"}
    breaker |= {"probes": "2", "errors": "OSError"}
    limit = {"name": "api", "tasks": "mail.*", "per_second": "5", "burst": "1", "concurrency": "0", "by": "queue"}
    sent = NEW | {"breakers-TOTAL_FORMS": "1", "limits-TOTAL_FORMS": "1"}
    sent |= {f"breakers-0-{name}": value for name, value in breaker.items()}
    sent |= {f"limits-0-{name}": value for name, value in limit.items()}
    for name, value, said in (
        ("breakers-0-errors", "no such", "Line 1: must be an exception&#x27;s dotted name"),
        ("breakers-0-probes", "0", "Must be at least 1."),
        ("limits-0-by", "a..b", "Must be names or places with dots between"),
        ("limits-0-per_second", "0", "Must be at least 1 when the rate is 0: this limits nothing."),
    ):
        content = client.post("/pools/new/", sent | {name: value}).content.decode()
        assert said in content and "has an error, shown beside its field." in content
        assert not Pool.objects.exists()
    assert client.post("/pools/new/", sent).status_code == 302
    spec = json.loads(bytes(ConfigVersion.objects.get().spec))
    assert spec["breakers"][0]["tasks"] == ["mail.*", "news.*"] and spec["limits"][0]["by"] == "queue"


def test_weights_are_lines_of_the_form(cast: Cast) -> None:
    client = signed_in(cast.alice)
    client.post("/pools/new/", NEW | {"weights": f"{NEW['queues'].split()[0]}=7"})
    assert json.loads(bytes(ConfigVersion.objects.get().spec))["weights"] == {NEW["queues"].split()[0]: 7}
    assert f"{NEW['queues'].split()[0]}=7" in client.get("/pools/emails/config/").content.decode()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("mail", "“mail” needs the form name=value."),
        ("mail=much", "“mail” needs a whole number: mail=3."),
        ("nobody=3", "Must not name nobody, which is none of the pool&#x27;s queues."),
        (f"{NEW['queues'].split()[0]}=101", "must be at most 100."),
    ],
)
def test_a_broken_weight_is_named_and_changes_nothing(cast: Cast, line: str, said: str) -> None:
    page = signed_in(cast.alice).post("/pools/new/", NEW | {"weights": line}).content.decode()
    assert said in page and line in page
    assert not Pool.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"deadline": "604801"}, "Must be at most 604800."),
        ({"delivery": "exactly_once"}, "Select a valid choice"),
        ({"losses": "0"}, "Must be at least 1."),
        ({"losses": "many"}, "Enter a whole number."),
        ({"idempotency_key": "queue"}, "Must not be queue: a path, or job."),
        ({"idempotency_keep": "0"}, "Must be at least 1."),
        ({"schema_versions": "3\nfour"}, "“four” is not a whole number."),
        ({"schema_versions": "3\n3"}, "Must not name 3 twice."),
        ({"failure_ttl": "59"}, "Must be 0 or at least 60"),
        ({"fallback": "nodots"}, "Must be a task&#x27;s dotted name"),
        ({"fallback_queue": "others"}, "Must be one of the pool&#x27;s queues, or empty."),
    ],
)
def test_a_broken_delivery_policy_is_named_and_changes_nothing(cast: Cast, changes: dict[str, str], said: str) -> None:
    page = signed_in(cast.alice).post("/pools/new/", NEW | policy(**changes)).content.decode()
    assert said in page and "A delivery policy has an error, shown beside its field." in page
    assert not Pool.objects.exists()


@pytest.mark.parametrize("person", ["vera", "bob", "otto"])
def test_who_may_not_make_pools_is_refused_and_recorded(cast: Cast, person: str) -> None:
    client = signed_in(getattr(cast, person))
    page = client.get("/pools/new/").content.decode()
    assert "pools.add_pool" in page and "Make the pool" not in page
    assert client.post("/pools/new/", NEW).status_code == 403
    event = Event.objects.get()
    assert (event.action, event.outcome, event.actor_name) == ("pool.created", "denied", person)
    assert not Pool.objects.exists()


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"slug": ""}, "slug"),
        ({"slug": "new"}, "slug"),
        ({"slug": "has spaces"}, "slug"),
        ({"slug": HOSTILE}, "slug"),
        ({"slug": "x" * 61}, "slug"),
        ({"slug": "payments"}, "slug"),
        ({"team": "elsewhere"}, "team"),
        ({"team": "nowhere"}, "team"),
        ({"criticality": "vital"}, "criticality"),
        ({"runbook_url": "javascript:alert(1)"}, "runbook_url"),
        ({"name": "x" * 101}, "name"),
        ({"description": "x" * 2001}, "description"),
        ({"queues": "payments"}, "queues"),
        ({"queues": ""}, "queues"),
        ({"workers": "1000"}, "workers"),
    ],
)
def test_bad_input_is_named_beside_its_field(cast: Cast, payments: Pool, changes: dict[str, str], field: str) -> None:
    response = signed_in(cast.alice).post("/pools/new/", NEW | changes)
    content = response.content.decode()
    assert response.status_code == 422 and f'id="id_{field}_error"' in content
    assert "E-mails" in content or field == "name"
    assert Pool.objects.count() == 1 and not Event.objects.exists()


def test_a_rule_is_added_before_the_pool_is_made(cast: Cast) -> None:
    response = signed_in(cast.alice).post("/pools/new/", NEW | {"do": "add_rule"})
    content = response.content.decode()
    assert response.status_code == 200 and "retry-0-task" in content and "E-mails" in content
    assert not Pool.objects.exists()


def test_markup_in_every_text_field_is_shown_as_text(cast: Cast) -> None:
    alice = signed_in(cast.alice)
    assert alice.post("/pools/new/", NEW | {"name": HOSTILE, "description": HOSTILE}).status_code == 302
    for path in ("/", "/pools/", "/pools/emails/", "/pools/emails/edit/"):
        assert "<script>alert" not in alice.get(path).content.decode()
    assert "&lt;script&gt;alert(1)" in alice.get("/pools/emails/").content.decode()
    assert Pool.objects.count() == 1


def test_an_operator_changes_what_describes_it(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.alice).post(EDIT_URL, EDIT)
    assert response.status_code == 302 and response["Location"] == "/pools/payments/"
    payments.refresh_from_db()
    assert (payments.name, payments.criticality, payments.revision) == ("Card payments", "critical", 2)
    assert payments.poison_after == 5
    event = Event.objects.get()
    assert (event.action, event.outcome) == ("pool.changed", "done")
    assert event.before["name"] == "payments" and event.after["name"] == "Card payments"
    assert ConfigVersion.objects.count() == 2 and not OutboxMessage.objects.exists()


def test_searchable_arguments_are_set_and_shown(cast: Cast, payments: Pool) -> None:
    alice = signed_in(cast.alice)
    alice.post(EDIT_URL, EDIT | {"searchable_arguments": "user.id, 0.order_id,user.id"})
    payments.refresh_from_db()
    assert payments.searchable_arguments == ["user.id", "0.order_id"]
    event = Event.objects.get()
    assert event.before["searchable_arguments"] == ""
    assert event.after["searchable_arguments"] == "user.id, 0.order_id"
    assert 'value="user.id, 0.order_id"' in alice.get(EDIT_URL).content.decode()
    assert (
        'user.id, 0.order_id <span class="pw-dim">being indexed</span>'
        in alice.get("/pools/payments/").content.decode()
    )


@pytest.mark.parametrize("paths", ["user..id", "a b.", "a,b,c,d,e,f", "x" * 101])
def test_bad_paths_are_named_beside_their_field(cast: Cast, payments: Pool, paths: str) -> None:
    response = signed_in(cast.alice).post(EDIT_URL, EDIT | {"searchable_arguments": paths})
    assert response.status_code == 422 and response.context["form"].errors.keys() == {"searchable_arguments"}
    payments.refresh_from_db()
    assert payments.searchable_arguments == [] and payments.revision == 1


def test_saving_without_a_change_records_nothing(cast: Cast, payments: Pool) -> None:
    same = EDIT | {"name": payments.name, "description": "", "criticality": payments.criticality, "poison_after": 3}
    assert signed_in(cast.alice).post(EDIT_URL, same).status_code == 302
    payments.refresh_from_db()
    assert payments.revision == 1 and not Event.objects.exists()


def test_somebody_else_changed_it_meanwhile(cast: Cast, payments: Pool) -> None:
    Pool.objects.filter(pk=payments.pk).update(revision=4, name="Theirs")
    response = signed_in(cast.alice).post(EDIT_URL, EDIT)
    content = response.content.decode()
    assert response.status_code == 409 and "has changed since you looked" in content and "Card payments" in content
    payments.refresh_from_db()
    assert payments.name == "Theirs" and not Event.objects.exists()


@pytest.mark.parametrize("person", ["vera", "bob", "otto"])
def test_who_may_not_change_it_is_refused_and_recorded(cast: Cast, payments: Pool, person: str) -> None:
    assert signed_in(getattr(cast, person)).post(EDIT_URL, EDIT).status_code == 403
    payments.refresh_from_db()
    assert payments.name == "payments"
    event = Event.objects.get()
    assert (event.action, event.outcome, event.detail) == ("pool.changed", "denied", {"permission": "change_config"})


def test_an_outsider_cannot_reach_it(cast: Cast, payments: Pool) -> None:
    charlie = signed_in(cast.charlie)
    assert charlie.get(EDIT_URL).status_code == charlie.post(EDIT_URL, EDIT).status_code == 404
    assert not Event.objects.exists()


@pytest.mark.parametrize(
    "changes", [{"name": ""}, {"criticality": "x"}, {"runbook_url": "ftp"}, {"name": "a\x00b"}, {"poison_after": "101"}]
)
def test_bad_descriptions(cast: Cast, payments: Pool, changes: dict[str, Any]) -> None:
    response = signed_in(cast.alice).post(EDIT_URL, EDIT | changes)
    assert response.status_code == 422 and "Takes money" in response.content.decode()
    payments.refresh_from_db()
    assert payments.revision == 1


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("path", ["/pools/new/", EDIT_URL])
def test_other_methods_are_not_answered(cast: Cast, payments: Pool, path: str, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)(path).status_code == 405


def test_a_runbook_is_linked_and_leads_nowhere_dangerous(cast: Cast) -> None:
    make.pool(cast.payments, runbook_url="https://runbooks.example/payments")
    content = signed_in(cast.vera).get("/pools/payments/").content.decode()
    assert '<a href="https://runbooks.example/payments" rel="noreferrer">Runbook</a>' in content
