"""The two rights that concern the log: reading it, and erasing personal values from it."""

from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied

from audit.actor import Actor
from audit.target import Target

VIEW = "audit.view_event"
ERASE = "audit.erase_personal"
_NEEDED_FOR = {VIEW: "Reading the audit log", ERASE: "Erasing personal values"}


LOG = Target(kind="log", id="", name="audit log")


class Denied(PermissionDenied):
    """The actor lacks ``permission`` on ``target``. The message also says who can grant it."""

    def __init__(self, permission: str, target: Target = LOG) -> None:
        super().__init__(permission)
        self.permission = permission
        self.target = target

    def __str__(self) -> str:
        return f"{_NEEDED_FOR[self.permission]} needs the permission {self.permission}. {who_can_grant()} can grant it."


def allowed(actor: Actor, permission: str) -> bool:
    return actor.kind == "system" or (actor.user is not None and bool(actor.user.has_perm(permission)))


def require(actor: Actor, permission: str) -> None:
    """Raise Denied unless the actor holds the permission."""
    if not allowed(actor, permission):
        raise Denied(permission)


def who_can_grant() -> str:
    """Names of people who can change roles: "ada or mara"."""
    granters = get_user_model().objects.with_perm(
        "auth.change_group", backend="django.contrib.auth.backends.ModelBackend"
    )
    return " or ".join(user.get_username() for user in granters.order_by("pk")[:3]) or "An administrator"
