"""Who holds which role."""

from django.contrib.auth.models import User

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from audit.target import Target
from pools.models import Team
from pools.operations.base import clean_reason
from pools.operations.errors import Refused
from pools.permissions import ROLE_GRANTS, require_globally, role_group

MANAGE = "auth.change_group"


@operation("access.role_granted")
def access_grant_role(*, actor: Actor, user: User, team: Team, role: str, reason: str) -> None:
    """Give ``user`` a role in a team. Raises ``Denied``, ``Refused``."""
    _change(actor, user, team, role, reason, grant=True)


@operation("access.role_revoked")
def access_revoke_role(*, actor: Actor, user: User, team: Team, role: str, reason: str) -> None:
    """Take a role away. The last administrator keeps theirs."""
    _change(actor, user, team, role, reason, grant=False)


def _change(actor: Actor, user: User, team: Team, role: str, reason: str, *, grant: bool) -> None:
    require_globally(actor, MANAGE)
    reason = clean_reason(reason)
    if role not in ROLE_GRANTS:
        raise Refused("role", f"There is no role {role!r}. Nothing was changed.")
    group = role_group(team, role)
    before = sorted(user.groups.values_list("name", flat=True))
    if (group.name in before) == grant:
        state = "holds" if grant else "does not hold"
        raise Refused("role", f"{user.get_username()} {state} {group.name}. Nothing was changed.")
    if not grant and role == "admin" and _administrators() <= {user.pk}:
        raise Refused("role", "This is the last administrator. Nothing was changed.")
    (user.groups.add if grant else user.groups.remove)(group)
    record(
        actor=actor,
        action="access.role_granted" if grant else "access.role_revoked",
        target=Target(kind="user", id=str(user.pk), name=user.get_username()),
        before={"roles": before},
        after={"roles": sorted(user.groups.values_list("name", flat=True))},
        reason=reason,
        detail={"role": group.name},
    )


def _administrators() -> set[int]:
    holders = User.objects.filter(is_active=True, groups__permissions__codename="change_group")
    return set(holders.values_list("pk", flat=True))
