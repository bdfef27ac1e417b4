"""The index by which a job is found by the words of its failure. A migration installs it, for each database its own.

SQLite keeps an FTS5 table beside the dead letters by triggers, which it forgets when a migration rebuilds the table:
such a migration ends with ``install``. PostgreSQL has a GIN index over the words as they are, so nothing of its
languages or parsers comes in.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "pools_deadletter"
INDEX = "pools_deadletter_words"
VECTOR = "array_to_tsvector(string_to_array(words, ' '))"

_FORGET = f"INSERT INTO {INDEX} ({INDEX}, rowid, words) VALUES ('delete', OLD.id, OLD.words);"  # noqa: S608
_LEARN = f"INSERT INTO {INDEX} (rowid, words) VALUES (NEW.id, NEW.words);"  # noqa: S608


def install_statements(vendor: str) -> list[str]:
    """For ``sqlite`` or ``postgresql``; what is in the table already is indexed too."""
    if vendor != "sqlite":
        return [f"CREATE INDEX {INDEX} ON {TABLE} USING gin ({VECTOR}) WHERE words <> ''"]
    return [
        f"CREATE VIRTUAL TABLE {INDEX} USING fts5"
        f" (words, content='{TABLE}', content_rowid='id', detail=none, columnsize=0,"  # nothing is ranked, no phrases
        " tokenize='unicode61 remove_diacritics 0')",
        f"INSERT INTO {INDEX} (rowid, words) SELECT id, words FROM {TABLE} WHERE words <> ''",  # noqa: S608
        f"CREATE TRIGGER dead_letter_words_new AFTER INSERT ON {TABLE} WHEN NEW.words <> '' BEGIN {_LEARN} END",
        f"CREATE TRIGGER dead_letter_words_gone AFTER DELETE ON {TABLE} WHEN OLD.words <> '' BEGIN {_FORGET} END",
        f"CREATE TRIGGER dead_letter_words_old BEFORE UPDATE OF words ON {TABLE}"
        f" WHEN OLD.words <> '' AND NEW.words <> OLD.words BEGIN {_FORGET} END",
        f"CREATE TRIGGER dead_letter_words_changed AFTER UPDATE OF words ON {TABLE}"
        f" WHEN NEW.words <> '' AND NEW.words <> OLD.words BEGIN {_LEARN} END",
    ]


def remove_statements(vendor: str) -> list[str]:
    """What undoes ``install_statements``."""
    if vendor != "sqlite":
        return [f"DROP INDEX IF EXISTS {INDEX}"]
    triggers = ("new", "gone", "old", "changed")
    return [
        *(f"DROP TRIGGER IF EXISTS dead_letter_words_{name}" for name in triggers),
        f"DROP TABLE IF EXISTS {INDEX}",
    ]


def install(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: (re-)install the index."""
    vendor = schema_editor.connection.vendor
    for statement in remove_statements(vendor) + install_statements(vendor):
        schema_editor.execute(statement, params=None)


def remove(apps: object, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """For ``RunPython``: the way back."""
    for statement in remove_statements(schema_editor.connection.vendor):
        schema_editor.execute(statement, params=None)
