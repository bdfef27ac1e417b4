"""Moving dead letters to another queue of the same broker: a requeue that changes where they run."""

from typing import Unpack

from audit.actor import Actor
from audit.operation import operation
from pools.models import Operation, OperationKind
from pools.operations.dead_letters import How, create_operation
from pools.operations.errors import Refused
from pools.operations.selection import Selection, select
from pools.permissions import REQUEUE, require
from pools.selectors.queues import Target, target_of


@operation("operation.move_started")
def move_create(
    *,
    actor: Actor,
    selection: Selection,
    to_queue: str,
    reason: str,
    **how: Unpack[How],
) -> Operation:
    """Freeze the open dead letters of ``selection`` and send them to the queue ``to_queue`` of their broker.

    It takes the right to requeue where they are and where they go. Raises ``Denied``, ``Refused``, ``Conflict``.
    """
    to = _target(actor, selection, to_queue.strip())
    require(actor, REQUEUE, to.pool)
    return create_operation(actor, OperationKind.MOVE, selection, reason, to=to, **how)


def _target(actor: Actor, selection: Selection, name: str) -> Target:
    if not name:
        raise Refused("to_queue", "Say to which queue. Nothing was changed.")
    found = select(actor, selection, OperationKind.MOVE).letters.order_by()
    broker = found.values_list("pool__broker", flat=True).first()
    to = target_of(actor, broker or "default", name)
    if to is None:
        raise Refused("to_queue", f"No pool that you see on their broker has a queue {name!r}. Nothing was changed.")
    if broker and not found.exclude(queue=name).exists():
        raise Refused("to_queue", f"They are in {name!r} already: requeue them. Nothing was changed.")
    return to
