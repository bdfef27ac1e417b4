"""The people of every test. Alice operates payments, Bob is on call with her, Vera only looks, Otto audits, Ada
administers; Charlie is an operator of another team and must never learn that payments exists."""

from dataclasses import dataclass

from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.test import Client

from audit.actor import Actor
from pools.models import Team
from pools.permissions import role_group

PASSWORD = "correct horse battery"
ROLES = {"alice": "operator", "bob": "oncall", "vera": "viewer", "otto": "auditor", "ada": "admin"}


@dataclass(frozen=True)
class Cast:
    """``payments`` is the team of everybody but Charlie, who belongs to ``elsewhere``."""

    payments: Team
    elsewhere: Team
    alice: User
    bob: User
    vera: User
    otto: User
    ada: User
    charlie: User


def make_cast() -> Cast:
    """Few statements: most tests begin here."""
    payments, elsewhere = Team.objects.bulk_create(
        [Team(slug="payments", name="Payments"), Team(slug="elsewhere", name="Elsewhere")]
    )
    groups = {name: role_group(payments, role) for name, role in ROLES.items()}
    groups["charlie"] = role_group(elsewhere, "operator")
    nobody_knows = make_password(None)
    people = User.objects.bulk_create([User(username=name, password=nobody_knows) for name in groups])
    membership = User.groups.through
    membership.objects.bulk_create([membership(user=user, group=groups[user.username]) for user in people])
    return Cast(payments, elsewhere, **{user.username: user for user in people})


def actor(user: User) -> Actor:
    """The actor that a page of this person's would act as."""
    return Actor(kind="user", id=str(user.pk), name=user.username, user=user)


def signed_in(user: User) -> Client:
    """A browser of this person's."""
    client = Client()
    client.force_login(user)
    return client
