"""``python -m audit.verify BUNDLE --key FILE``: check a bundle of the audit log, offline.

Exit code 0: verified. 1: not verified; the first line says why. 2: the command or a file that it names is unusable.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from audit.checkpoint import COSIGNATURE, ED25519, MAX_BYTES, NoteError, VerifierKey
from audit.verifier import Report, verify

KEY_FILE_LIMIT = 64 * 1024


class Unusable(Exception):
    """A file that the command line names cannot be used. The message is one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        keys = _keys(given.key, ED25519)
        witnesses = _keys(given.witness, COSIGNATURE) if given.witness else []
        since = _notes(given.since) if given.since else iter(())
        with given.bundle.open("rb") as stream:
            report = verify(stream, keys, witnesses, since)
    except Unusable as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"Cannot read {error.filename or given.bundle}: {error.strerror}.\n")
        return 2
    sys.stdout.write(f"{json.dumps(asdict(report), indent=2)}\n" if given.json else _words(report))
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit.verify",
        description="Check a bundle of the audit log. Needs no network and no database.",
        epilog="Exit code 0: verified; 1: not verified; 2: the command or a file cannot be used.",
    )
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the bundle, as audit_export wrote it")
    parser.add_argument(
        "--key",
        metavar="FILE",
        type=Path,
        required=True,
        help="the log's verifier keys, one a line; any may have signed",
    )
    parser.add_argument("--witness", metavar="FILE", type=Path, help="witnesses' verifier keys; one must have cosigned")
    parser.add_argument(
        "--since",
        metavar="FILE",
        type=Path,
        help="a checkpoint kept from earlier, or a file of them as an anchor keeps",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _keys(path: Path, kind: int) -> list[VerifierKey]:
    """The verifier keys in a file, one a line; empty lines and those that begin with # are passed over."""
    with path.open("rb") as file:
        lines = file.read(KEY_FILE_LIMIT).decode(errors="replace").splitlines()
    try:
        keys = {VerifierKey.parse(line): None for line in lines if line.strip() and not line.startswith("#")}
    except NoteError as error:
        raise Unusable(f"{path} holds no verifier key: {error}") from None
    if not keys:
        raise Unusable(f"{path} holds no verifier key.")
    if wrong := [key.name for key in keys if key.kind != kind]:
        whose = "the log's key" if kind == ED25519 else "a witness's key"
        raise Unusable(f"{path}: the key {wrong[0]} is not {whose}.")
    return list(keys)


def _notes(path: Path) -> Iterator[bytes]:
    """The note in a file, or the notes of an anchor's file: one a line, as JSON strings."""
    with path.open("rb") as file:
        if file.read(1) != b'"':
            file.seek(0)
            yield file.read(MAX_BYTES + 1)
            return
        file.seek(0)
        found = False
        for line in file:
            # Half a line is what a crash left; the anchor wrote the note again.
            with suppress(AttributeError, ValueError):
                yield json.loads(line).encode()
                found = True
    if not found:
        raise Unusable(f"{path} holds no checkpoint.")


def _words(report: Report) -> str:
    lines = [f"{'verified' if report.ok else 'NOT VERIFIED'}: {report.sentence}"]
    first, last = report.first_bad, report.first_bad_at_most
    if first is not None:
        lines.append(f"first bad index: {first if first == last else f'from {first} to {last}'}")
    if report.size:
        lines.append(f"checkpoint: {report.size:,} events, root {report.root}")
    lines += [f"cosigned by {name} at {_time(at)}" for name, at in report.cosigned.items()]
    if report.since:
        lines.append(f"continues the kept checkpoint over {report.since:,} events")
    return "".join(f"{line}\n" for line in [*lines, *report.notes])


def _time(at: int) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"Unix time {at}"


if __name__ == "__main__":
    sys.exit(main())
