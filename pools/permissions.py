"""Roles and checks. The only importer of guardian, besides the tables that hold its rows.

A role is a Django group named ``<team>:<role>``. Making a pool grants its team's roles their permissions on that pool;
a check asks for the permission on the object. Permissions that concern no single pool are model permissions: see
``GLOBAL_GRANTS``.
"""

from typing import Any

from django.contrib.auth.models import Group, Permission, User
from django.db import transaction
from django.db.models import QuerySet
from guardian.shortcuts import get_objects_for_user, get_users_with_perms

import audit.permissions
from audit.actor import Actor, system_actor
from audit.recorder import record
from audit.target import Target
from pools.models import Pool, PoolGroupPermission, Team

SITE = Target(kind="site", id="", name="Poolwarden")

VIEW, CONFIG, APPROVE = "view_pool", "change_config", "approve_config"
CONTROL, SCALE = "control_pool", "scale_pool"
REQUEUE, DISCARD = "requeue_dead_letters", "discard_dead_letters"
REVEAL = "reveal_payload"
APPROVE_OPERATIONS = "approve_operations"

# What each role may do with the pools of its team.
ROLE_GRANTS: dict[str, tuple[str, ...]] = {
    "viewer": (VIEW,),
    "oncall": (VIEW, REQUEUE, DISCARD, REVEAL, CONTROL),
    "operator": (VIEW, REQUEUE, DISCARD, REVEAL, CONTROL, SCALE, CONFIG),
    "approver": (VIEW, APPROVE, APPROVE_OPERATIONS),
    "auditor": (VIEW,),
    "admin": (VIEW, REQUEUE, DISCARD, REVEAL, CONTROL, SCALE, CONFIG, APPROVE, APPROVE_OPERATIONS),
}

# What each role may do that concerns no single pool, as ``app.codename``.
GLOBAL_GRANTS: dict[str, tuple[str, ...]] = {
    "viewer": (),
    "oncall": (),
    "operator": ("pools.add_pool", "pools.change_secretreference", "pools.change_notificationchannel"),
    "approver": (),
    "auditor": ("audit.view_event",),
    "admin": (
        "pools.add_pool",
        "pools.change_secretreference",
        "pools.change_notificationchannel",
        "audit.view_event",
        "audit.erase_personal",
        "auth.change_group",
    ),
}


class Denied(audit.permissions.Denied):
    """The actor lacks ``permission`` on ``pool`` (None: a permission that concerns no pool).

    ``target``: what of the pool it was asked for, when that is not the pool itself.
    """

    def __init__(self, permission: str, pool: Pool | None = None, target: Target | None = None) -> None:
        super().__init__(permission, target or (pool.target if pool else SITE))
        self.pool = pool

    def __str__(self) -> str:
        where = f" on {self.pool.slug}" if self.pool else ""
        who = who_can_grant()
        return f"This needs the permission {self.permission}{where}, which you do not have. {who} Nothing was changed."


def role_group(team: Team, role: str) -> Group:
    """The group of a team's role, made on first use with the permissions of ``GLOBAL_GRANTS``."""
    group, made = Group.objects.get_or_create(name=f"{team.slug}:{role}")
    if made:
        group.permissions.add(*_global_grants(role).values())
    return group


@transaction.atomic
def extend_roles() -> None:
    """Give the roles of every team what the grants above name since they were made. Runs after each ``migrate``."""
    grants = {role: _global_grants(role) for role, names in GLOBAL_GRANTS.items() if names}
    for group in Group.objects.order_by("pk").prefetch_related("permissions__content_type"):
        known = grants.get(group.name.partition(":")[2], {})
        held = {f"{row.content_type.app_label}.{row.codename}" for row in group.permissions.all()}
        missing = sorted(known.keys() - held)
        if missing:
            group.permissions.add(*(known[name] for name in missing))
            _record_extension(group, held, missing)
        _extend_on_pools(group)


def _extend_on_pools(group: Group) -> None:
    """The same for what the role may do with the pools of its team. Reads no more columns than the oldest table has."""
    team, _, role = group.name.partition(":")
    wanted = Permission.objects.filter(content_type__app_label="pools", codename__in=ROLE_GRANTS.get(role, ()))
    on_pools = PoolGroupPermission.objects.filter(group=group).values_list("content_object", "permission")
    held, named = set(on_pools), {row.pk: row.codename for row in wanted}
    pools = Pool.objects.filter(team__slug=team).order_by("pk").values_list("pk", flat=True)
    missing = [(pool, row) for pool in pools for row in named if (pool, row) not in held]
    if missing:
        PoolGroupPermission.objects.bulk_create(
            [PoolGroupPermission(content_object_id=pool, group=group, permission_id=row) for pool, row in missing]
        )
        before = {named[row] for _, row in held if row in named}
        _record_extension(group, before, sorted({named[row] for _, row in missing}), len({pool for pool, _ in missing}))


def _record_extension(group: Group, held: set[str], missing: list[str], pools: int = 0) -> None:
    """``pools``: on how many of the team's pools; 0 for permissions that concern none."""
    record(
        actor=system_actor("upgrade"),
        action="access.role_extended",
        target=Target(kind="role", id=str(group.pk), name=group.name),
        before={"permissions": sorted(held)},
        after={"permissions": sorted(held.union(missing))},
        detail={"permissions": ", ".join(missing)} | ({"pools": pools} if pools else {}),
    )


def _global_grants(role: str) -> dict[str, Permission]:
    """The model permissions of a role by name. Raises KeyError for a permission that no table has."""
    codenames = [name.partition(".")[2] for name in GLOBAL_GRANTS[role]]
    rows = Permission.objects.filter(codename__in=codenames).select_related("content_type")
    known = {f"{row.content_type.app_label}.{row.codename}": row for row in rows}
    return {name: known[name] for name in GLOBAL_GRANTS[role]}


def grant_team(pool: Pool) -> None:
    """Give the roles of the pool's team their permissions on it."""
    known = {row.codename: row for row in Permission.objects.filter(content_type__app_label="pools")}
    groups = {role: role_group(pool.team, role) for role in ROLE_GRANTS}
    PoolGroupPermission.objects.bulk_create(
        [
            PoolGroupPermission(content_object=pool, group=groups[role], permission=known[codename])
            for role, codenames in ROLE_GRANTS.items()
            for codename in codenames
        ],
        ignore_conflicts=True,
    )


def can(actor: Actor, permission: str, pool: Pool) -> bool:
    return actor.user is not None and actor.user.is_active and bool(actor.user.has_perm(f"pools.{permission}", pool))


def can_globally(actor: Actor, permission: str) -> bool:
    """``permission`` is ``app.codename``."""
    return actor.user is not None and bool(actor.user.has_perm(permission))


def require(actor: Actor, permission: str, pool: Pool) -> None:
    """Raise ``Denied`` unless the actor holds the permission on the pool."""
    if actor.kind == "system":
        return
    if not can(actor, permission, pool):
        raise Denied(permission, pool)


def require_globally(actor: Actor, permission: str) -> None:
    if actor.kind == "system":
        return
    if not can_globally(actor, permission):
        raise Denied(permission)


def require_for_team(actor: Actor, permission: str, team: Team) -> None:
    """Raise ``Denied`` unless one of the actor's roles *in that team* holds the model permission (``app.codename``).

    Whoever may change roles could give themselves one in any team, and is not asked.
    """
    require_globally(actor, permission)
    if actor.kind == "system" or can_globally(actor, "auth.change_group"):
        return
    app, codename = permission.split(".")
    roles = actor.user.groups.filter(name__startswith=f"{team.slug}:")
    if not roles.filter(permissions__codename=codename, permissions__content_type__app_label=app).exists():
        raise Denied(permission)


def visible_pools(actor: Actor) -> QuerySet[Pool]:
    """The pools that the actor may see. Everything else that belongs to a pool is reached through these."""
    return pools_with(actor, VIEW)


def pools_with(actor: Actor, permission: str) -> QuerySet[Pool]:
    """The pools on which the actor holds the permission."""
    if actor.kind == "system":
        return Pool.objects.all()
    if actor.user is None:
        return Pool.objects.none()
    pools: QuerySet[Pool] = get_objects_for_user(
        actor.user, permission, klass=Pool.objects.all(), accept_global_perms=False
    )
    return pools


def people_who_see(pool: Pool) -> QuerySet[User]:
    """The active accounts that may see the pool, by name."""
    return people_with(VIEW, pool)


def people_with(permission: str, pool: Pool) -> QuerySet[User]:
    """The active accounts that hold the permission on the pool, by name."""
    found: Any = get_users_with_perms(pool, only_with_perms_in=[permission])
    people: QuerySet[User] = found.filter(is_active=True).order_by("username")
    return people


def who_can_grant() -> str:
    """A sentence that names who can change roles."""
    admins = (
        Group.objects.filter(permissions__codename="change_group", permissions__content_type__app_label="auth")
        .values_list("user__username", flat=True)
        .distinct()
    )
    names = sorted(name for name in admins if name)
    return f"{' or '.join(names[:3])} can grant it." if names else "An administrator can grant it."
