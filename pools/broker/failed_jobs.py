"""Failed jobs, read as they lie on the broker: raw fields, never a fetched job, never an unpickled payload."""

import base64
import binascii
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.payload import PAYLOAD_LIMIT, RQ_CALL, called_function
from pools.broker.pipelines import Command, Pipelines
from pools.broker.tracebacks import parse_traceback

TRACEBACK_LIMIT = 1_000_000
"""Bytes to which a stored traceback is unpacked: a few kilobytes can hold gigabytes."""
SCAN_COUNT = 2000
READ_LIMIT = 1000
ROW = 4
FAILED_RESULT = b"2"
DEAD_STATES = ("failed", "stopped", "")

HASH_FIELDS = ["status", "origin", "description", "created_at", "enqueued_at", "started_at", "ended_at", "timeout"]
HASH_FIELDS += ["worker_name", "retries_left", "exc_info"]


@dataclass(frozen=True)
class FailedJob:
    """A job as its failure left it; all text is safe for SQL and pages, times are UTC.

    ``timeout`` in seconds, ``size`` the payload's bytes as stored. ``damaged`` says what could not be read ("" when
    all could).
    """

    job_id: str
    queue: str
    func: str
    exc_type: str
    message: str
    traceback: str
    created_at: datetime | None
    enqueued_at: datetime | None
    started_at: datetime | None
    failed_at: datetime | None
    timeout: int | None
    worker: str
    retries_left: int | None
    expires_at: datetime | None
    status: str
    size: int
    damaged: str = ""

    @property
    def is_dead(self) -> bool:
        """False: by its own record the job lives elsewhere, and the failed registry's entry is stale."""
        return self.status in DEAD_STATES


@dataclass(frozen=True)
class Missing:
    """The registry names a job whose record is gone, by expiry or by another tool's hand."""

    job_id: str


def failed_ids(broker: Broker, queue: str, start: int, stop: int) -> list[str]:
    """Ids of a queue's failed registry by rank, soonest to expire first; ``stop`` is included, -1 is the last."""
    with broker.use() as client:
        return [fields.text(job_id, 500) for job_id in client.zrange(broker.rq.failed(queue), start, stop)]


def scan_failed(broker: Broker, queue: str) -> dict[str, float]:
    """Every failed job of a queue that has not expired → when it will (unix seconds; -1 never). Reads in chunks.

    Entries that were there all the while are in the answer; those that came or went meanwhile may be.
    """
    found: dict[str, float] = {}
    with broker.use() as client:
        now = float(client.time()[0])
        for job_id, expires in client.zscan_iter(broker.rq.failed(queue), count=SCAN_COUNT):
            if expires < 0 or expires > now:
                found[fields.text(job_id, 500)] = expires
    return found


def read_failed(broker: Broker, ids: Sequence[str]) -> list[FailedJob | Missing]:
    """The jobs in the order of ``ids``: one round trip, two when some hide their function behind a description.

    Raises ValueError for more than ``READ_LIMIT`` ids.
    """
    if len(ids) > READ_LIMIT:
        raise ValueError(f"at most {READ_LIMIT} jobs at a time")
    with broker.use() as client:
        pipelines = Pipelines(client)
        (seconds, _), *answers = pipelines.run(_read_commands(broker, ids))
        rows = [answers[at : at + ROW] for at in range(0, len(answers), ROW)]
        unnamed = [at for at, row in enumerate(rows) if _hides_function(row) and _is_small(row)]
        found = pipelines.run(("HGET", broker.rq.job(ids[at]), "data") for at in unnamed)
    payloads = dict(zip(unnamed, found, strict=True))
    now = datetime.fromtimestamp(seconds, UTC)
    return [_failed_job(ids[at], row, payloads.get(at), now) for at, row in enumerate(rows)]


def _read_commands(broker: Broker, ids: Iterable[str]) -> Iterable[Command]:
    """``ROW`` commands a job, after the time."""
    yield ("TIME",)
    for job_id in ids:
        yield ("HMGET", broker.rq.job(job_id), *HASH_FIELDS)
        yield ("XREVRANGE", broker.rq.results(job_id), "+", "-", "COUNT", 1)
        yield ("PTTL", broker.rq.job(job_id))
        yield ("HSTRLEN", broker.rq.job(job_id), "data")


def _hides_function(row: list[Any]) -> bool:
    """RQ describes a job by its call unless the producer gave a description of his own."""
    return isinstance(row[0], list) and not RQ_CALL.match(fields.text(row[0][HASH_FIELDS.index("description")]))


def _is_small(row: list[Any]) -> bool:
    return 0 < fields.count(row[-1]) <= PAYLOAD_LIMIT


def _failed_job(job_id: str, row: list[Any], payload: Any, now: datetime) -> FailedJob | Missing:
    raw, results, ttl, size = row
    values = dict(zip(HASH_FIELDS, raw if isinstance(raw, list) else [None] * len(HASH_FIELDS), strict=True))
    if raw == [None] * len(HASH_FIELDS) and not size:
        return Missing(job_id)
    result_id, result = results[0] if isinstance(results, list) and results else (None, {})
    traceback, torn = _traceback(result or {}, values["exc_info"])
    raised = parse_traceback(traceback)
    failed_at = fields.stream_moment(result_id) if (result or {}).get(b"type") == FAILED_RESULT else None
    expires = fields.integer(ttl)
    return FailedJob(
        job_id=job_id,
        queue=fields.text(values["origin"], 255),
        func=called_function(values["description"], payload),
        exc_type=raised.exc_type,
        message=raised.message,
        traceback=traceback,
        created_at=fields.moment(values["created_at"]),
        enqueued_at=fields.moment(values["enqueued_at"]),
        started_at=fields.moment(values["started_at"]),
        failed_at=failed_at or fields.moment(values["ended_at"]),
        timeout=fields.integer(values["timeout"]),
        worker=fields.text(values["worker_name"], 255),
        retries_left=fields.integer(values["retries_left"]),
        expires_at=now + timedelta(milliseconds=expires) if expires is not None and expires >= 0 else None,
        status=fields.text(values["status"], 20),
        size=fields.count(size),
        damaged=_damage(raw, results, size, values) or torn,
    )


def _damage(raw: Any, results: Any, size: Any, values: dict[str, Any]) -> str:
    if not isinstance(raw, list):
        return "the job's key holds something other than a job"
    if not fields.count(size):
        return "the record holds no payload"
    if not values["origin"]:
        return "the record names no queue"
    return "" if isinstance(results, list) else "the results' key holds something other than results"


def _traceback(result: dict[bytes, bytes], exc_info: Any) -> tuple[str, str]:
    """The printed traceback and what is wrong with it: from the newest result, or the hash, where RQ < 1.12 left it."""
    stored = result.get(b"exc_string")
    try:
        if stored:
            return unpack(base64.b64decode(stored, validate=True))
        if isinstance(exc_info, bytes) and exc_info:
            return unpack(exc_info)
    except (binascii.Error, zlib.error) as error:
        return "", f"the traceback cannot be unpacked: {error}"[:200]
    return "", ""


def unpack(packed: bytes) -> tuple[str, str]:
    """The text in zlib-compressed bytes, at most ``TRACEBACK_LIMIT`` bytes of it, and a word if it was cut."""
    unpacker = zlib.decompressobj()
    raw = unpacker.decompress(packed, TRACEBACK_LIMIT)
    cut = "the traceback was longer than 1 MB and is cut" if unpacker.unconsumed_tail else ""
    if not unpacker.eof and not cut:
        raise zlib.error("incomplete data")
    return fields.text(raw, TRACEBACK_LIMIT), cut
