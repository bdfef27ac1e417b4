"""Config versions: who may make them, what a version shows, history, going back."""

import pytest

from audit.models import Event
from pools.models import ConfigVersion, OutboxMessage, Pool
from tests.pages.posting import HOSTILE, URL, fields, unchanged
from tests.support import factories as make
from tests.support.cast import Cast, signed_in


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
