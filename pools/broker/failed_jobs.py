"""Failed jobs, read as they lie on the broker: raw fields, never a fetched job, never an unpickled payload."""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import batched
from typing import Any, NamedTuple

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.fingerprint import Fingerprint, fingerprint
from pools.broker.payload import PAYLOAD_LIMIT, RQ_CALL, called_function
from pools.broker.payload_arguments import argument_digests
from pools.broker.payload_mask import masked_arguments
from pools.broker.pipelines import Pipelines
from pools.broker.scripts import script
from pools.broker.tracebacks import parse_traceback
from pools.words import own_words

TRACEBACK_LIMIT = 1_000_000
"""Bytes to which a stored traceback is unpacked: a few kilobytes can hold gigabytes."""
READ_LIMIT = 1000
AT_ONCE, ROOM = 250, 1_000_000
"""Jobs, and about so many bytes of results, that a script reads in one go: the broker serves nobody else meanwhile."""
FAILED_RESULT = b"2"
DEAD_STATES = ("failed", "stopped", "")
NOTHING = zlib.compress(b"")
NONE_SEARCHED: Mapping[str, tuple[str, ...]] = {}

HASH_FIELDS = ["status", "origin", "description", "created_at", "enqueued_at", "started_at", "ended_at"]
HASH_FIELDS += ["worker_name", "exc_info"]


class FailedJob(NamedTuple):
    """A job as its failure left it; all text is safe for SQL and pages, times are UTC.

    ``words`` are the message's own beside the cause's title. ``arguments`` is their shape, every value masked.
    ``score`` is its place in the failed registry or None, ``packed`` the traceback as UTF-8, zlib-compressed.
    ``damaged`` says what could not be read ("": nothing). ``digests`` of those arguments that were found of the
    ``searched``.
    """

    job_id: str
    queue: str
    func: str
    exc_type: str
    message: str
    cause: Fingerprint
    words: str
    created_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    failed_at: datetime | None
    worker: str
    expires_at: datetime | None
    status: str
    score: float | None
    packed: bytes
    arguments: str
    damaged: str
    searched: tuple[str, ...]
    digests: Mapping[str, bytes]

    @property
    def traceback(self) -> str:
        """Unpacked when it is asked for: thousands that are held at a time may have a megabyte each."""
        return zlib.decompress(self.packed).decode()

    @property
    def is_dead(self) -> bool:
        """False: by its own record the job lives elsewhere, and the failed registry's entry is stale."""
        return self.status in DEAD_STATES


@dataclass(frozen=True)
class Missing:
    """The registry names a job whose record is gone, by expiry or by another tool's hand."""

    job_id: str


def read_failed(
    broker: Broker,
    ids: Sequence[str],
    queues: Mapping[str, str],
    searched: Mapping[str, tuple[str, ...]] = NONE_SEARCHED,
) -> list[FailedJob | Missing]:
    """The jobs in the order of ``ids``: a round trip for ``AT_ONCE`` of them, or fewer when their results are large,
    and one more for as many payloads: of jobs that hide their function behind a description, or have searched
    arguments.

    ``queues``: in which queue's failed registry each job lies, or may lie; ``searched``: the paths of arguments, by
    queue. Raises ValueError for more than ``READ_LIMIT`` ids.
    """
    if len(ids) > READ_LIMIT:
        raise ValueError(f"at most {READ_LIMIT} jobs at a time")
    with broker.use() as client:
        rows: list[list[Any]] = []
        seconds = micros = 0
        while len(rows) < len(ids):
            rest = ids[len(rows) : len(rows) + AT_ONCE]
            jobs = [part for job_id in rest for part in (queues[job_id], job_id)]
            args: list[str | int] = [broker.prefix, ROOM, len(HASH_FIELDS), *HASH_FIELDS, *jobs]
            (seconds, micros), *answers = script(client, "read")(args=args)
            rows += answers
        paths = [searched.get(queues[job_id], ()) for job_id in ids]
        opened = [at for at, row in enumerate(rows) if (paths[at] or _hides_function(row)) and _is_small(row)]
        payloads: dict[int, Any] = {}
        for some in batched(opened, AT_ONCE):
            found = Pipelines(client).run(("HGET", broker.rq.job(ids[at]), "data") for at in some)
            payloads |= zip(some, found, strict=True)
    now = datetime.fromtimestamp(int(seconds), UTC) + timedelta(microseconds=int(micros))
    return [_failed_job(ids[at], row, payloads.get(at), now, paths[at]) for at, row in enumerate(rows)]


def _hides_function(row: list[Any]) -> bool:
    """RQ describes a job by its call unless the producer gave a description of his own."""
    return isinstance(row[0], list) and not RQ_CALL.match(fields.text(row[0][HASH_FIELDS.index("description")]))


def _is_small(row: list[Any]) -> bool:
    return 0 < fields.count(row[-1]) <= PAYLOAD_LIMIT


def _failed_job(
    job_id: str, row: list[Any], payload: Any, now: datetime, paths: tuple[str, ...]
) -> FailedJob | Missing:
    raw, results, ttl, score, size = row
    values = dict(zip(HASH_FIELDS, raw if isinstance(raw, list) else [None] * len(HASH_FIELDS), strict=True))
    if raw == [None] * len(HASH_FIELDS) and not size:
        return Missing(job_id)
    result_id, parts = results[0] if isinstance(results, list) and results else (None, [])
    result = dict(zip(parts[::2], parts[1::2], strict=True))
    traceback, packed, torn = stored_traceback(result, values["exc_info"])
    raised, described = parse_traceback(traceback), fields.text(values["description"])
    func = called_function(described, payload)
    cause = fingerprint(func, raised.exc_type, raised.message, raised.frames)
    failed_at = fields.stream_moment(result_id) if result.get(b"type") == FAILED_RESULT else None
    expires = fields.integer(ttl)
    return FailedJob(
        job_id=job_id,
        queue=fields.text(values["origin"], 255),
        func=func,
        exc_type=raised.exc_type,
        message=raised.message,
        cause=cause,
        words=own_words(raised.message, cause.title),
        created_at=fields.moment(values["created_at"]),
        enqueued_at=fields.moment(values["enqueued_at"]),
        started_at=fields.moment(values["started_at"]),
        failed_at=failed_at or fields.moment(values["ended_at"]),
        worker=fields.text(values["worker_name"], 255),
        expires_at=now + timedelta(milliseconds=expires) if expires is not None and expires >= 0 else None,
        status=fields.text(values["status"], 20),
        score=float(score) if score else None,
        packed=packed,
        arguments=masked_arguments(described),
        damaged=_damage(raw, results, size, values) or torn,
        searched=paths,
        digests=argument_digests(payload, paths) if paths else {},
    )


def _damage(raw: Any, results: Any, size: Any, values: dict[str, Any]) -> str:
    if not isinstance(raw, list):
        return "the job's key holds something other than a job"
    if not fields.count(size):
        return "the record holds no payload"
    if not values["origin"]:
        return "the record names no queue"
    return "" if isinstance(results, list) else "the results' key holds something other than results"


def stored_traceback(result: dict[bytes, bytes], exc_info: Any = None) -> tuple[str, bytes, str]:
    """The printed traceback, packed as well, and what is wrong with it: from the newest result, or the hash, where
    RQ < 1.12 left it."""
    stored, wrong = result.get(b"exc_string"), ""
    try:
        packed = base64.b64decode(stored, validate=True) if stored else exc_info
        if isinstance(packed, bytes) and packed:
            raw, rest, wrong = _unpacked(packed)
            text = fields.text(raw, TRACEBACK_LIMIT)
            # What came is kept as it came when it is only that: packing takes longer than all the rest.
            return text, packed if not (wrong or rest) and text.encode() == raw else zlib.compress(text.encode()), wrong
    except (binascii.Error, zlib.error) as error:
        wrong = f"the traceback cannot be unpacked: {error}"[:200]
    return "", NOTHING, wrong


def _unpacked(packed: bytes) -> tuple[bytes, bytes, str]:
    """The bytes, what followed them, and a word if they were cut. Raises zlib.error."""
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(packed, TRACEBACK_LIMIT)
    cut = "the traceback was longer than 1 MB and is cut" if unpacker.unconsumed_tail else ""
    if not unpacker.eof and not cut:
        raise zlib.error("incomplete data")
    return raw, unpacker.unused_data, cut
