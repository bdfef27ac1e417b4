"""API tokens: made once, shown once, kept as a digest."""

import datetime as dt
import hashlib
import secrets

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from django.utils.crypto import salted_hmac

from audit.actor import Actor
from audit.recorder import record
from audit.target import Target
from controlplane.models import ApiToken, TokenPlace

PREFIX = "pw_"
RECORDED_EVERY = dt.timedelta(hours=1)
"""A token that comes from several addresses by turns is recorded this often for each of them, at most."""


@transaction.atomic
def create_token(*, actor: Actor, user: User, ttl: dt.timedelta, name: str = "") -> str:
    """A new bearer token for ``user``, valid for ``ttl``. Its text is returned here and never again."""
    text = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken.objects.create(
        user=user, name=name or "command line", digest=_digest(text), expires_at=timezone.now() + ttl
    )
    record(
        actor=actor,
        action="token.created",
        target=_target(token),
        after={"user": user.get_username(), "expires": token.expires_at.isoformat(timespec="seconds")},
    )
    return text


@transaction.atomic
def revoke_token(*, actor: Actor, pk: int, reason: str) -> ApiToken:
    """End a token now. Raises ApiToken.DoesNotExist, also for one that has ended."""
    token = (
        ApiToken.objects.select_for_update(of=("self",))
        .select_related("user")
        .get(pk=pk, expires_at__gt=timezone.now())
    )
    before, token.expires_at = token.expires_at, timezone.now()
    token.save(update_fields=["expires_at"])
    record(
        actor=actor,
        action="token.revoked",
        target=_target(token),
        before={"expires": before.isoformat(timespec="seconds")},
        after={"expires": token.expires_at.isoformat(timespec="seconds")},
        reason=reason,
    )
    return token


def find_token(text: str) -> ApiToken | None:
    """The valid token with this text and an active user, else None."""
    if not text.startswith(PREFIX):
        return None
    valid = ApiToken.objects.select_related("user").filter(expires_at__gt=timezone.now(), user__is_active=True)
    return valid.filter(digest=_digest(text)).first()


def record_use(token: ApiToken, actor: Actor) -> None:
    """Record that ``token`` was used, when that is news: its first use, or one from another address than the last.

    Writes nothing otherwise. Requests that come at the same time wait for each other and record it once.
    """
    place = place_of(token, actor.address)
    recent = TokenPlace.objects.filter(token=token, place=place, recorded_at__gt=timezone.now() - RECORDED_EVERY)
    if token.used_from == place or recent.exists():
        return
    with transaction.atomic():
        locked = ApiToken.objects.select_for_update(of=("self",)).select_related("user").filter(pk=token.pk).first()
        if locked is None or locked.used_from == place or recent.exists():
            return
        before, locked.used_from = locked.used_from, place
        locked.save(update_fields=["used_from"])
        now = timezone.now()
        TokenPlace.objects.update_or_create(token=locked, place=place, defaults={"recorded_at": now})
        record(actor=actor, action="token.used", target=_target(locked), detail={"first": not before})


def place_of(token: ApiToken, address: str) -> str:
    """What tells a token's addresses apart. Keyed, so that an address erased from the log cannot be guessed from it."""
    return salted_hmac(f"token place {token.pk}", address, algorithm="sha256").hexdigest()


def _target(token: ApiToken) -> Target:
    return Target(kind="token", id=str(token.pk), name=f"{token.user.get_username()}: {token.name}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
