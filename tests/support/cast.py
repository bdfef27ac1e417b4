"""The people of every test. Alice operates payments, Bob is on call with her, Vera only looks, Otto audits, Ada
administers; Charlie is an operator of another team and must never learn that payments exists."""

from dataclasses import dataclass

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
    payments = Team.objects.create(slug="payments", name="Payments")
    elsewhere = Team.objects.create(slug="elsewhere", name="Elsewhere")
    people = {name: _person(name, payments, role) for name, role in ROLES.items()}
    return Cast(payments, elsewhere, **people, charlie=_person("charlie", elsewhere, "operator"))


def _person(name: str, team: Team, role: str) -> User:
    user = User.objects.create(username=name)
    user.set_unusable_password()
    user.save()
    user.groups.add(role_group(team, role))
    return user


def actor(user: User) -> Actor:
    """The actor that a page of this person's would act as."""
    return Actor(kind="user", id=str(user.pk), name=user.username, user=user)


def signed_in(user: User) -> Client:
    """A browser of this person's."""
    client = Client()
    client.force_login(user)
    return client
