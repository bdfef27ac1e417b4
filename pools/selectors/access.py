"""Who may do what: roles, what they hold, people. Everybody sees their own; only who manages roles sees all people."""

from collections import defaultdict
from dataclasses import dataclass

from django.contrib.auth.models import User

from audit.actor import Actor
from pools.models import Pool, PoolGroupPermission
from pools.permissions import GLOBAL_GRANTS, ROLE_GRANTS, can_globally, visible_pools

MANAGE = "auth.change_group"

# What each permission lets somebody do, in the order of the table.
MEANINGS = {
    "view_pool": "see a pool and all that belongs to it",
    "requeue_dead_letters": "requeue dead letters, decide about failure groups",
    "discard_dead_letters": "discard, quarantine, archive and restore dead letters",
    "reveal_payload": "see what a job was called with, for a while and with a reason",
    "control_pool": "pause, resume and drain",
    "scale_pool": "change the number of workers",
    "change_config": "change a pool and publish config versions",
    "approve_config": "approve config versions (kept for approval by a second person)",
    "approve_operations": "approve what others ask to do with more dead letters than one person may decide about",
    "pools.add_pool": "make pools",
    "pools.change_secretreference": "edit secret references",
    "pools.change_notificationchannel": "say who is told of failures, and how",
    "audit.view_event": "read the audit log",
    "audit.erase_personal": "erase personal values from the audit log",
    "auth.change_group": "give and take roles",
}


# The same in a word, for a row of a table.
IN_SHORT = {
    "view_pool": "see",
    "requeue_dead_letters": "requeue",
    "discard_dead_letters": "discard",
    "reveal_payload": "reveal",
    "control_pool": "pause, resume, drain",
    "scale_pool": "scale",
    "change_config": "change config",
    "approve_config": "approve config",
    "approve_operations": "approve operations",
}


@dataclass(frozen=True)
class PermissionLine:
    """One row of the table: ``held`` says for each role of ``ROLE_GRANTS`` whether it has the permission."""

    permission: str
    meaning: str
    held: list[tuple[str, bool]]


@dataclass(frozen=True)
class Role:
    """``<team>:<role>``, taken apart."""

    group: str

    @property
    def team(self) -> str:
        return self.group.partition(":")[0]

    @property
    def name(self) -> str:
        return self.group.partition(":")[2]


@dataclass(frozen=True)
class PoolAccess:
    """``mine``: what the actor may do; ``grants``: group → what it may do. Words of ``IN_SHORT``."""

    pool: Pool
    mine: list[str]
    grants: dict[str, list[str]]


@dataclass(frozen=True)
class Person:
    user: User
    roles: list[Role]


def permission_table() -> list[PermissionLine]:
    return [
        PermissionLine(name, meaning, [(role, name in ROLE_GRANTS[role] + GLOBAL_GRANTS[role]) for role in ROLE_GRANTS])
        for name, meaning in MEANINGS.items()
    ]


def my_roles(actor: Actor) -> list[Role]:
    names = actor.user.groups.order_by("name").values_list("name", flat=True) if actor.user else []
    return [Role(name) for name in names if ":" in name]


def pool_access(actor: Actor) -> list[PoolAccess]:
    """Every visible pool with its grants, in two queries."""
    pools = list(visible_pools(actor))
    held: defaultdict[int, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    rows = PoolGroupPermission.objects.filter(content_object__in=pools).order_by("group__name")
    for pool_id, group, name in rows.values_list("content_object_id", "group__name", "permission__codename"):
        held[pool_id][group].append(name)
    groups = {role.group for role in my_roles(actor)}
    return [
        PoolAccess(
            pool,
            mine=[word for name, word in IN_SHORT.items() if any(name in held[pool.pk][group] for group in groups)],
            grants={
                group: [word for name, word in IN_SHORT.items() if name in names]
                for group, names in held[pool.pk].items()
            },
        )
        for pool in pools
    ]


def people(actor: Actor) -> list[Person] | None:
    """All accounts with their roles, for whoever manages roles; None for everybody else."""
    if not can_globally(actor, MANAGE):
        return None
    users = User.objects.filter(is_active=True).order_by("username").prefetch_related("groups")
    return [Person(user, sorted(_roles(user), key=lambda role: role.group)) for user in users]


def _roles(user: User) -> list[Role]:
    return [Role(group.name) for group in user.groups.all() if ":" in group.name]
