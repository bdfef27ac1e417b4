"""``python -m tests.audit.export_run EVENTS``: an installation of its own whose exporter is killed mid-way.

The parent fills the log, asks for a bundle and starts an exporter in a child process; once the export's row says that
part of it is written, the child gets SIGKILL. A second exporter then finishes. Prints JSON: what the row and the files
looked like after the kill and at the end.
"""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

HOME = tempfile.mkdtemp(prefix="poolwarden-export-")
os.environ |= {"POOLWARDEN_HOME": HOME, "POOLWARDEN_LOG_LEVEL": "CRITICAL", "POOLWARDEN_ENV": "test"}
os.environ.setdefault("POOLWARDEN_DATABASE_URL", f"sqlite:///{HOME}/log.sqlite3")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")

import django

django.setup()

from django.core.management import call_command
from django.db import connection, transaction

from audit import export_files, operations
from audit.actor import system_actor
from audit.exporter import Exporter, path_of
from audit.models import Export
from audit.selectors import Filters
from audit.sequencer import Sequencer
from audit.verifier import verify
from tests.audit.cast import happened
from tests.audit.signing import KEY, checkpointed
from tests.support.waiting import wait_for


def main(events: int) -> None:
    call_command("migrate", verbosity=0)
    with transaction.atomic():
        for number in range(events):
            happened(reason=f"number {number}")
    export = operations.request_export(
        actor=system_actor("test"), kind="bundle", filters=Filters(), personal=True, reason="the audit"
    )
    while Sequencer().tick():
        pass
    checkpointed()
    export_files.SLICE = 5
    connection.close()
    child = os.fork()
    if not child:
        Exporter().tick()
        os._exit(0)
    wait_for(lambda: Export.objects.get().written > 0, timeout=60, every=0.001, message="part of the export is written")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    killed = told(export)
    Exporter().tick()
    report = verify(path_of(export).open("rb"), [KEY.verifier])
    print(json.dumps({"killed": killed, "done": told(export), "ok": report.ok, "events": report.events}))


def told(export: Export) -> dict[str, object]:
    export.refresh_from_db()
    files = sorted(path.name.replace(str(export.uid), "uid") for path in Path(HOME, "exports").iterdir())
    return {"state": export.state, "written": export.written, "total": export.total, "files": files}


if __name__ == "__main__":
    main(int(sys.argv[1]))
