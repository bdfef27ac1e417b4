"""What the database's owner can do, whom no trigger stops."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from django.db import connection
from django.db.backends.utils import CursorWrapper

from audit import immutability
from audit.authorizer import suspended


@contextmanager
def owner() -> Iterator[CursorWrapper]:
    """A cursor with the log's triggers away; afterwards they are back."""
    with suspended(), connection.cursor() as cursor:
        _settle(cursor)
        editor: Any = SimpleNamespace(connection=connection, execute=cursor.execute)
        immutability.remove(None, editor)
        yield cursor
        _settle(cursor)
        immutability.install(None, editor)


def tamper(statement: str) -> None:
    """Run ``statement`` as the owner."""
    with owner() as cursor:
        cursor.execute(statement)


def _settle(cursor: CursorWrapper) -> None:
    """What is still to be checked at the end of a transaction forbids ALTER TABLE."""
    if connection.vendor == "postgresql":
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
