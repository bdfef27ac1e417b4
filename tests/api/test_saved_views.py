"""Saved views through the API: a token's are its account's, and nobody else changes them."""

from typing import Any

from audit.models import Event
from pools.models import DefaultView, Pool, SavedView
from tests.api.calling import Caller, problem
from tests.api.test_operations import requeue
from tests.support.cast import Cast, signed_in

NIGHT: dict[str, Any] = {"name": "Night shift", "filter": {"pool": "payments", "since": "12h"}}


def test_a_view_is_saved_found_renamed_begun_with_and_removed(alice: Caller, cast: Cast, letters: Any) -> None:
    made = alice.post("saved-views", NIGHT, key="one")
    assert made.status_code == 201, made.content
    view = made.json()
    assert view == {
        "id": SavedView.objects.get().pk,
        "name": "Night shift",
        "owner": "alice",
        "team": None,
        "filter": {"pool": "payments", "since": "12h"},
        "mine": True,
        "default": False,
    }
    again = alice.post("saved-views", NIGHT, key="one")
    assert again.json() == view and again["Idempotent-Replayed"] == "true" and SavedView.objects.count() == 1
    assert alice.items("saved-views") == [view] and alice.items("dead-letters", **view["filter"]) != []
    assert "Night shift" in signed_in(cast.alice).get("/dead-letters/").content.decode()
    renamed = alice.post(f"saved-views/{view['id']}/rename", {"name": "Late"}).json()
    assert renamed == view | {"name": "Late"}
    assert alice.post(f"saved-views/{view['id']}/default", {"default": True}).json()["default"]
    assert DefaultView.objects.get().user == cast.alice
    assert not alice.post(f"saved-views/{view['id']}/default", {"default": False}).json()["default"]
    assert alice.post(f"saved-views/{view['id']}/remove").json() == renamed
    assert alice.items("saved-views") == [] and not SavedView.objects.exists()


def test_it_belongs_to_the_account_and_not_to_whoever_has_the_tokens_number(cast: Cast, letters: Any) -> None:
    caller = Caller(cast.bob)
    cast.bob.api_tokens.update(id=cast.vera.pk)
    assert caller.post("saved-views", NIGHT).status_code == 201
    assert SavedView.objects.get().owner_id == str(cast.bob.pk)
    assert Caller(cast.vera).items("saved-views") == []


def test_shared_views_are_seen_and_not_changed(
    alice: Caller, charlie: Caller, cast: Cast, letters: Any, refunds: Pool
) -> None:
    shared = alice.post("saved-views", NIGHT | {"team": "payments"}).json()
    assert shared["team"] == "payments"
    vera = Caller(cast.vera)
    assert vera.items("saved-views") == [shared | {"mine": False}]
    assert charlie.items("saved-views") == []
    logged = Event.objects.count()
    for caller in (vera, charlie):
        for verb, body in (("rename", {"name": "Mine"}), ("remove", None)):
            problem(caller.post(f"saved-views/{shared['id']}/{verb}", body), 404)
    problem(charlie.post(f"saved-views/{shared['id']}/default", {"default": True}), 404)
    assert Event.objects.count() == logged and alice.items("saved-views") == [shared]


def test_bad_views_are_refused_by_field(alice: Caller, cast: Cast, letters: Any) -> None:
    for changes, field in (
        ({"name": ""}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"filter": {}}, "query"),
        ({"filter": {"since": "soonish"}}, "filter.since"),
        ({"team": "elsewhere"}, "team"),
        ({"colour": "red"}, "colour"),
    ):
        problem(alice.post("saved-views", NIGHT | changes), 422, field)
    problem(Caller(cast.vera).post("saved-views", NIGHT | {"team": "payments"}), 422, "team")
    assert not SavedView.objects.exists()
    view = alice.post("saved-views", NIGHT).json()
    alice.post("saved-views", NIGHT | {"name": "Other"})
    problem(alice.post(f"saved-views/{view['id']}/rename", {"name": "Other"}), 422, "name")
    problem(alice.post(f"saved-views/{view['id']}/default", {"default": "yes"}), 422, "default")
    assert {view["name"] for view in alice.items("saved-views")} == {"Night shift", "Other"}


def test_a_view_is_what_an_operation_takes(alice: Caller, letters: Any) -> None:
    view = alice.post("saved-views", NIGHT).json()
    made = alice.post("operations", requeue(filter=view["filter"], start=False)).json()
    assert made["frozen_count"] == 3
