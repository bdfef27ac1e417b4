"""The registry of secret references."""

from typing import Any

import pytest

from audit.models import Event
from pools.models import Pool, SecretReference
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

URI = "file:///run/secrets/gateway-key"
NEW = {"name": "gateway-key", "uri": URI, "team": "payments", "description": "Opens the gateway"}
HOSTILE = "<script>alert(1)</script>'; DROP TABLE pools_pool; --"


@pytest.fixture
def secret(cast: Cast) -> SecretReference:
    return SecretReference.objects.create(name="gateway-key", uri=URI, team=cast.payments)


def test_an_operator_registers_a_reference(cast: Cast) -> None:
    response = signed_in(cast.alice).post("/secrets/new/", NEW, follow=True)
    assert response.redirect_chain == [("/secrets/", 302)]
    assert SecretReference.objects.get().uri == URI
    assert URI in response.content.decode()
    event = Event.objects.get()
    assert (event.action, event.outcome, event.after["uri"]) == ("secret.registered", "done", URI)


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"uri": "hunter2"}, "uri", "file:///absolute/path or env://NAME"),
        ({"uri": "file:///etc/shadow"}, "uri", "must begin with"),
        ({"uri": "file:///run/secrets/../../etc/shadow"}, "uri", "file:///absolute/path"),
        ({"uri": "env://HOME"}, "uri", "must begin with"),
        ({"uri": "https://vault.example/x"}, "uri", "file:///absolute/path"),
        ({"uri": ""}, "uri", "required"),
        ({"uri": "file:///run/secrets/" + "x" * 500}, "uri", "at most 500"),
        ({"name": "with space"}, "name", "letters, numbers"),
        ({"name": ""}, "name", "required"),
        ({"name": HOSTILE}, "name", "letters, numbers"),
        ({"team": "elsewhere"}, "team", "valid choice"),
        ({"description": "x" * 501}, "description", "at most 500"),
    ],
)
def test_bad_input_is_named_beside_its_field(cast: Cast, changes: dict[str, str], field: str, said: str) -> None:
    response = signed_in(cast.alice).post("/secrets/new/", NEW | changes)
    content = response.content.decode()
    beside = content.partition(f'id="id_{field}_error"')[2].partition("</p>")[0]
    assert response.status_code == 422 and said in beside
    assert "<script>alert" not in content
    assert not SecretReference.objects.exists() and not Event.objects.exists()


def test_a_name_is_taken_once(cast: Cast, secret: SecretReference) -> None:
    response = signed_in(cast.alice).post("/secrets/new/", NEW)
    assert response.status_code == 422 and SecretReference.objects.count() == 1


def test_changing_where_it_points(cast: Cast, secret: SecretReference) -> None:
    sent = {"uri": "file:///run/secrets/new-key", "description": "Renewed", "expected_version": "1"}
    assert signed_in(cast.alice).post("/secrets/gateway-key/edit/", sent).status_code == 302
    secret.refresh_from_db()
    assert (secret.uri, secret.revision) == ("file:///run/secrets/new-key", 2)
    assert Event.objects.get().action == "secret.changed"
    again = signed_in(cast.alice).post("/secrets/gateway-key/edit/", sent)
    assert again.status_code == 409 and Event.objects.count() == 1


def test_removing_needs_a_reason_and_no_user(cast: Cast, secret: SecretReference) -> None:
    alice = signed_in(cast.alice)
    assert alice.post("/secrets/gateway-key/remove/", {"reason": ""}).status_code == 422
    pool = make.pool(cast.payments)
    used = make.spec(workers=9, secrets=["gateway-key"])
    make.config_version(pool, 2, used, secrets={"gateway-key": URI})
    Pool.objects.filter(pk=pool.pk).update(config_number=2)
    refused = alice.post("/secrets/gateway-key/remove/", {"reason": "Old"})
    assert refused.status_code == 422 and "is used by payments" in refused.content.decode()
    assert SecretReference.objects.exists() and not Event.objects.exists()


def test_removing(cast: Cast, secret: SecretReference) -> None:
    assert signed_in(cast.alice).post("/secrets/gateway-key/remove/", {"reason": "Old"}).status_code == 302
    assert not SecretReference.objects.exists()
    assert (Event.objects.get().action, Event.objects.get().reason) == ("secret.removed", "Old")


def test_pools_that_use_it_and_those_that_still_have_the_old_reference(cast: Cast, secret: SecretReference) -> None:
    pool = make.pool(cast.payments)
    make.config_version(pool, 2, make.spec(secrets=["gateway-key"]), secrets={"gateway-key": "env://OLD"})
    Pool.objects.filter(pk=pool.pk).update(config_number=2)
    content = signed_in(cast.vera).get("/secrets/").content.decode()
    assert 'href="/pools/payments/">payments</a>' in content and "until its next version" in content


@pytest.mark.parametrize("person", ["vera", "bob", "otto"])
@pytest.mark.parametrize(
    ("path", "sent", "action"),
    [
        ("/secrets/new/", NEW | {"name": "other"}, "secret.registered"),
        ("/secrets/gateway-key/edit/", {"uri": "file:///run/secrets/x"}, "secret.changed"),
        ("/secrets/gateway-key/remove/", {"reason": "Because"}, "secret.removed"),
    ],
)
def test_who_may_not_is_refused_and_recorded(
    cast: Cast, secret: SecretReference, person: str, path: str, sent: dict[str, Any], action: str
) -> None:
    make.pool(cast.payments)
    client = signed_in(getattr(cast, person))
    page = client.get(path).content.decode()
    assert "pools.change_secretreference" in page and 'name="uri"' not in page
    # A team that the person belongs to: the form holds, so that the operation is what refuses.
    assert client.post(path, sent).status_code == 403
    event = Event.objects.get()
    assert (event.action, event.outcome, event.actor_name) == (action, "denied", person)
    assert list(SecretReference.objects.values_list("name", "uri")) == [("gateway-key", URI)]


def test_who_sees_no_pool_of_the_team_sees_none_of_its_secrets(cast: Cast, secret: SecretReference) -> None:
    assert URI not in signed_in(cast.vera).get("/secrets/").content.decode()
    make.pool(cast.payments)
    assert URI in signed_in(cast.vera).get("/secrets/").content.decode()
    assert signed_in(cast.vera).get("/secrets/nothing/edit/").status_code == 404


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize(
    "path", ["/secrets/", "/secrets/new/", "/secrets/gateway-key/edit/", "/secrets/gateway-key/remove/"]
)
def test_other_methods_are_not_answered(cast: Cast, secret: SecretReference, path: str, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)(path).status_code == 405


def test_an_empty_registry_says_what_it_is_for(cast: Cast) -> None:
    content = signed_in(cast.vera).get("/secrets/").content.decode()
    assert "No secret is registered" in content and "Register a secret" in content
