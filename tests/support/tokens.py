"""Tokens for tests that are not about tokens."""

from datetime import timedelta

from django.contrib.auth.models import User

from audit.actor import system_actor
from controlplane.models import ApiToken
from controlplane.tokens import create_token, find_token, place_of

HERE = "127.0.0.1"


def used_token(user: User, ttl: timedelta = timedelta(hours=1)) -> str:
    """A token that was used from the test client's address before, so that using it is no news for the log."""
    text = create_token(actor=system_actor("command-line"), user=user, ttl=ttl)
    token = find_token(text)
    if token is not None:
        ApiToken.objects.filter(pk=token.pk).update(used_from=place_of(token, HERE))
    return text
