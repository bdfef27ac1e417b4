"""Who may do what, and giving and taking roles."""

import pytest

from audit.models import Event
from pools.models import Pool
from pools.permissions import GLOBAL_GRANTS, ROLE_GRANTS
from pools.selectors.access import IN_SHORT, MEANINGS
from tests.support.cast import Cast, signed_in

GRANT = {"user": "vera", "team": "payments", "role": "oncall", "reason": "She joins the rota"}


def roles(cast: Cast, name: str) -> list[str]:
    return sorted(getattr(cast, name).groups.values_list("name", flat=True))


def test_an_administrator_gives_a_role(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.ada).post("/access/grant/", GRANT, follow=True)
    assert response.redirect_chain == [("/access/", 302)]
    assert "vera has the role oncall in Payments." in response.content.decode()
    assert roles(cast, "vera") == ["payments:oncall", "payments:viewer"]
    event = Event.objects.get()
    assert (event.action, event.outcome, event.target_name) == ("access.role_granted", "done", "vera")
    assert event.reason == "She joins the rota"
    assert signed_in(cast.vera).post("/pools/payments/pause/", {"reason": "Now I may"}).status_code == 302


def test_an_administrator_takes_a_role(cast: Cast, payments: Pool) -> None:
    sent = {"user": "bob", "team": "payments", "role": "oncall", "reason": "He left"}
    assert signed_in(cast.ada).post("/access/revoke/", sent).status_code == 302
    assert roles(cast, "bob") == []
    assert signed_in(cast.bob).get("/pools/payments/").status_code == 404
    assert Event.objects.get().action == "access.role_revoked"


@pytest.mark.parametrize("verb", ["grant", "revoke"])
@pytest.mark.parametrize("person", ["alice", "bob", "vera", "otto", "charlie"])
def test_nobody_else_does(cast: Cast, verb: str, person: str) -> None:
    response = signed_in(getattr(cast, person)).post(f"/access/{verb}/", GRANT | {"user": person})
    assert response.status_code == 403
    event = Event.objects.get()
    assert event.outcome == "denied" and event.detail == {"permission": "auth.change_group"}
    assert (
        roles(cast, "vera") == ["payments:viewer"] and "payments:oncall" not in roles(cast, person)
    ) or person == "bob"


def test_the_refusal_does_not_tell_which_accounts_exist(cast: Cast) -> None:
    vera = signed_in(cast.vera)
    real = vera.post("/access/grant/", GRANT)
    invented = vera.post("/access/grant/", GRANT | {"user": "nobody-at-all", "role": "nonsense"})
    assert real.status_code == invented.status_code == 403
    assert "charlie" not in vera.get("/access/grant/").content.decode()


@pytest.mark.parametrize(
    "changes", [{"user": "nobody"}, {"team": "nowhere"}, {"role": "king"}, {"reason": " "}, {"reason": "x" * 2001}]
)
def test_bad_input(cast: Cast, changes: dict[str, str]) -> None:
    response = signed_in(cast.ada).post("/access/grant/", GRANT | changes)
    content = response.content.decode()
    assert response.status_code == 422 and "pw-error" in content
    assert roles(cast, "vera") == ["payments:viewer"] and not Event.objects.exists()


def test_a_role_that_is_held_already(cast: Cast) -> None:
    response = signed_in(cast.ada).post("/access/grant/", GRANT | {"role": "viewer"})
    assert response.status_code == 422 and "vera holds payments:viewer" in response.content.decode()
    assert not Event.objects.exists()


def test_the_last_administrator_stays(cast: Cast) -> None:
    sent = {"user": "ada", "team": "payments", "role": "admin", "reason": "Bored"}
    response = signed_in(cast.ada).post("/access/revoke/", sent)
    assert response.status_code == 422 and "last administrator" in response.content.decode()
    assert roles(cast, "ada") == ["payments:admin"]


def test_everybody_sees_their_own_and_what_roles_hold(cast: Cast, payments: Pool) -> None:
    content = signed_in(cast.bob).get("/access/").content.decode()
    assert "You are oncall of payments" in content and "see, requeue, discard, reveal, pause, resume, drain" in content
    assert "requeue_dead_letters" in content and "ada can grant it" in content


def test_only_who_manages_roles_sees_people(cast: Cast, payments: Pool) -> None:
    ada = signed_in(cast.ada).get("/access/").content.decode()
    assert "charlie" in ada and "/access/revoke/?user=bob&amp;team=payments&amp;role=oncall" in ada
    for person in (cast.alice, cast.vera, cast.otto):
        assert "charlie" not in signed_in(person).get("/access/").content.decode()


def test_an_outsider_sees_no_pool_of_others(cast: Cast, payments: Pool) -> None:
    content = signed_in(cast.charlie).get("/access/").content.decode()
    assert "You see no pools" in content and "/pools/payments/" not in content


def test_markup_in_a_reason_is_refused_or_shown_as_text(cast: Cast) -> None:
    ada = signed_in(cast.ada)
    ada.post("/access/grant/", GRANT | {"reason": "<script>alert(1)</script>"})
    assert "<script>alert" not in ada.get("/access/").content.decode()
    typed = ada.post("/access/grant/", GRANT | {"reason": "<script>alert(1)</script>"}).content.decode()
    assert "<script>alert" not in typed and "&lt;script&gt;alert(1)" in typed


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("path", ["/access/", "/access/grant/", "/access/revoke/"])
def test_other_methods_are_not_answered(cast: Cast, path: str, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)(path).status_code == 405


def test_reading_only(cast: Cast) -> None:
    assert signed_in(cast.ada).post("/access/").status_code == 405
    assert not Event.objects.exists()


def test_every_permission_has_its_words() -> None:
    on_pools = {name for names in ROLE_GRANTS.values() for name in names}
    assert IN_SHORT.keys() == on_pools
    assert MEANINGS.keys() == on_pools | {name for names in GLOBAL_GRANTS.values() for name in names}
