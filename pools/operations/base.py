"""What operations share. How one is written is in ``audit.operation``; what reaches the broker goes to the outbox."""

from audit.actor import Actor
from audit.recorder import REASON_LIMIT
from pools.models import OutboxMessage, Pool
from pools.operations.errors import Conflict, Refused
from pools.permissions import visible_pools


def locked(actor: Actor, pool: Pool) -> Pool:
    """The pool's row, locked and fresh. Raises ``Pool.DoesNotExist`` for a pool that the actor may not see."""
    visible = visible_pools(actor).filter(pk=pool.pk).values("pk")
    return Pool.objects.select_for_update(of=("self",)).select_related("team").get(pk__in=visible)


def clean_reason(reason: str, field: str = "reason") -> str:
    """The reason without surrounding blanks. Raises ``Refused`` when it is missing or too long."""
    reason = reason.strip()
    if not reason:
        raise Refused(field, f"Say why: the {field} goes into the audit log. Nothing was changed.")
    if len(reason) > REASON_LIMIT:
        raise Refused(
            field, f"The {field} has {len(reason):,} characters; at most {REASON_LIMIT:,} fit. Nothing was changed."
        )
    if "\x00" in reason:
        raise Refused(field, f"The {field} contains a NUL character. Nothing was changed.")
    return reason


def expect(current: int, expected: int | None, what: str) -> None:
    """Raise ``Conflict`` unless the caller acted on what is still true. ``None``: the caller does not mind."""
    if expected is not None and expected != current:
        raise Conflict(f"{what} has changed since you looked: it is now at {current}. Nothing was changed.", current)


def append_outbox(kind: str, key: str, *, broker: str) -> None:
    OutboxMessage.objects.create(kind=kind, key=key, broker=broker)
