"""Where checkpoints go so that the database's owner cannot take them back: a file, a folder, a witness.

An anchor keeps notes and hands out the newest; what a note says is for its reader to check. A witness keeps no note for
us: it signs one when the tree has only grown since the last one that it saw.
"""

import base64
import fcntl
import json
import os
import time
import urllib.request
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import IO, Protocol, Self

from audit.checkpoint import COSIGNATURE, MAX_BYTES, Checkpoint, Note, NoteError, VerifierKey
from audit.files import sync_folder, write_all

SIZE_TYPE = "text/x.tlog.size"
ANSWER_LIMIT = 64 * 1024
TIMEOUT = 10.0
LINE_LIMIT = 4 * MAX_BYTES
_TAIL = 64 * 1024


class AnchorError(Exception):
    """An anchor or a witness did not do its part. The message is one sentence for a person."""


class SizeDiffers(AnchorError):
    """The witness last saw a tree of ``size`` leaves: ask again with a proof from there."""

    def __init__(self, name: str, size: int) -> None:
        super().__init__(f"The witness {name} last saw the log with {size:,} events.")
        self.size = size


class Inconsistent(AnchorError):
    """The witness says that the log does not continue what it saw before. That is an alarm, not a fault to retry."""


class Anchor(Protocol):
    """A place for checkpoints. Both methods raise AnchorError."""

    @property
    def name(self) -> str:
        """What people call it, such as ``file /srv/anchors/checkpoints``."""

    def newest(self) -> bytes | None:
        """The newest note; None when there is none yet."""

    def put(self, note: bytes, size: int) -> None:
        """Keep the note over ``size`` leaves; it is on the disk when this returns. The same note twice is one. An older
        one than the newest comes too late: it is refused, or is no newest."""


class FileAnchor:
    """A file that only grows: one note a line, written as a JSON string.

    The host may hold it append-only (``chattr +a``): nothing here rewrites or shortens it. A crash can leave half a
    line at the end, which is no JSON string and so passed over; the next note begins on a line of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"file {path}"

    def newest(self) -> bytes | None:
        try:
            with self.path.open("rb") as file:
                return self._newest(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AnchorError(f"Cannot read {self.path}: {error.strerror}.") from error

    def put(self, note: bytes, size: int) -> None:
        line = json.dumps(note.decode(), ensure_ascii=False).encode() + b"\n"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            with os.fdopen(descriptor, "rb") as file:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                held = self._newest(file)
                if held == note:
                    return
                if held is not None and (more := _size_in(held)) > size:
                    raise AnchorError(f"{self.path} already holds a checkpoint over {more:,} events.")
                write_all(descriptor, (b"\n" if _is_torn(file) else b"") + line)
            sync_folder(self.path.parent)
        except OSError as error:
            raise AnchorError(f"Cannot write to {self.path}: {error.strerror}.") from error

    def _newest(self, file: IO[bytes]) -> bytes | None:
        whole = False
        for line in _from_the_end(file):
            if line.endswith(b"\n"):
                whole = True
                if note := _note_of(line):
                    return note
        if whole:
            raise AnchorError(f"{self.path} holds no checkpoint that can be read.")
        return None


class DirectoryAnchor:
    """A folder with one file a note, named by size. It may be a mounted object store: no file is ever replaced.

    A crash can leave a file cut short; it is passed over, and finished when the note is put again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = f"folder {path}"

    def newest(self) -> bytes | None:
        try:
            names = [entry.name for entry in os.scandir(self.path) if entry.name.endswith(".checkpoint")]
            for name in sorted(names, reverse=True):
                note = (self.path / name).read_bytes()
                if _is_note(note):
                    return note
        except FileNotFoundError:
            return None
        except OSError as error:
            raise AnchorError(f"Cannot read {self.path}: {error.strerror}.") from error
        return None

    def put(self, note: bytes, size: int) -> None:
        path = self.path / f"{size:020d}.checkpoint"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            rest = note if self._is_new(path) else self._missing(path, note)
            if rest:
                descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
                try:
                    write_all(descriptor, rest)
                finally:
                    os.close(descriptor)
            sync_folder(self.path)
        except OSError as error:
            raise AnchorError(f"Cannot write {path}: {error.strerror}.") from error

    def _is_new(self, path: Path) -> bool:
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
        except FileExistsError:
            return False
        return True

    def _missing(self, path: Path, note: bytes) -> bytes:
        """What a crash kept from the file."""
        found = path.read_bytes()
        if not note.startswith(found):
            raise AnchorError(f"{path} already holds another checkpoint of that size.")
        return note[len(found) :]


class WitnessClient:
    """Asks one witness to cosign (C2SP tlog-witness). Follows no redirect, waits ``timeout`` seconds for an answer."""

    def __init__(self, url: str, vkey: str, *, timeout: float = TIMEOUT) -> None:
        """``url`` is what ``/add-checkpoint`` is appended to. Raises NoteError for another kind of key or URL."""
        if not url.startswith(("http://", "https://")):
            raise NoteError("A witness's URL begins with http:// or https://.")
        self.key = VerifierKey.parse(vkey)
        if self.key.kind != COSIGNATURE:
            raise NoteError(f"The key of the witness {self.key.name} is not one for cosignatures.")
        self.name = self.key.name
        self.url = f"{url.rstrip('/')}/add-checkpoint"
        self.timeout = timeout
        self._opener = urllib.request.build_opener(_EveryAnswer)

    @classmethod
    def parse(cls, text: str) -> Self:
        """A witness from ``url|vkey``, as it is written in a setting. Raises NoteError."""
        url, _, vkey = text.strip().partition("|")
        return cls(url, vkey)

    def cosign(self, note: bytes, old_size: int, proof: Sequence[bytes]) -> str:
        """The witness's signature line over the note (it ends in a newline), checked with its key.

        ``proof`` shows that the note's tree continues the one of ``old_size`` leaves, the last that the witness saw;
        it is empty for 0. Raises SizeDiffers when it saw another size, Inconsistent, and AnchorError.
        """
        status, kind, body = self._post(add_checkpoint_body(note, old_size, proof))
        if status == 200:
            return self._line(note, body)
        if status == 409 and kind == SIZE_TYPE and (size := _size(body)) is not None and size != old_size:
            raise SizeDiffers(self.name, size)
        if status in (409, 422):
            raise Inconsistent(f"The witness {self.name} saw another history of this log ({status}).")
        reason = {403: "does not know the key that signed", 404: "does not know this log"}.get(status, "refused")
        raise AnchorError(f"The witness {self.name} {reason} ({status}).")

    def _post(self, body: bytes) -> tuple[int, str, bytes]:
        deadline = time.monotonic() + self.timeout
        request = urllib.request.Request(self.url, body, {"Content-Type": "text/plain"}, method="POST")  # noqa: S310
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                return answer.status, answer.headers.get_content_type(), self._read(answer, deadline)
        except (OSError, HTTPException) as error:
            raise AnchorError(
                f"The witness {self.name} cannot be reached: {getattr(error, 'reason', error)}."
            ) from error

    def _read(self, answer: HTTPResponse, deadline: float) -> bytes:
        """A peer that sends a byte now and then must not hold the log up."""
        body = b""
        while part := answer.read1(ANSWER_LIMIT):
            body += part
            if len(body) > ANSWER_LIMIT or time.monotonic() > deadline:
                raise AnchorError(f"The witness {self.name} answers without end.")
        return body

    def _line(self, note: bytes, lines: bytes) -> str:
        try:
            for line in lines.decode().split("\n")[:-1]:
                signed = Note.parse(note + f"{line}\n".encode()).signed_by([self.key])
                if self.key in signed:
                    datetime.fromtimestamp(signed[self.key], UTC)  # a time that there is
                    return f"{line}\n"
        except (ValueError, OverflowError, OSError) as error:
            raise AnchorError(f"The witness {self.name} answered with a bad cosignature: {error}") from error
        raise AnchorError(f"The witness {self.name} answered without its cosignature.")


def add_checkpoint_body(note: bytes, old_size: int, proof: Sequence[bytes]) -> bytes:
    """The request of tlog-witness: the old size, the proof's hashes (32 bytes each), an empty line, the note."""
    lines = [f"old {old_size}", *(base64.b64encode(hashed).decode() for hashed in proof), "", ""]
    return "\n".join(lines).encode() + note


class _EveryAnswer(urllib.request.HTTPErrorProcessor):
    """Statuses are ours to read. So no redirect is followed: the URL is the one in the config and no other."""

    def http_response(self, request: urllib.request.Request, response: HTTPResponse) -> HTTPResponse:
        return response

    https_response = http_response


def _from_the_end(file: IO[bytes]) -> Iterator[bytes]:
    """The file's lines, the last one first. Reads no more of a long file than it must."""
    end = file.seek(0, os.SEEK_END)
    rest = b""
    while end:
        begin = max(0, end - _TAIL)
        file.seek(begin)
        lines = (file.read(end - begin) + rest).splitlines(keepends=True)
        rest = lines.pop(0) if begin else b""
        if len(rest) > LINE_LIMIT:
            raise AnchorError(
                f"{file.name} is not a file of checkpoints: it has a line of more than {LINE_LIMIT:,} bytes."
            )
        yield from reversed(lines)
        end = begin


def _is_torn(file: IO[bytes]) -> bool:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(0, end - 1))
    return file.read(1) not in (b"", b"\n")


def _note_of(line: bytes) -> bytes | None:
    try:
        text = json.loads(line)
        note = text.encode() if isinstance(text, str) else b""
    except ValueError:
        return None
    return note if _is_note(note) else None


def _size_in(note: bytes) -> int:
    try:
        return Checkpoint.parse(Note.parse(note).text).size
    except NoteError:
        return 0


def _is_note(raw: bytes) -> bool:
    try:
        Note.parse(raw)
    except NoteError:
        return False
    return True


def _size(body: bytes) -> int | None:
    text = body.removesuffix(b"\n")
    return int(text) if text.isdigit() and len(text) < 20 else None
