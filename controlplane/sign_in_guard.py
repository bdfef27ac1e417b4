"""Counting failed sign-ins by account and by address, before a password is looked at."""

import datetime as dt

from django.conf import settings
from django.utils import timezone
from django.utils.crypto import salted_hmac

from controlplane.models import SignInFailure

MINUTES = 5
WINDOW = dt.timedelta(minutes=MINUTES)


def too_many_failures(username: str, address: str) -> bool:
    """Whether this account, or this address five times over, used up its attempts of the last five minutes."""
    recent = SignInFailure.objects.filter(at__gte=timezone.now() - WINDOW)
    limit: int = settings.POOLWARDEN_SIGN_IN_ATTEMPTS
    return (
        recent.filter(username_sha256=_digest(username)).count() >= limit
        or recent.filter(address=address).count() >= 5 * limit
    )


def note_failure(username: str, address: str) -> None:
    SignInFailure.objects.create(username_sha256=_digest(username), address=address)


def forget_failures(username: str) -> None:
    """After a good sign-in the account's count begins anew; the address keeps its own."""
    SignInFailure.objects.filter(username_sha256=_digest(username)).update(username_sha256="")


def _digest(username: str) -> str:
    """Keyed, for what was typed may be a password."""
    return salted_hmac("sign-in failure", username.casefold(), algorithm="sha256").hexdigest()
