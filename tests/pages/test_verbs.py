"""Pause, resume, drain, scale: by whom, how, and what stays as it was."""

import pytest
from django.test import Client

from audit.models import Event
from pools.models import OutboxMessage, Pool, RunCommand, RunState
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

COMMANDS = [
    ("pause", RunState.RUNNING, RunState.PAUSED, "pool.paused"),
    ("resume", RunState.PAUSED, RunState.RUNNING, "pool.resumed"),
    ("drain", RunState.RUNNING, RunState.DRAINING, "pool.drained"),
]
HOSTILE = "<script>alert(1)</script>'; DROP TABLE pools_pool; --"


def in_state(pool: Pool, state: str) -> Pool:
    Pool.objects.filter(pk=pool.pk).update(run_state=state)
    pool.refresh_from_db()
    return pool


def unchanged(pool: Pool) -> bool:
    before = pool.run_state, pool.generation, pool.config_number
    pool.refresh_from_db()
    after = pool.run_state, pool.generation, pool.config_number
    return before == after and not RunCommand.objects.exists() and not OutboxMessage.objects.exists()


@pytest.mark.parametrize(("verb", "before", "after", "action"), COMMANDS)
def test_on_call_does_it_with_a_reason(
    cast: Cast, payments: Pool, verb: str, before: str, after: str, action: str
) -> None:
    in_state(payments, before)
    response = signed_in(cast.bob).post(f"/pools/payments/{verb}/", {"reason": "The gateway is down"}, follow=True)
    assert response.redirect_chain == [("/pools/payments/", 302)]
    payments.refresh_from_db()
    assert payments.run_state == after
    command = RunCommand.objects.get()
    assert (command.reason, command.issued_by, command.generation) == ("The gateway is down", "bob", 1)
    assert OutboxMessage.objects.get().key == "payments:1"
    event = Event.objects.get()
    assert (event.action, event.outcome, event.actor_name, event.reason) == (action, "done", "bob", command.reason)
    assert "applied by 0 of 1 agent" in response.content.decode()


@pytest.mark.parametrize(("verb", "before", "_after", "action"), COMMANDS)
def test_a_viewer_is_refused_and_the_attempt_recorded(
    cast: Cast, payments: Pool, verb: str, before: str, _after: str, action: str
) -> None:
    in_state(payments, before)
    response = signed_in(cast.vera).post(f"/pools/payments/{verb}/", {"reason": "Just because"})
    assert response.status_code == 403
    assert "control_pool on payments" in response.content.decode() and "ada can grant it" in response.content.decode()
    assert unchanged(payments)
    event = Event.objects.get()
    assert (event.action, event.outcome, event.actor_name) == (action, "denied", "vera")
    assert event.detail == {"permission": "control_pool"}


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "scale"])
@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_not_answered(cast: Cast, payments: Pool, verb: str, method: str) -> None:
    assert getattr(signed_in(cast.bob), method)(f"/pools/payments/{verb}/").status_code == 405
    assert unchanged(payments)


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "scale"])
def test_looking_at_the_page_of_a_verb_changes_nothing(cast: Cast, payments: Pool, verb: str) -> None:
    response = signed_in(cast.alice).get(f"/pools/payments/{verb}/", {"reason": "By an image in a mail"})
    assert response.status_code == 200
    assert unchanged(payments) and not Event.objects.exists()


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "scale"])
def test_an_outsider_cannot_tell_that_the_pool_exists(cast: Cast, payments: Pool, verb: str) -> None:
    charlie = signed_in(cast.charlie)
    here = charlie.post(f"/pools/payments/{verb}/", {"reason": "x", "workers": 1})
    nowhere = charlie.post(f"/pools/nothing/{verb}/", {"reason": "x", "workers": 1})
    assert here.status_code == nowhere.status_code == 404
    assert unchanged(payments) and not Event.objects.exists()


@pytest.mark.parametrize("verb", ["pause", "resume", "drain", "scale"])
def test_a_stranger_is_asked_to_sign_in(client: Client, payments: Pool, verb: str) -> None:
    response = client.post(f"/pools/payments/{verb}/", {"reason": "x"})
    assert response.status_code == 302 and response["Location"].startswith("/sign-in/")
    assert unchanged(payments)


def test_a_post_without_the_forms_token_is_refused(cast: Cast, payments: Pool) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(cast.bob)
    response = strict.post("/pools/payments/pause/", {"reason": "x"})
    assert response.status_code == 403 and "no longer valid" in response.content.decode()
    assert unchanged(payments)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 2001, "a\x00b"])
def test_a_reason_that_cannot_be_kept_is_refused_beside_its_field(cast: Cast, payments: Pool, reason: str) -> None:
    response = signed_in(cast.bob).post("/pools/payments/pause/", {"reason": reason})
    assert response.status_code == 422
    assert 'id="page-reason-error"' in response.content.decode()
    assert unchanged(payments) and not Event.objects.exists()


def test_five_megabytes_of_reason_are_refused_beside_the_field(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.bob).post("/pools/payments/pause/", {"reason": "x" * 5_000_000})
    assert response.status_code == 422
    assert 'id="page-reason-error"' in response.content.decode() and "x" * 5_000_000 in response.content.decode()
    assert unchanged(payments)


def test_a_form_beyond_all_measure_is_refused_whole(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.bob).post("/pools/payments/pause/", {"reason": "x" * 9_000_000})
    assert response.status_code == 413
    assert "more than 8 MiB" in response.content.decode() and "Nothing was changed" in response.content.decode()
    assert unchanged(payments)


def test_pausing_twice_says_so_and_keeps_what_was_typed(cast: Cast, payments: Pool) -> None:
    in_state(payments, RunState.PAUSED)
    response = signed_in(cast.bob).post("/pools/payments/pause/", {"reason": "Once more, please"})
    assert response.status_code == 422
    content = response.content.decode()
    assert "payments is paused already. Nothing was changed." in content and "Once more, please" in content
    assert not RunCommand.objects.exists() and not Event.objects.exists()


def test_somebody_was_quicker(cast: Cast, payments: Pool) -> None:
    make.run_command(payments, RunState.DRAINING)
    response = signed_in(cast.bob).post("/pools/payments/pause/", {"reason": "Mine", "expected_version": 0})
    content = response.content.decode()
    assert response.status_code == 409
    assert "has changed since you looked" in content and "Mine" in content
    assert 'name="expected_version" value="1"' in content
    assert RunCommand.objects.count() == 1


def test_a_reason_with_markup_is_shown_as_text(cast: Cast, payments: Pool) -> None:
    bob = signed_in(cast.bob)
    bob.post("/pools/payments/pause/", {"reason": HOSTILE})
    for page in ("/", "/pools/payments/", "/pools/payments/resume/"):
        content = bob.get(page).content.decode()
        assert "<script>alert" not in content
    assert "&lt;script&gt;alert(1)" in bob.get("/pools/payments/").content.decode()
    assert Pool.objects.count() == 1


def test_an_attached_pool_has_no_verbs(cast: Cast) -> None:
    make.pool(cast.payments, "legacy", versions=0, kind="attached")
    ada = signed_in(cast.ada)
    assert "pool-verbs" not in ada.get("/pools/legacy/").content.decode()
    response = ada.post("/pools/legacy/pause/", {"reason": "x"})
    assert response.status_code == 422 and RunCommand.objects.count() == 0


def test_buttons_that_are_locked_say_which_permission_is_missing(cast: Cast, payments: Pool) -> None:
    vera = signed_in(cast.vera).get("/pools/payments/").content.decode()
    assert 'aria-disabled="true"' in vera and "<dialog" in vera
    assert "Pausing or draining needs <strong>pools.control_pool</strong> on payments. ada can grant it." in vera
    assert "/pools/payments/pause/" not in vera
    alice = signed_in(cast.alice).get("/pools/payments/").content.decode()
    assert 'name="workers" type="number" inputmode="numeric" min="0" max="512" required value="5"' in alice
    bob = signed_in(cast.bob).get("/pools/payments/").content.decode()
    assert 'action="/pools/payments/pause/"' in bob and "pools.scale_pool" in bob


def test_an_operator_scales_by_a_version_that_differs_in_nothing_else(cast: Cast, payments: Pool) -> None:
    sent = {"reason": "Black Friday", "workers": 9, "expected_version": 2}
    response = signed_in(cast.alice).post("/pools/payments/scale/", sent)
    assert response.status_code == 302
    payments.refresh_from_db()
    assert payments.config_number == 3
    actions = list(Event.objects.order_by("id").values_list("action", flat=True))
    assert actions == ["config.published", "pool.scaled"]
    assert OutboxMessage.objects.get().key == "payments:3"


def test_on_call_may_not_scale(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.bob).post("/pools/payments/scale/", {"reason": "More", "workers": 9})
    assert response.status_code == 403 and unchanged(payments)
    event = Event.objects.get()
    assert (event.action, event.outcome, event.detail) == ("pool.scaled", "denied", {"permission": "scale_pool"})


@pytest.mark.parametrize("workers", ["", "-1", "513", "many", "1.5", "9" * 5000])
def test_a_number_of_workers_that_cannot_be(cast: Cast, payments: Pool, workers: str) -> None:
    response = signed_in(cast.alice).post("/pools/payments/scale/", {"reason": "Because", "workers": workers})
    content = response.content.decode()
    assert response.status_code == 422
    assert 'id="scale-workers-error"' in content and "Because" in content
    assert unchanged(payments)


def test_scaling_to_the_same_number_is_refused(cast: Cast, payments: Pool) -> None:
    response = signed_in(cast.alice).post("/pools/payments/scale/", {"reason": "Because", "workers": 5})
    assert response.status_code == 422 and "already asks for 5 workers" in response.content.decode()
    assert unchanged(payments)


def test_scaling_what_somebody_else_changed(cast: Cast, payments: Pool) -> None:
    sent = {"reason": "Because", "workers": 9, "expected_version": 1}
    response = signed_in(cast.alice).post("/pools/payments/scale/", sent)
    assert response.status_code == 409 and "has changed since you looked" in response.content.decode()
    assert unchanged(payments)
