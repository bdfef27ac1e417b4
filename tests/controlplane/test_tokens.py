"""API tokens: shown once, kept as a digest, gone when their time is up."""

import datetime as dt
import io

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from controlplane.models import ApiToken
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
