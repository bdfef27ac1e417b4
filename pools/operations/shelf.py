"""Setting dead letters aside, and bringing them back."""

from typing import Unpack

from audit.actor import Actor, system_actor
from audit.operation import operation
from pools.models import Operation, OperationKind, OperationState, Pool
from pools.operations.dead_letters import How, create_operation
from pools.operations.errors import Refused
from pools.operations.moves import locked_operation
from pools.operations.selection import Selection
from pools.selectors.phrases import counted
from pools.selectors.shelf import LEAVES

STILL_SENDING = (OperationState.FROZEN, OperationState.RUNNING)


@operation("operation.quarantine_started")
def quarantine_create(*, actor: Actor, selection: Selection, reason: str, **how: Unpack[How]) -> Operation:
    """Freeze the open dead letters of ``selection`` and keep them apart until somebody restores or discards them.

    As ``requeue_create``.
    """
    return create_operation(actor, OperationKind.QUARANTINE, selection, reason, **how)


def guard_quarantine(pool: Pool) -> Operation | None:
    """Quarantine what the pool's workers refused to run, or else what came back from as many requeues as it allows.

    None when all of that was handled meanwhile.
    """
    times = counted(pool.poison_after, "requeue")
    causes = {
        "Refused by the pool's workers": Selection(refused_of=pool),
        f"Came back with the same failure after {times}": Selection(poison_of=pool),
    }
    for reason, selection in causes.items():
        try:
            return quarantine_create(actor=system_actor("controller"), selection=selection, reason=reason)
        except Refused:
            continue
    return None


@operation("operation.archive_started")
def archive_create(*, actor: Actor, selection: Selection, reason: str, **how: Unpack[How]) -> Operation:
    """Freeze the open dead letters of ``selection`` and keep them beyond their failure TTL. As ``requeue_create``."""
    return create_operation(actor, OperationKind.ARCHIVE, selection, reason, **how)


@operation("operation.restore_started")
def restore_create(*, actor: Actor, selection: Selection, reason: str, **how: Unpack[How]) -> Operation:
    """Freeze what of ``selection`` lies in trash, quarantine or archive and make it dead letters again.

    As ``requeue_create``.
    """
    return create_operation(actor, OperationKind.RESTORE, selection, reason, **how)


@operation("operation.restore_started")
def operation_undo(*, actor: Actor, operation: Operation, reason: str) -> Operation:
    """Restore what a discard, a quarantine or an archive took away and still can be restored: a new operation.

    Raises ``Denied``, ``Refused``.
    """
    row, _ = locked_operation(actor, operation)
    if row.kind not in LEAVES:
        raise Refused("", "Only a discard, a quarantine or an archive can be undone. Nothing was changed.")
    if row.state in STILL_SENDING:
        raise Refused("", f"Operation {row.pk} is not over: pause or cancel it first. Nothing was changed.")
    return create_operation(actor, OperationKind.RESTORE, Selection(shelved_by=row), reason)
