"""What roles hold: new permissions reach the groups that are there; the auditor's role only reads."""

import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import Group, Permission
from django.core.management import call_command

from audit.models import Event
from audit.sentences import sentence
from pools.models import PoolGroupPermission
from pools.permissions import GLOBAL_GRANTS, REVEAL, ROLE_GRANTS, VIEW, can, extend_roles
from tests.support import factories as make
from tests.support.cast import Cast, actor
from tests.support.installation import ROOT, clean_environ, own_database

pytestmark = pytest.mark.django_db


def held(name: str) -> set[str]:
    found = Group.objects.get(name=name).permissions.values_list("content_type__app_label", "codename")
    return {f"{app}.{codename}" for app, codename in found}


def test_migrate_gives_roles_what_a_new_version_adds(cast: Cast) -> None:
    admins = Group.objects.get(name="payments:admin")
    admins.permissions.remove(Permission.objects.get(codename="erase_personal"))
    by_hand = Permission.objects.get(codename="add_session")
    admins.permissions.add(by_hand)
    call_command("migrate", verbosity=0)
    assert held("payments:admin") == {*GLOBAL_GRANTS["admin"], "sessions.add_session"}, "what people gave stays"
    event = Event.objects.get()
    assert (event.action, event.actor_name, event.target_name) == ("access.role_extended", "upgrade", "payments:admin")
    assert sentence(event) == "Upgrade gave the role payments:admin the permission audit.erase_personal"
    extend_roles()
    assert Event.objects.count() == 1, "once"


def test_migrate_gives_roles_what_a_new_version_adds_on_pools(cast: Cast) -> None:
    """As a team that is there before ``reveal_payload`` is: on each of its pools, and on nobody else's."""
    payments, refunds = make.pool(cast.payments), make.pool(cast.payments, "refunds")
    make.pool(cast.elsewhere, "hidden")
    PoolGroupPermission.objects.filter(permission__codename=REVEAL, group__name__startswith="payments:").delete()
    before = PoolGroupPermission.objects.count()
    call_command("migrate", verbosity=0)
    may = {
        user.username
        for user in (cast.alice, cast.bob, cast.vera, cast.otto, cast.ada)
        if can(actor(user), REVEAL, refunds)
    }
    assert may == {"alice", "bob", "ada"} and can(actor(cast.bob), REVEAL, payments)
    assert not can(actor(cast.charlie), REVEAL, payments)
    assert PoolGroupPermission.objects.count() == before + 2 * 3
    said = {event.target_name: (sentence(event), event.detail["pools"]) for event in Event.objects.all()}
    assert said.keys() == {"payments:oncall", "payments:operator", "payments:admin"}
    assert said["payments:oncall"] == ("Upgrade gave the role payments:oncall the permission reveal_payload", 2)
    extend_roles()
    assert Event.objects.count() == 3, "once"


def test_groups_that_are_no_roles_are_left_alone(cast: Cast) -> None:
    for name in ("admin", "payments:bosses", "Staff"):
        Group.objects.create(name=name)
    extend_roles()
    assert not Event.objects.exists() and held("Staff") == held("admin") == held("payments:bosses") == set()


def test_only_administrators_erase_and_auditors_only_read() -> None:
    assert [role for role, names in GLOBAL_GRANTS.items() if "audit.erase_personal" in names] == ["admin"]
    assert (ROLE_GRANTS["auditor"], GLOBAL_GRANTS["auditor"]) == ((VIEW,), ("audit.view_event",))


def test_a_database_is_migrated_step_by_step(tmp_path: Path) -> None:
    """Whatever is migrated first, the hook after ``migrate`` finds its tables or leaves them alone."""
    environ = clean_environ(tmp_path, DJANGO_SETTINGS_MODULE="controlplane.settings", **own_database())
    for step in (["contenttypes"], ["audit", "0001"], ["pools", "0001"], []):
        command = [sys.executable, "manage.py", "migrate", "--verbosity=0", *step]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
