"""The index by which a job is found by the words of its failure. A migration installs it, for each database its own.

Both keep it beside the dead letters by triggers: an index of their own table would be written whenever one of them
changes its state. SQLite has an FTS5 table, and forgets the triggers when a migration rebuilds the dead letters: such a
migration ends with ``install``. PostgreSQL has a table with a GIN index over the words as they are, so nothing of its
languages or parsers comes in.
"""

from django.db.backends.base.schema import BaseDatabaseSchemaEditor

TABLE = "pools_deadletter"
INDEX = "pools_deadletter_words"

_FORGET = f"INSERT INTO {INDEX} ({INDEX}, rowid, words) VALUES ('delete', OLD.id, OLD.words);"  # noqa: S608
_LEARN = f"INSERT INTO {INDEX} (rowid, words) VALUES (NEW.id, NEW.words);"  # noqa: S608


_VECTOR = "array_to_tsvector(string_to_array({}, ' '))"


def _trigger(name: str, event: str, each: str, body: str) -> list[str]:
    return [
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$",
        f"CREATE TRIGGER {name} AFTER {event} ON {TABLE} {each} EXECUTE FUNCTION {name}()",
    ]


def _sqlite() -> list[str]:
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


def _postgresql() -> list[str]:
    learn = f"INSERT INTO {INDEX} (id, words) SELECT id, {_VECTOR.format('words')} FROM {{}} WHERE words <> '';"  # noqa: S608
    forget = f"DELETE FROM {INDEX} WHERE id = OLD.id;"  # noqa: S608
    again = f"INSERT INTO {INDEX} (id, words) VALUES (NEW.id, {_VECTOR.format('NEW.words')});"  # noqa: S608
    return [
        f"CREATE TABLE {INDEX} (id bigint PRIMARY KEY, words tsvector NOT NULL)",
        learn.format(TABLE),
        f"CREATE INDEX {INDEX}_gin ON {INDEX} USING gin (words)",
        *_trigger(
            "dead_letter_words_new", "INSERT", "REFERENCING NEW TABLE AS made FOR EACH STATEMENT", learn.format("made")
        ),
        *_trigger("dead_letter_words_gone", "DELETE", "FOR EACH ROW WHEN (OLD.words <> '')", forget),
        *_trigger(
            "dead_letter_words_changed",
            "UPDATE OF words",
            "FOR EACH ROW WHEN (NEW.words <> OLD.words)",
            f"{forget} IF NEW.words <> '' THEN {again} END IF;",
        ),
        *_trigger("dead_letter_words_all_gone", "TRUNCATE", "FOR EACH STATEMENT", f"TRUNCATE {INDEX};"),
    ]


def install_statements(vendor: str) -> list[str]:
    """For ``sqlite`` or ``postgresql``; what is in the table already is indexed too."""
    return _sqlite() if vendor == "sqlite" else _postgresql()


def remove_statements(vendor: str) -> list[str]:
    """What undoes ``install_statements``."""
    if vendor == "sqlite":
        triggers = ("new", "gone", "old", "changed")
        return [
            *(f"DROP TRIGGER IF EXISTS dead_letter_words_{name}" for name in triggers),
            f"DROP TABLE IF EXISTS {INDEX}",
        ]
    triggers = ("new", "gone", "changed", "all_gone")
    return [
        *(f"DROP FUNCTION IF EXISTS dead_letter_words_{name} CASCADE" for name in triggers),  # and its trigger
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
