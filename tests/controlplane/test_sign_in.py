"""Signing in and out: events, limits, safe redirects, headers."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from audit.models import Event
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture
def alice() -> User:
    return User.objects.create_user("alice", password=PASSWORD)


def sign_in(client: Client, **fields: str) -> Any:
    return client.post("/sign-in/", {"username": "alice", "password": PASSWORD} | fields)


def test_it_signs_in_and_records_it(client: Client, alice: User) -> None:
    response = sign_in(client)
    assert response.status_code == 302
    assert response["Location"] == "/"
    assert client.session["_auth_user_id"] == str(alice.pk)
    assert recent_actions(1) == [("session.signed_in", "done", "alice")]


def test_a_wrong_password_is_said_and_recorded(client: Client, alice: User) -> None:
    response = sign_in(client, password="wrong")
    assert response.status_code == 422
    assert "_auth_user_id" not in client.session
    assert b"correct username and password" in response.content
    assert recent_actions(1) == [("session.sign_in_failed", "failed", "(personal)")]


def test_too_many_failures_hold_the_account_back(client: Client, alice: User, settings: Any) -> None:
    settings.POOLWARDEN_SIGN_IN_ATTEMPTS = 3
    for _ in range(3):
        assert sign_in(client, password="wrong").status_code == 422
    response = sign_in(client)
    assert response.status_code == 429
    assert "_auth_user_id" not in client.session
    assert recent_actions(1) == [("session.rate_limited", "failed", "(personal)")]
    event = Event.objects.latest("pk")
    assert (event.shown_target, event.reason) == ("alice", "too many failures within 5 minutes")


def test_a_good_sign_in_resets_the_account(client: Client, alice: User, settings: Any) -> None:
    settings.POOLWARDEN_SIGN_IN_ATTEMPTS = 3
    for _ in range(2):
        sign_in(client, password="wrong")
    assert sign_in(client).status_code == 302
    client.post("/sign-out/")
    for _ in range(2):
        assert sign_in(client, password="wrong").status_code == 422


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_it_never_redirects_elsewhere(client: Client, alice: User, target: str) -> None:
    assert sign_in(client, next=target)["Location"] == "/"


def test_it_returns_to_the_page_that_was_asked_for(client: Client, alice: User) -> None:
    asked = client.get("/dead-letters/?pool=payments")
    assert asked["Location"] == "/sign-in/?next=/dead-letters/%3Fpool%3Dpayments"
    assert sign_in(client, next="/dead-letters/?pool=payments")["Location"] == "/dead-letters/?pool=payments"


def test_signing_out_is_a_post_and_an_event(client: Client, alice: User) -> None:
    sign_in(client)
    assert client.get("/sign-out/").status_code == 405
    assert "_auth_user_id" in client.session
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert "_auth_user_id" not in client.session
    assert recent_actions(1) == [("session.signed_out", "done", "alice")]


def test_a_forged_form_is_refused(alice: User) -> None:
    strict = Client(enforce_csrf_checks=True)
    response = sign_in(strict)
    assert response.status_code == 403
    assert b"Nothing was changed" in response.content


def test_headers_allow_nothing_from_elsewhere_and_nothing_inline(client: Client) -> None:
    response = client.get("/sign-in/")
    policy = dict(part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for kind in ("script-src", "style-src"):
        assert policy[kind].startswith("'self'")
        assert "unsafe" not in policy[kind]
    assert policy["frame-ancestors"] == "'none'"
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert b"style=" not in response.content
    assert b"onclick=" not in response.content


def test_a_name_with_markup_is_shown_as_text(client: Client) -> None:
    response = sign_in(client, username="<script>alert(1)</script>\"'; DROP TABLE auth_user;--")
    assert response.status_code == 422
    assert b"<script>alert" not in response.content
    assert User.objects.count() == 0


def test_what_was_typed_as_the_name_is_kept_where_it_can_be_erased(client: Client) -> None:
    assert sign_in(client, username="my secret\0 password").status_code == 422
    event = Event.objects.latest("pk")
    assert (event.shown_target, event.reason) == ("my secret password", "wrong name or password")
    assert b"secret" not in bytes(event.leaf) and "secret" not in event.target_name
