"""What an operation's page shows while it waits for a second person, and afterwards."""

from dataclasses import replace
from typing import Any

from audit.actor import Actor
from pools.models import Approval, DeadLetter, Operation, OperationKind, OperationState
from pools.permissions import APPROVE_OPERATIONS, can
from pools.selectors.approvals import approvers_of, limited_pools, need_phrase
from pools.selectors.phrases import names
from pools.selectors.triage import preview_of, right
from pools.selectors.warnings import warnings, warnings_elsewhere

UNSENT = (OperationState.AWAITING, OperationState.FROZEN)


def approval_context(actor: Actor, row: Operation) -> dict[str, Any]:
    """The frozen set by error, task, age and pool as long as nothing of it is sent; who may decide, or who did."""
    shown: dict[str, Any] = {}
    if row.state in UNSENT:
        frozen = preview_of(DeadLetter.objects.filter(operation_items__operation=row))
        # What is poison was skipped when the set was frozen, or named by whoever froze it.
        shown["frozen"] = replace(frozen, poison=0)
        shown["warnings"] = warnings(OperationKind(row.kind), shown["frozen"], None)
        shown["warnings"] += warnings_elsewhere(frozen, [row.to_pool] if row.to_pool else [])
    approval = Approval.objects.filter(operation=row).first()
    if approval is None:
        return shown
    pools = limited_pools(row)
    lacking = [pool.slug for pool in pools if not can(actor, APPROVE_OPERATIONS, pool)]
    return shown | {
        "approval": approval,
        "needed": [need_phrase(need) for need in approval.needed],
        "is_own": actor.user is not None and actor.user.pk == row.created_by_id,
        "approvers": names(approvers_of(pools, besides=row.created_by)),
        "approve_right": right(APPROVE_OPERATIONS, allowed=not lacking),
        "approve_lacking": names(lacking),
    }
