"""``manage.py audit_export --out FILE``: writes the log, or a part of it, to a file that proves itself."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.http import QueryDict

from audit import exporter, proofs
from audit.actor import system_actor
from audit.export_files import Wanted
from audit.forms import FilterForm
from audit.models import ExportKind
from audit.recorder import record
from audit.target import Target

FILTERS = ("action", "actor", "target", "pool", "outcome", "since", "until", "q")
ACTOR = system_actor("command-line")


class Command(BaseCommand):
    help = "Write the audit log, or the part that the filters match, as a bundle that audit.verify checks offline."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--out", required=True, type=Path, help="the file to write; one that is there is replaced")
        parser.add_argument("--kind", choices=ExportKind.values, default=ExportKind.BUNDLE.value)
        parser.add_argument("--personal", action="store_true", help="with the personal values that are not erased")
        for name in FILTERS:
            parser.add_argument(f"--{name}", default="", help="as on the timeline")

    def handle(self, *args: Any, out: Path, kind: str, personal: bool, **options: Any) -> None:
        given = QueryDict(mutable=True)
        given.update({name: options[name] for name in FILTERS if options[name]})
        form = FilterForm(given)
        if not form.is_valid():
            field, errors = next(iter(form.errors.items()))
            raise CommandError(f"--{field}: {errors[0]}")
        size = proofs.newest_size() if kind == ExportKind.BUNDLE else proofs.stored()
        wanted = Wanted(kind, form.filters(), personal, size)
        target = Target(kind="export", id="", name=out.name)
        with transaction.atomic():
            detail = {"kind": kind, "personal": personal, "filters": wanted.filters.as_dict()}
            record(actor=ACTOR, action="audit.export_requested", target=target, outcome="intent", detail=detail)
        try:
            written = exporter.write_file(out.absolute(), wanted, lambda events: None)
        except (ValueError, LookupError) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"--out: cannot write {out}: {error.strerror}") from error
        with transaction.atomic():
            exporter.record_written(ACTOR, target, kind, written)
        self.stdout.write(f"{out}: {written.events:,} events, {written.bytes:,} bytes, SHA-256 {written.sha256}")
