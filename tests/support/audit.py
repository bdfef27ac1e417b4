"""What tests of other parts need to live with an append-only log."""

from collections.abc import Sequence
from typing import Any

from django.db import connection, transaction

from audit.immutability import install_statements, remove_statements


def allow_flush() -> None:
    """Let the test runner's flush empty the audit tables; call it once a test process (again is harmless).

    A transactional test ends with a flush of all tables, which the log's triggers rightly refuse. Only that flush is
    let through: it runs without the triggers, which are back before its transaction ends.
    """
    if "execute_sql_flush" in vars(connection.ops):
        return
    flush = connection.ops.execute_sql_flush

    def execute_sql_flush(sql_list: Sequence[Any]) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            for statement in remove_statements(connection.vendor):
                cursor.execute(statement)
            flush(sql_list)
            for statement in install_statements(connection.vendor):
                cursor.execute(statement)

    connection.ops.execute_sql_flush = execute_sql_flush
