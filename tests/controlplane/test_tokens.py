"""API tokens: shown once, kept as a digest, gone when their time is up."""

import datetime as dt
import io

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from audit.models import Event
from audit.selectors import personal_values
from controlplane.models import ApiToken, TokenPlace
from controlplane.tokens import find_token
from tests.support.events import recent_actions

pytestmark = pytest.mark.django_db


@pytest.fixture
def token() -> str:
    User.objects.create_user("alice")
    out = io.StringIO()
    call_command("token_create", user="alice", ttl="15m", stdout=out)
    return out.getvalue().strip()


def test_the_text_is_nowhere_in_the_database(token: str) -> None:
    stored = ApiToken.objects.get()
    assert token not in str(vars(stored))
    assert stored.user.username == "alice"
    assert timedelta_minutes(stored.expires_at) == 15
    assert recent_actions(1) == [("token.created", "done", "alice: command line")]


def timedelta_minutes(moment: dt.datetime) -> int:
    return round((moment - timezone.now()).total_seconds() / 60)


def test_it_opens_the_api(token: str, client: Client) -> None:
    assert client.get("/api/v1/pools", headers={"Authorization": f"Bearer {token}"}).status_code == 200


@pytest.mark.parametrize("header", ["", "Bearer ", "Bearer pw_wrong", "Basic YTpi"])
def test_anything_else_does_not(header: str, client: Client) -> None:
    response = client.get("/api/v1/pools", headers={"Authorization": header})
    assert response.status_code == 401
    assert response["Content-Type"] == "application/problem+json"


def test_it_ends_with_its_time_and_with_its_user(token: str) -> None:
    assert find_token(token) is not None
    ApiToken.objects.update(expires_at=timezone.now())
    assert find_token(token) is None
    ApiToken.objects.update(expires_at=timezone.now() + dt.timedelta(hours=1))
    User.objects.update(is_active=False)
    assert find_token(token) is None


@pytest.mark.parametrize("ttl", ["0s", "1", "-5m", "366d", "1w", "m"])
def test_a_bad_ttl_is_named(ttl: str) -> None:
    User.objects.create_user("alice")
    with pytest.raises(CommandError, match=r"^--ttl: expected"):
        call_command("token_create", user="alice", ttl=ttl)


def test_an_unknown_user_is_named() -> None:
    with pytest.raises(CommandError, match=r"^--user: there is no active account 'nobody'"):
        call_command("token_create", user="nobody")


def use(client: Client, token: str, address: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return int(client.get("/api/v1/pools", headers=headers, REMOTE_ADDR=address).status_code)


def recorded() -> list[tuple[str, bool]]:
    """From where, and whether for the first time; oldest first."""
    events = Event.objects.filter(action="token.used").order_by("pk")
    return [(personal_values(event)["address"], event.detail["first"]) for event in events]


def test_its_first_use_and_one_from_another_address_are_recorded(token: str, client: Client) -> None:
    for address in ("10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.1", "10.0.0.2"):
        assert use(client, token, address) == 200
    assert recorded() == [("10.0.0.1", True), ("10.0.0.2", False)], "by turns: once an hour an address"
    event = Event.objects.latest("pk")
    assert (event.actor_kind, event.actor_name, event.target_name) == ("token", "alice", "alice: command line")
    TokenPlace.objects.update(recorded_at=timezone.now() - dt.timedelta(minutes=61))
    for address in ("10.0.0.2", "10.0.0.1", "10.0.0.1"):
        assert use(client, token, address) == 200
    assert recorded()[2:] == [("10.0.0.1", False)]


def test_no_address_is_left_outside_the_log(token: str, client: Client) -> None:
    use(client, token, "10.0.0.77")
    assert "10.0.0.77" not in str([list(ApiToken.objects.values()), list(TokenPlace.objects.values())])


def test_a_refused_token_is_not_used(token: str, client: Client) -> None:
    User.objects.update(is_active=False)
    assert use(client, token, "10.0.0.1") == 401 and recorded() == []


def test_it_is_revoked_at_once(token: str, client: Client) -> None:
    pk = ApiToken.objects.get().pk
    out = io.StringIO()
    call_command("token_revoke", pk, reason=" It was seen elsewhere ", stdout=out)
    assert out.getvalue() == "alice: command line is revoked.\n"
    assert find_token(token) is None and use(client, token, "10.0.0.1") == 401
    event = Event.objects.latest("pk")
    assert (event.action, event.target_id, event.reason) == ("token.revoked", str(pk), "It was seen elsewhere")
    with pytest.raises(CommandError, match=f"There is no valid token {pk}"):
        call_command("token_revoke", pk, reason="Again")


@pytest.mark.parametrize("reason", ["", " ", "x" * 2001])
def test_a_token_is_not_revoked_without_a_reason(token: str, reason: str) -> None:
    with pytest.raises(CommandError, match=r"^--reason: "):
        call_command("token_revoke", ApiToken.objects.get().pk, reason=reason)
    assert find_token(token) is not None
