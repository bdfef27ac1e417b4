"""Writes the exports that people asked for, one after the other. Runs in the controller.

1. the oldest one that waits, or was under way when its controller ended, is written to a draft from the start
2. the draft is synced and renamed to ``POOLWARDEN_HOME/exports/<uid>``
3. its row and its event are stored in one transaction; ended before that, all of it is done again

A file goes after a week, or when personal values that it may hold were erased since; the row stays.
"""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO

import structlog
from django.conf import settings
from django.db import transaction
from django.utils import timezone

from audit import export_files, proofs
from audit.actor import Actor, system_actor
from audit.bundle import Written
from audit.export_files import Wanted
from audit.files import sync_folder
from audit.models import Event, Export, ExportKind, ExportState, Outcome
from audit.recorder import record
from audit.selectors import Filters
from audit.target import Target

KEPT = timedelta(days=7)
CHECKPOINT_WITHIN = timedelta(seconds=60)
"""How long a bundle waits for a checkpoint over all that was there when it was asked for."""

log = structlog.get_logger(__name__)


class Exporter:
    def tick(self) -> bool:
        """Write one export; True when there was one. Raises DatabaseError."""
        _remove_old()
        unfinished = Export.objects.filter(state__in=(ExportState.RUNNING, ExportState.WAITING))
        export = unfinished.order_by("pk").first()
        if export is None or not self._is_ready(export):
            return False
        try:
            written = self._write(export)
        except (ValueError, LookupError, OSError) as error:
            log.error("export.failed", export=export.pk, error=str(error))
            _fail(export, str(error))
            return True
        _finish(export, written)
        return True

    def _is_ready(self, export: Export) -> bool:
        """A bundle waits for a checkpoint over the event of its request, though not for ever."""
        if export.kind != ExportKind.BUNDLE or timezone.now() - export.created_at > CHECKPOINT_WITHIN:
            return True
        return Event.objects.filter(placed__index=proofs.newest_size() - 1, at__gte=export.created_at).exists()

    def _write(self, export: Export) -> Written:
        wanted = Wanted(
            kind=export.kind,
            filters=Filters.from_dict(export.filters),
            personal=bool(export.filters.get("personal")),
            size=proofs.newest_size() if export.kind == ExportKind.BUNDLE else proofs.stored(),
        )
        row = Export.objects.filter(pk=export.pk)
        row.update(state=ExportState.RUNNING, total=wanted.count(), written=0)

        def progress(written: int) -> None:
            row.update(written=written)

        _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_file(path_of(export), wanted, progress)


def write_file(path: Path, wanted: Wanted, progress: Callable[[int], None]) -> Written:
    """Write an export: ``path`` is there whole, and survives a power cut, or it is not there. Readable by its owner
    only. Raises ValueError, LookupError, OSError."""
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    try:
        with open_new(draft) as out:
            written = export_files.write(out, wanted, progress)
            out.flush()
            os.fsync(out.fileno())
        draft.rename(path)
    finally:
        draft.unlink(missing_ok=True)
    sync_folder(path.parent)
    return written


def open_new(path: Path) -> BinaryIO:
    """A file that must not exist yet, mode 0600. Raises OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb", 1 << 20)


def path_of(export: Export) -> Path:
    return _folder() / str(export.uid)


def is_kept(export: Export) -> bool:
    """Can its file be fetched, on this host?"""
    return export.state == ExportState.DONE and path_of(export).is_file()


def target_of(export: Export) -> Target:
    return Target(kind="export", id=str(export.uid), name=f"export {export.pk}")


def record_written(actor: Actor, target: Target, kind: str, written: Written, reason: str = "") -> None:
    """The event of an export that is there."""
    detail = {"kind": kind, "events": written.events, "bytes": written.bytes, "sha256": written.sha256}
    record(actor=actor, action="audit.exported", target=target, reason=reason, detail=detail)


def _folder() -> Path:
    home: Path = settings.POOLWARDEN_HOME
    return home / "exports"


def _finish(export: Export, written: Written) -> None:
    with transaction.atomic():
        Export.objects.filter(pk=export.pk).update(
            state=ExportState.DONE,
            total=written.events,
            written=written.events,
            size_bytes=written.bytes,
            sha256=written.sha256,
            ended_at=timezone.now(),
        )
        record_written(system_actor("controller"), target_of(export), export.kind, written)


def _fail(export: Export, why: str) -> None:
    with transaction.atomic():
        Export.objects.filter(pk=export.pk).update(state=ExportState.FAILED, error=why, ended_at=timezone.now())
        record(
            actor=system_actor("controller"),
            action="audit.exported",
            target=target_of(export),
            outcome="failed",
            detail={"kind": export.kind, "why": why[:1000]},
        )


def _remove_old() -> None:
    """Remove every file that is not that of an export which may still be fetched."""
    if not _folder().is_dir():
        return
    files = list(_folder().iterdir())
    if not files:
        return
    erased = Event.objects.filter(action="audit.personal_erased", outcome=Outcome.DONE).order_by("-id").first()
    done = Export.objects.filter(state=ExportState.DONE, ended_at__gt=timezone.now() - KEPT)
    kept = {
        str(export.uid)
        for export in done
        if not (export.filters.get("personal") and erased and export.created_at <= erased.at)
    }
    for path in files:
        if path.name not in kept:
            path.unlink(missing_ok=True)
