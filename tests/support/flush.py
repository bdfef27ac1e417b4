"""What transactional tests need to live with append-only tables."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from django.db import connection, transaction

import audit.immutability
import pools.immutability
from audit.authorizer import suspended

PROTECTED = (audit.immutability, pools.immutability)


def allow_flush() -> None:
    """Let the test runner's flush empty the protected tables; call it once a test process (again is harmless).

    A transactional test ends with a flush of all tables, which their triggers rightly refuse. Only that flush is
    let through: it runs without the triggers, which are back before its transaction ends.
    """
    if "execute_sql_flush" in vars(connection.ops):
        return
    flush = connection.ops.execute_sql_flush

    def execute_sql_flush(sql_list: Sequence[Any]) -> None:
        with suspended(), transaction.atomic(), connection.cursor() as cursor:
            editor: Any = SimpleNamespace(connection=connection, execute=cursor.execute)
            for protection in PROTECTED:
                protection.remove(None, editor)
            flush(sql_list)
            for protection in PROTECTED:
                protection.install(None, editor)

    connection.ops.execute_sql_flush = execute_sql_flush
