"""Checks a bundle: trusts the keys it is given and the bytes of the events, nothing else. Format: ``docs/bundle.md``.

Streams in constant memory. It stops at the first thing that is wrong, and says in a sentence what it is and for which
events. Pure: bytes in, a report out. No Django, no network.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from audit.bundle import FORMAT, LOG, PART
from audit.checkpoint import VerifierKey
from audit.verifier.lines import Bad, Lines, Stream, object_in
from audit.verifier.part import read_part
from audit.verifier.trust import Older, Trust
from audit.verifier.whole import read_log

__all__ = ["Report", "verify"]

PART_NOTE = "A part proves the events in it. It cannot prove that none was left out."
_HEAD = {"created_at": str, "filters": dict, "key": str, "kind": str, "origin": str, "size": int}


@dataclass(frozen=True)
class Report:
    """What was found. ``sentence`` is for people; the rest says the same for programs.

    ``events`` were read; ``size`` and ``root`` (hex) are of the newest checkpoint that held. When ``ok`` is false, the
    first bad index lies from ``first_bad`` to ``first_bad_at_most``: equal when it is known exactly, both None when the
    trouble is with no event. ``cosigned`` gives each witness of that checkpoint the Unix time of its cosignature;
    ``since`` is the size of the newest kept checkpoint that the log was shown to continue, 0 for none.
    """

    ok: bool
    sentence: str
    first_bad: int | None
    first_bad_at_most: int | None
    kind: str
    origin: str
    events: int
    size: int
    root: str
    checkpoints: int
    since: int
    cosigned: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def verify(
    stream: Stream, keys: Sequence[VerifierKey], witnesses: Sequence[VerifierKey] = (), since: Iterable[bytes] = ()
) -> Report:
    """Read a bundle to its end, or to the first thing that is wrong.

    ``keys`` are the log's keys: any of them may have signed. With ``witnesses``, one of them must have cosigned the
    newest checkpoint. ``since`` are notes kept from earlier, ascending in size: the log must continue each of them.
    """
    run = _Run(Lines(stream), Trust(keys, witnesses))
    try:
        return run.report(run.read(since))
    except Bad as bad:
        return run.report(bad.sentence, bad)


class _Run:
    def __init__(self, lines: Lines, trust: Trust) -> None:
        self.lines = lines
        self.trust = trust
        self.kind = ""

    def read(self, since: Iterable[bytes]) -> str:
        """Returns the sentence of a bundle in which all is well. Raises Bad."""
        lines, trust = self.lines, self.trust
        if next(lines) != b"B %s\n" % FORMAT:
            raise Bad("This is not a bundle, or one of another version.")
        size = self._head(next(lines))
        older = Older(since, trust)
        read = read_log if self.kind == LOG else read_part
        end = read(lines, trust, older, size)
        older.check_all_met(trust.newest.size)
        trust.check_witnessed()
        if end != b'E {"events":%d,"sha256":"%s"}\n' % (lines.events, lines.sha256.encode()):
            raise Bad("What it proves holds, but the file is not as it was written: its SHA-256 differs.")
        lines.check_end()
        if self.kind == LOG:
            return f"The first {lines.events:,} events of the log {trust.origin} are all here, as they were recorded."
        return f"{lines.events:,} events of the log {trust.origin} are here as they were recorded."

    def _head(self, line: bytes) -> int:
        """Returns the size that the newest checkpoint shall have."""
        head = object_in(line, b"H ", _HEAD)
        self.kind, size = head["kind"], int(head["size"])
        if self.kind not in (LOG, PART):
            raise Bad(f"This is a bundle of an unknown kind: {self.kind!r}.")
        self.trust.expect(head["origin"])
        return size

    def report(self, sentence: str, bad: Bad | None = None) -> Report:
        newest = self.trust.newest
        return Report(
            ok=bad is None,
            sentence=sentence,
            first_bad=bad.first if bad else None,
            first_bad_at_most=bad.last if bad else None,
            kind=self.kind,
            origin=self.trust.origin,
            events=self.lines.events,
            size=newest.size,
            root=newest.root.hex(),
            checkpoints=self.trust.accepted,
            since=self.trust.since,
            cosigned={key.name: at for key, at in self.trust.cosigned.items()},
            notes=(PART_NOTE,) if self.kind == PART else (),
        )
