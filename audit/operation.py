"""How every operation is written, here and in the rooms above.

An operation is a keyword-only function that takes the actor first. ``@operation`` opens one transaction around it;
inside, it locks its row, checks the permission, changes the state and records the event. When the check fails, the
transaction is rolled back and the denial is recorded in one of its own.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import transaction

from audit.actor import Actor
from audit.permissions import Denied
from audit.recorder import REASON_LIMIT, record_denied

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
                given = str(kwargs.get("reason") or kwargs.get("message") or "")
                note = functools.partial(
                    record_denied,
                    actor=actor,
                    action=action,
                    target=denied.target,
                    permission=denied.permission,
                    reason=given[:REASON_LIMIT].replace("\x00", ""),
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
