"""Statements of somebody who wants another past. None may do anything to the log."""

from datetime import UTC, datetime

from audit.checkpointer import Checkpointer
from audit.models import Checkpoint, Cosignature, Event, Node
from tests.audit.cast import LOG_KEY, happened, logged

EVENT_COLUMNS = ", ".join(f'"{field.column}"' for field in Event._meta.concrete_fields)
_REPLACED = EVENT_COLUMNS.replace('"actor_name"', "'Mallory'")
_SAME_UID = _REPLACED.replace('"id"', "id + 100")
_LEAF = 'audit_leaf ("index", event_id, hash)'

EVERYWHERE = [
    "UPDATE audit_event SET actor_name = 'Mallory'",
    "UPDATE audit_event SET leaf = leaf",
    "UPDATE audit_event SET id = id + 100",
    "DELETE FROM audit_event",
    "DELETE FROM audit_event WHERE id IN (SELECT event_id FROM audit_leaf)",
    "UPDATE audit_leaf SET hash = hash",
    'UPDATE audit_leaf SET "index" = "index" + 1',
    "UPDATE audit_leaf SET event_id = event_id",
    "DELETE FROM audit_leaf",
    'DELETE FROM audit_leaf WHERE "index" = (SELECT MAX("index") FROM audit_leaf)',
    f'INSERT INTO {_LEAF} SELECT "index", event_id, hash FROM audit_leaf',
    f'INSERT INTO {_LEAF} SELECT "index" + 1, event_id, hash FROM audit_leaf',
    f"INSERT INTO audit_event ({EVENT_COLUMNS}) SELECT {_REPLACED} FROM audit_event",
    "DELETE FROM audit_pending",
    "UPDATE audit_pending SET event_id = event_id",
    "UPDATE audit_node SET hash = hash",
    "DELETE FROM audit_node",
    "UPDATE audit_checkpoint SET size = size + 1",
    "DELETE FROM audit_checkpoint",
    "UPDATE audit_cosignature SET line = line",
    "DELETE FROM audit_cosignature",
    "UPDATE audit_personal SET value = 'other'",
]
"""What triggers refuse."""
SQLITE = [
    f"INSERT OR REPLACE INTO audit_event ({EVENT_COLUMNS}) SELECT {_REPLACED} FROM audit_event",
    f"REPLACE INTO audit_event ({EVENT_COLUMNS}) SELECT {_REPLACED} FROM audit_event",
    f"INSERT OR REPLACE INTO audit_event ({EVENT_COLUMNS}) SELECT {_SAME_UID} FROM audit_event",
    f"INSERT INTO audit_event ({EVENT_COLUMNS}) SELECT {_REPLACED} FROM audit_event WHERE true "
    "ON CONFLICT (id) DO UPDATE SET actor_name = 'Mallory'",
    f"INSERT OR REPLACE INTO {_LEAF} SELECT \"index\", event_id, x'00' FROM audit_leaf",
    f'INSERT OR REPLACE INTO {_LEAF} SELECT "index" + 9, event_id, hash FROM audit_leaf',
    "INSERT OR REPLACE INTO audit_checkpoint SELECT size, x'00', note, at FROM audit_checkpoint",
    "INSERT OR REPLACE INTO audit_personal SELECT id, field, salt, 'other', event_id FROM audit_personal",
    "UPDATE OR REPLACE audit_event SET id = 1",
    "UPDATE OR IGNORE audit_leaf SET hash = x'00'",
]
POSTGRESQL = [
    "TRUNCATE audit_event CASCADE",
    "TRUNCATE audit_leaf",
    "TRUNCATE audit_pending",
    "TRUNCATE audit_event, audit_leaf, audit_pending RESTART IDENTITY CASCADE",
    "UPDATE audit_event SET actor_name = 'Mallory' WHERE false",
    "SET LOCAL session_replication_role = replica; DELETE FROM audit_leaf",
    "SET LOCAL session_replication_role = replica; TRUNCATE audit_leaf",
    "WITH gone AS (DELETE FROM audit_leaf RETURNING *) SELECT * FROM gone",
    f"INSERT INTO audit_event ({EVENT_COLUMNS}) OVERRIDING SYSTEM VALUE SELECT {EVENT_COLUMNS} FROM audit_event "
    "ON CONFLICT (id) DO UPDATE SET actor_name = 'Mallory'",
    "MERGE INTO audit_event e USING audit_leaf l ON e.id = l.event_id WHEN MATCHED THEN DELETE",
    "MERGE INTO audit_leaf l USING audit_event e ON e.id = l.event_id WHEN MATCHED THEN UPDATE SET hash = ''",
    # Another table under a familiar name, for the trigger's function to look into.
    "CREATE TEMP TABLE audit_leaf AS SELECT event_id FROM audit_pending; DELETE FROM public.audit_pending",
]

SQLITE_SCHEMA = [
    "DROP TABLE audit_event",
    "DROP TABLE audit_pending",
    "DROP TRIGGER audit_event_no_update",
    "DROP TRIGGER audit_leaf_no_delete",
    "DROP TRIGGER config_version_no_change",
    "DROP INDEX audit_event_actor",
    "ALTER TABLE audit_event RENAME TO other",
    "ALTER TABLE audit_event DROP COLUMN reason",
    "ALTER TABLE audit_event RENAME COLUMN reason TO why",
    "ALTER TABLE audit_leaf ADD COLUMN more TEXT",
    "PRAGMA writable_schema = 1",
    "PRAGMA writable_schema(on)",
    "PRAGMA main.writable_schema = ON",
    "PRAGMA schema_version = 1",
    "PRAGMA journal_mode = OFF",
    "UPDATE sqlite_master SET sql = '' WHERE type = 'trigger'",
    "DELETE FROM sqlite_master WHERE type = 'trigger'",
    "DELETE FROM sqlite_sequence",
    "UPDATE sqlite_sequence SET seq = 0 WHERE name = 'audit_event'",
    "ATTACH DATABASE ':memory:' AS other",
    "ATTACH DATABASE 'file:other?mode=memory' AS other",
    "CREATE TRIGGER lose BEFORE INSERT ON audit_event BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TEMP TRIGGER lose BEFORE INSERT ON main.audit_event BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TEMP TRIGGER lose BEFORE DELETE ON main.audit_leaf BEGIN SELECT RAISE(IGNORE); END",
    "CREATE TEMP TABLE audit_leaf (event_id)",
    "CREATE TEMP VIEW audit_event AS SELECT 1 AS id",
    "CREATE TABLE other AS SELECT * FROM audit_event",
    "CREATE VIRTUAL TABLE other USING fts5(a)",
    "SELECT load_extension('/tmp/other.so')",
    "WITH gone AS (SELECT 1) DELETE FROM audit_leaf",
]
"""What the authorizer refuses, with the triggers out of the way or not."""
POSTGRESQL_ROLE = [
    "DROP TABLE audit_event CASCADE",
    "DROP TRIGGER audit_event_append_only ON audit_event",
    "DROP FUNCTION audit_refuse() CASCADE",
    "CREATE OR REPLACE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "ALTER FUNCTION audit_refuse() RENAME TO other",
    "ALTER TABLE audit_event DISABLE TRIGGER ALL",
    "ALTER TABLE audit_event DISABLE TRIGGER audit_event_append_only",
    "ALTER TABLE audit_event ENABLE REPLICA TRIGGER audit_event_append_only",
    "ALTER TABLE audit_event DROP COLUMN reason",
    "ALTER TABLE audit_event OWNER TO CURRENT_USER",
    "ALTER TABLE audit_event RENAME TO other",
    "SET session_replication_role = replica",
    "SELECT set_config('session_replication_role', 'replica', false)",
    "SET ROLE {owner}",
    "SET SESSION AUTHORIZATION {owner}",
    "CREATE RULE lose AS ON INSERT TO audit_event DO INSTEAD NOTHING",
    "CREATE TRIGGER lose BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
    "CREATE TABLE more () INHERITS (audit_event)",
    "CREATE TABLE public.other (id int)",
    "LOCK TABLE audit_leaf IN ACCESS EXCLUSIVE MODE",
    "COPY audit_event FROM PROGRAM 'true'",
    "COPY audit_event TO PROGRAM 'cat > /tmp/other'",
    f"INSERT INTO audit_event ({EVENT_COLUMNS}) OVERRIDING SYSTEM VALUE SELECT {_SAME_UID} FROM audit_event",
    "SELECT setval('audit_event_id_seq', 1)",
    "UPDATE pg_trigger SET tgenabled = 'D'",
    "DELETE FROM pg_trigger",
    "UPDATE django_migrations SET name = 'other'",
    "SELECT * FROM audit_event FOR UPDATE",
    "DO $$ BEGIN DELETE FROM audit_event; END $$",
    "PREPARE other AS DELETE FROM audit_leaf; EXECUTE other",
    "REINDEX TABLE audit_event",
    "CLUSTER audit_event USING audit_event_at",
]
"""What the application's role lacks the right for."""


def prepare() -> None:
    """Something in every table that must stay as it is."""
    logged(reason="the past")
    happened(reason="not yet in the log")
    Node.objects.create(level=8, index=0, hash=bytes(32))
    Checkpointer(LOG_KEY, [], [], interval=0).tick()
    checkpoint = Checkpoint.objects.get()
    Cosignature.objects.create(checkpoint=checkpoint, witness="w", line="line", at=datetime.now(UTC))
