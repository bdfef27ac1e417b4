"""How every operation is written.

An operation is a keyword-only function that takes the actor first. ``@operation`` opens one transaction around it;
inside, it locks its row, checks the permission, changes the state, records the event and appends to the outbox. When
the check fails, the transaction is rolled back and the denial is recorded in one of its own.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import transaction

from audit.actor import Actor
from audit.recorder import record_denied
from audit.target import Target
from pools.models import OutboxMessage, Pool
from pools.operations.errors import Conflict, Refused
from pools.permissions import Denied, visible_pools

MAX_REASON = 2000
_denials: ContextVar[list[Callable[[], object]] | None] = ContextVar("denials", default=None)


def operation[**P, R](action: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a verb whose event is ``action``, an id registered in ``audit.actions``."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            actor = kwargs["actor"]
            assert isinstance(actor, Actor)
            try:
                with transaction.atomic():
                    return function(*args, **kwargs)
            except Denied as denied:
                note = functools.partial(
                    record_denied,
                    actor=actor,
                    action=action,
                    target=pool_target(denied.pool) if denied.pool else Target(kind="site", id="", name="Poolwarden"),
                    permission=denied.permission,
                    reason=str(kwargs.get("reason") or kwargs.get("message") or "")[:MAX_REASON],
                )
                _record_outside(note)
                raise

        return run

    return decorate


@contextmanager
def one_transaction() -> Iterator[None]:
    """Operations and what belongs to them, together or not at all. Denials are recorded after the end."""
    denials: list[Callable[[], object]] = []
    token = _denials.set(denials)
    try:
        with transaction.atomic():
            yield
    finally:
        _denials.reset(token)
        for note in denials:
            note()


def _record_outside(note: Callable[[], object]) -> None:
    """Now, or when the transaction around the operation has ended."""
    waiting = _denials.get()
    note() if waiting is None else waiting.append(note)


def pool_target(pool: Pool) -> Target:
    return Target(kind="pool", id=str(pool.uid), name=pool.slug, pool=pool.slug)


def locked(actor: Actor, pool: Pool) -> Pool:
    """The pool's row, locked and fresh. Raises ``Pool.DoesNotExist`` for a pool that the actor may not see."""
    visible = visible_pools(actor).filter(pk=pool.pk).values("pk")
    return Pool.objects.select_for_update(of=("self",)).select_related("team").get(pk__in=visible)


def clean_reason(reason: str, field: str = "reason") -> str:
    """The reason without surrounding blanks. Raises ``Refused`` when it is missing or too long."""
    reason = reason.strip()
    if not reason:
        raise Refused(field, f"Say why: the {field} goes into the audit log. Nothing was changed.")
    if len(reason) > MAX_REASON:
        raise Refused(
            field, f"The {field} has {len(reason):,} characters; at most {MAX_REASON:,} fit. Nothing was changed."
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
