"""The registry of secret references. Names and where values live; never a value."""

from collections import defaultdict
from dataclasses import dataclass

from django.db.models import F, QuerySet
from django.http import Http404

from audit.actor import Actor
from pools.models import ConfigVersion, SecretReference
from pools.permissions import can_globally, visible_pools

MANAGE = "pools.change_secretreference"


@dataclass(frozen=True)
class SecretRow:
    """``pools``: visible pools whose newest config names it; ``outdated``: those with another reference."""

    secret: SecretReference
    pools: list[str]
    outdated: list[str]


def visible_secrets(actor: Actor) -> QuerySet[SecretReference]:
    """Those of the teams whose pools the actor sees; all of them for whoever manages references."""
    secrets = SecretReference.objects.select_related("team")
    if can_globally(actor, MANAGE):
        return secrets
    return secrets.filter(team__in=visible_pools(actor).values("team"))


def secret_of(actor: Actor, name: str) -> SecretReference:
    """Raises Http404."""
    secret = visible_secrets(actor).filter(name=name).first()
    if secret is None:
        raise Http404("no such secret")
    return secret


def secrets(actor: Actor) -> list[SecretRow]:
    """By name."""
    newest = ConfigVersion.objects.filter(pool__in=visible_pools(actor), number=F("pool__config_number"))
    used: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for slug, references in newest.order_by("pool__slug").values_list("pool__slug", "secrets"):
        for name, uri in references.items():
            used[name][slug] = uri
    return [
        SecretRow(
            secret,
            pools=list(used[secret.name]),
            outdated=[slug for slug, uri in used[secret.name].items() if uri != secret.uri],
        )
        for secret in visible_secrets(actor)
    ]
