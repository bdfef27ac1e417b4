"""SQLite: which statements a connection of ours may prepare at all.

A trigger refuses what it sees; this refuses what could get past the triggers: a change of the schema, of which
protected tables are, of SQLite's own tables, and another file that is attached under a familiar name. SQLite asks once
for each column when a statement is prepared, so this is kept short. Migrations run without it.

SQLite asks too whether it may update ``sqlite_master``, when a connection first meets a virtual table: that is allowed
here. A statement that tries it fails, for the connection is a defensive one, and no pragma changes that.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from audit.immutability import ERASABLE, KEPT

_HARMLESS = {
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_INSERT,
    sqlite3.SQLITE_TRANSACTION,
    sqlite3.SQLITE_SAVEPOINT,
    sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_ANALYZE,
    sqlite3.SQLITE_REINDEX,
}
_NOT_UPDATED = {*KEPT, *ERASABLE, "audit_pending"}
_NOT_DELETED = set(KEPT)
_NOT_SET = {"writable_schema", "schema_version", "journal_mode", "synchronous", "trusted_schema"}
_NOT_CALLED = {"load_extension", "fts3_tokenizer"}
_suspended: set[str] = set()


def suspend(alias: str) -> None:
    """Let the connections ``alias`` of this process do everything, until ``resume``."""
    _suspended.add(alias)


def resume(alias: str) -> None:
    _suspended.discard(alias)


@contextmanager
def suspended(alias: str = "default") -> Iterator[None]:
    """``suspend`` and ``resume``."""
    suspend(alias)
    try:
        yield
    finally:
        resume(alias)


def install(connection: Any) -> None:
    """Put the authorizer on a new connection (a Django wrapper); nothing to do for another database."""
    if connection.vendor == "sqlite":
        connection.connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
        connection.connection.set_authorizer(_authorizer(connection.alias))


def _authorizer(alias: str) -> Callable[..., int]:
    def authorize(action: int, first: str | None, second: str | None, schema: str | None, origin: str | None) -> int:
        if action in _HARMLESS or alias in _suspended or _allowed(action, first or "", second):
            return sqlite3.SQLITE_OK
        return sqlite3.SQLITE_DENY

    return authorize


def _allowed(action: int, first: str, second: str | None) -> bool:
    """``first`` and ``second`` as SQLite's documentation of each action has them: a table and a column, and so on."""
    name = first.lower()
    if action == sqlite3.SQLITE_UPDATE:
        return name == "sqlite_master" or (name not in _NOT_UPDATED and not name.startswith("sqlite_"))
    if action == sqlite3.SQLITE_DELETE:
        return name not in _NOT_DELETED and not name.startswith("sqlite_")
    if action == sqlite3.SQLITE_PRAGMA:
        return second is None or name not in _NOT_SET
    if action == sqlite3.SQLITE_FUNCTION:
        return (second or "").lower() not in _NOT_CALLED
    return False  # whatever makes, alters or drops a thing, and ATTACH
