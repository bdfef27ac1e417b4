"""What an export's file holds: a bundle that proves itself, CSV, or JSON lines. Streams, a slice at a time."""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import chain
from typing import Any

from django.db.models import Max, Min, Prefetch, QuerySet
from django.utils import timezone

from audit import proofs
from audit.bundle import (
    About,
    BundleError,
    Disclosed,
    Out,
    SizedNote,
    StoredLeaf,
    Written,
    thinned,
    write_log,
    write_part,
)
from audit.checkpoint import Note
from audit.merkle import consistency_proof, inclusion_proof
from audit.models import Checkpoint, Event, ExportKind, Leaf, Personal
from audit.plain import plain
from audit.recorder import rfc3339
from audit.selectors import Filters, matching
from controlplane.wording import cell

SLICE = 1_000
"""Places in the log that are read at once."""
OLDER = 64
"""Older checkpoints from which a part proves that the log only grew."""
CSV_COLUMNS = (
    *("index", "at", "actor_kind", "actor", "action", "target_kind", "target", "pool", "outcome", "sentence", "reason"),
    *("request_id", "address", "session", "before", "after", "detail", "leaf_hash"),
)

_NOT_SHOWN = {"address": "", "session": ""}

type Progress = Callable[[int], None]
"""Told, slice by slice, how many events are written."""


@dataclass(frozen=True)
class Wanted:
    """``size``: how much of the log is looked through. For a bundle it is that of a checkpoint."""

    kind: str
    filters: Filters
    personal: bool
    size: int

    @property
    def whole(self) -> bool:
        return self.filters == Filters()

    def count(self) -> int:
        return self.size if self.whole else matching(self.filters, self.size).count()


def write(out: Out, wanted: Wanted, progress: Progress) -> Written:
    """Raises LookupError when leaves are missing, so that a proof cannot be given, and ValueError when there is no
    checkpoint (BundleError), or when what is stored cannot be read."""
    if wanted.kind == ExportKind.CSV:
        rows = (_csv_line(_row(event, personal=wanted.personal)) for event in _events(wanted, progress))
        return _write_lines(out, _csv_line(CSV_COLUMNS), rows)
    if wanted.kind == ExportKind.JSONL:
        return _write_lines(out, "", (_json_line(event, wanted.personal) for event in _events(wanted, progress)))
    return _write_log(out, wanted, progress) if wanted.whole else _write_part(out, wanted, progress)


def _write_log(out: Out, wanted: Wanted, progress: Progress) -> Written:
    kept = thinned(list(_covered(wanted.size).values_list("size", flat=True)))
    notes = [_sized(row) for row in _covered(wanted.size).filter(size__in=kept).prefetch_related("cosignatures")]
    return write_log(out, _about(notes), notes, _leaves(wanted, progress))


def _write_part(out: Out, wanted: Wanted, progress: Progress) -> Written:
    if not wanted.size:
        raise BundleError("There is no checkpoint yet, and without one a bundle proves nothing.")
    newest = _sized(Checkpoint.objects.prefetch_related("cosignatures").get(size=wanted.size))
    older = thinned(list(_covered(wanted.size - 1).values_list("size", flat=True)), OLDER)
    blocks = proofs.Blocks()
    return write_part(
        out,
        _about([newest]),
        newest,
        ((leaf, inclusion_proof(leaf.index, wanted.size, blocks.read)) for leaf in _leaves(wanted, progress)),
        filters=wanted.filters.as_dict(),
        consistency=((size, consistency_proof(size, wanted.size, blocks.read)) for size in older),
    )


def _covered(size: int) -> QuerySet[Checkpoint]:
    return Checkpoint.objects.filter(size__lte=size).order_by("size")


def _sized(row: Checkpoint) -> SizedNote:
    return SizedNote(row.size, proofs.full_note(row).encode())


def _about(notes: list[SizedNote]) -> About:
    origin = Note.parse(notes[-1].note).text.partition("\n")[0] if notes else ""
    key = next((str(key) for key in proofs.known_keys() if key.name == origin), "")
    return About(origin, key, timezone.now())


def _leaves(wanted: Wanted, progress: Progress) -> Iterator[StoredLeaf]:
    written = 0
    for part in _slices(wanted, matching(wanted.filters, wanted.size)):
        rows = list(part.values_list("placed__index", "leaf", "placed__hash", "pk"))
        opened = _disclosed([row[3] for row in rows]) if wanted.personal else {}
        for index, leaf, hashed, pk in rows:
            yield StoredLeaf(index, bytes(leaf), bytes(hashed), opened.get(pk, ()))
        written += len(rows)
        progress(written)


def _disclosed(events: list[int]) -> dict[int, list[Disclosed]]:
    found: dict[int, list[Disclosed]] = {}
    for row in Personal.objects.filter(event__in=events).order_by("event", "field"):
        found.setdefault(row.event_id, []).append(Disclosed(row.field, bytes(row.salt), row.value))
    return found


def _events(wanted: Wanted, progress: Progress) -> Iterator[Event]:
    """Ascending by index. Without ``personal`` each looks as if all of its personal values were erased."""
    values = Personal.objects.all() if wanted.personal else Personal.objects.none()
    found = matching(wanted.filters, wanted.size).prefetch_related(Prefetch("personal", values))
    written = 0
    for part in _slices(wanted, found):
        for event in part:
            written += 1
            yield event
        progress(written)


def _slices(wanted: Wanted, found: QuerySet[Event]) -> Iterator[QuerySet[Event]]:
    """``found`` in the order of the log. Bounds on the ids let one index serve both the filter and the slice."""
    for begin in range(0, wanted.size, SLICE):
        places = {"index__gte": begin, "index__lt": begin + SLICE}
        bounds = Leaf.objects.filter(**places).aggregate(low=Min("event_id"), high=Max("event_id"))
        if bounds["low"] is not None:
            part = found.filter(id__gte=bounds["low"], id__lte=bounds["high"])
            yield part.filter(placed__index__gte=begin, placed__index__lt=begin + SLICE).order_by("placed__index")


def _json_line(event: Event, personal: bool) -> str:
    fields = plain(event) | {"at": rfc3339(event.at), "id": str(event.uid)}
    return json.dumps(fields if personal else fields | _NOT_SHOWN, ensure_ascii=False) + "\n"


def _csv_line(values: Sequence[Any]) -> str:
    line = StringIO()
    csv.writer(line).writerow([cell(value) for value in values])
    return line.getvalue()


def _row(event: Event, *, personal: bool) -> list[Any]:
    fields = plain(event) | ({} if personal else _NOT_SHOWN)
    told = [fields["index"], rfc3339(event.at), event.actor_kind, event.actor_name, event.action, event.target_kind]
    told += [fields["target"]["name"], event.pool, event.outcome, fields["sentence"], event.reason, event.request_id]
    told += [fields["address"], fields["session"]]
    told += [json.dumps(fields[name], ensure_ascii=False) for name in ("before", "after", "detail")]
    return [*told, fields["leaf_hash"]]


def _write_lines(out: Out, head: str, events: Iterator[str]) -> Written:
    digest, size, count = hashlib.sha256(), 0, -1
    for line in chain([head], events):
        content = line.encode()
        digest.update(content)
        size, count = size + len(content), count + 1
        out.write(content)
    return Written(count, size, digest.hexdigest())
