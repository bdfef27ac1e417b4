"""API tokens: made once, shown once, kept as a digest."""

import datetime as dt
import hashlib
import secrets

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from audit.actor import Actor
from audit.recorder import record
from audit.target import Target
from controlplane.models import ApiToken

PREFIX = "pw_"


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
        target=Target(kind="token", id=str(token.pk), name=f"{user.get_username()}: {token.name}"),
        after={"user": user.get_username(), "expires": token.expires_at.isoformat(timespec="seconds")},
    )
    return text


def find_token(text: str) -> ApiToken | None:
    """The valid token with this text and an active user, else None."""
    if not text.startswith(PREFIX):
        return None
    valid = ApiToken.objects.select_related("user").filter(expires_at__gt=timezone.now(), user__is_active=True)
    return valid.filter(digest=_digest(text)).first()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
