"""What one person may do alone: an operation above a pool's limit waits until a second person has decided."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from audit.actor import Actor
from pools.models import Approval, Decision, Operation, OperationState, Pool
from pools.selectors.approvals import jobs_by_pool, needs_of

LAPSES_AFTER = timedelta(hours=24)
DECISIONS = {
    "approve": Decision.APPROVED,
    "decline": Decision.DECLINED,
    "cancel": Decision.WITHDRAWN,
    "lapse": Decision.LAPSED,
}
"""By the verb that leads out of waiting."""


def await_approval(row: Operation) -> list[dict[str, Any]]:
    """Let a frozen operation wait if it, with what the same person did lately, crosses a pool's limit; why, by pool.

    The pools' rows are locked: of two operations that are made at once, the second counts the first.
    """
    pools = list(Pool.objects.select_for_update().filter(operations=row).order_by("pk"))
    if not any(pool.has_limit for pool in pools):
        return []
    needed = [need.as_json() for need in needs_of(row.created_by, pools, jobs_by_pool(row.items.all()), besides=row)]
    if needed:
        row.state = OperationState.AWAITING
        Approval.objects.create(operation=row, needed=needed, lapses_at=timezone.now() + LAPSES_AFTER)
    return needed


def decide(row: Operation, verb: str, actor: Actor, reason: str) -> None:
    """Write down who led the operation out of waiting, and why."""
    approval = row.approval
    approval.decision, approval.reason = DECISIONS[verb], reason
    approval.decided_by, approval.actor_name = actor.user, actor.label
    approval.decided_at = timezone.now()
    approval.save()
