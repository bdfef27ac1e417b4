"""The registry of secret references. A value never passes through here."""

import re

from django.conf import settings
from django.core.exceptions import ValidationError

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from audit.target import Target
from pools.models import Pool, SecretReference, Team
from pools.operations.base import clean_reason, expect
from pools.operations.errors import Refused
from pools.permissions import require_for_team
from pools.selectors.config import newest_spec

MANAGE = "pools.change_secretreference"
_ENV_NAME = re.compile(r"env://[A-Za-z_][A-Za-z0-9_]{0,200}")


@operation("secret.registered")
def secret_register(*, actor: Actor, name: str, uri: str, team: Team, description: str = "") -> SecretReference:
    """Register ``name`` → ``uri``. Raises ``Denied``, ``Refused``."""
    require_for_team(actor, MANAGE, team)
    secret = SecretReference(name=name, uri=check_uri(uri), team=team, description=description)
    _validate(secret)
    secret.save()
    record(actor=actor, action="secret.registered", target=_target(secret), after=_facts(secret))
    return secret


@operation("secret.changed")
def secret_change(
    *, actor: Actor, secret: SecretReference, uri: str, description: str, expected_version: int | None
) -> SecretReference:
    """Point a name elsewhere. Pools use the new reference from their next config version on."""
    secret = SecretReference.objects.select_for_update().get(pk=secret.pk)
    require_for_team(actor, MANAGE, secret.team)
    expect(secret.revision, expected_version, secret.name)
    before = _facts(secret)
    secret.uri, secret.description = check_uri(uri), description
    _validate(secret)
    if _facts(secret) == before:
        return secret
    secret.revision += 1
    secret.save()
    record(actor=actor, action="secret.changed", target=_target(secret), before=before, after=_facts(secret))
    return secret


@operation("secret.removed")
def secret_remove(*, actor: Actor, secret: SecretReference, reason: str) -> None:
    """Remove a reference that no pool's newest config names."""
    secret = SecretReference.objects.select_for_update().get(pk=secret.pk)
    require_for_team(actor, MANAGE, secret.team)
    reason = clean_reason(reason)
    users = secret_users(secret.name)
    if users:
        raise Refused("", f"{secret.name} is used by {', '.join(users)}. Nothing was changed.")
    record(actor=actor, action="secret.removed", target=_target(secret), before=_facts(secret), reason=reason)
    secret.delete()


def secret_users(name: str) -> list[str]:
    """Slugs of the pools whose newest config names the secret."""
    specs = ((pool.slug, newest_spec(pool)) for pool in Pool.objects.filter(config_number__gt=0))
    return [slug for slug, spec in specs if spec is not None and name in spec.secrets]


def check_uri(uri: str) -> str:
    """The reference, when it is well formed and under an allowed prefix. Raises ``Refused`` on ``uri``."""
    uri = uri.strip()
    allowed: list[str] = settings.POOLWARDEN_SECRET_PREFIXES
    file_ok = uri.startswith("file:///") and ".." not in uri.split("/") and "//" not in uri[len("file://") :]
    if not (file_ok or _ENV_NAME.fullmatch(uri)) or any(character <= " " for character in uri):
        raise Refused("uri", "A reference is file:///absolute/path or env://NAME. Nothing was changed.")
    if not any(uri.startswith(prefix) for prefix in allowed):
        raise Refused("uri", f"A reference must begin with {' or '.join(allowed)}. Nothing was changed.")
    return uri


def _validate(secret: SecretReference) -> None:
    try:
        secret.full_clean(exclude=["team"])
    except ValidationError as error:
        field, messages = next(iter(error.message_dict.items()))
        raise Refused(field, f"{messages[0]} Nothing was changed.") from error


def _target(secret: SecretReference) -> Target:
    return Target(kind="secret", id=str(secret.pk), name=secret.name)


def _facts(secret: SecretReference) -> dict[str, str]:
    return {"uri": secret.uri, "description": secret.description, "team": secret.team.slug}
