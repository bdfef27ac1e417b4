"""A second person's word on an operation that waits for it."""

from django.utils import timezone

from audit.actor import Actor
from audit.operation import operation
from pools.models import Approval, Operation, OperationKind, Pool
from pools.operations.base import clean_reason
from pools.operations.dead_letters import PERMISSIONS, frozen_ids
from pools.operations.errors import Conflict, Refused
from pools.operations.limits import LAPSES_AFTER
from pools.operations.moves import change_state
from pools.permissions import APPROVE_OPERATIONS, can, require
from pools.selectors.approvals import limited_pools

HOURS = int(LAPSES_AFTER.total_seconds() // 3600)


@operation("operation.approved")
def operation_approve(*, actor: Actor, operation: Operation, reason: str, ids_sha256: str = "") -> Operation:
    """Say yes, which starts it. ``ids_sha256``: the digest of the frozen set that the approver saw.

    Raises ``Denied``, ``Refused``, ``Conflict``.
    """
    row, pools = _judged(actor, operation)
    reason = clean_reason(reason)
    if ids_sha256 and ids_sha256 != row.ids_sha256:
        raise Conflict(f"Operation {row.pk} is not the set that you saw. Nothing was changed.")
    if frozen_ids(row) != (row.frozen_count, row.ids_sha256):
        raise Refused("", f"The frozen set of operation {row.pk} is not what it was. Decline it. Nothing was changed.")
    requester = Actor(kind="user", id=str(row.created_by_id), name=row.actor_name, user=row.created_by)
    for pool in pools:
        if not can(requester, PERMISSIONS[OperationKind(row.kind)], pool):
            raise Refused("", f"{row.actor_name} may no longer do this on {pool.slug}. Nothing was changed.")
    about = {"frozen": row.frozen_count, "ids_sha256": row.ids_sha256, "asked_by": row.actor_name}
    return change_state(actor, row, pools, "approve", "operation.approved", reason, **about)


@operation("operation.declined")
def operation_decline(*, actor: Actor, operation: Operation, reason: str) -> Operation:
    """Say no: nothing is sent, and all of it stays among the dead letters. Raises ``Denied``, ``Refused``."""
    row, pools = _judged(actor, operation)
    asked_by = row.actor_name
    return change_state(actor, row, pools, "decline", "operation.declined", clean_reason(reason), asked_by=asked_by)


@operation("operation.lapsed")
def operation_lapse(*, actor: Actor, operation: Operation) -> Operation:
    """Cancel what nobody decided about in time. For the controller. Raises ``Refused``."""
    row = _locked(operation)
    if row.approval.lapses_at > timezone.now():
        raise Refused("", f"Operation {row.pk} has time until {row.approval.lapses_at:%c}. Nothing was changed.")
    return change_state(actor, row, list(row.pools.all()), "lapse", "operation.lapsed", "", hours=HOURS)


def _judged(actor: Actor, operation: Operation) -> tuple[Operation, list[Pool]]:
    """The row, locked and fresh, and its pools, for somebody who may decide about it."""
    row = _locked(operation)
    for pool in limited_pools(row):
        require(actor, APPROVE_OPERATIONS, pool)
    if actor.user is None or actor.user.pk == row.created_by_id:
        raise Refused("", f"Operation {row.pk} needs the word of another person than who asked. Nothing was changed.")
    return row, list(row.pools.all())


def _locked(operation: Operation) -> Operation:
    row = Operation.objects.select_for_update().get(pk=operation.pk)
    if not Approval.objects.filter(operation=row).exists():
        raise Refused("", f"Operation {row.pk} needs no approval. Nothing was changed.")
    return row
