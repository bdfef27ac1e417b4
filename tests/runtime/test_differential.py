"""What our worker leaves on the broker is what stock ``rq worker`` leaves, key by key, for every kind of job.

Times and ids that differ by nature are masked; the differences that are meant are in docs/rq-3.md, and left out below.
"""

import os
import re
import signal
import subprocess
import sys
import zlib
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue, Repeat, Retry
from rq.group import Group
from rq.rate_limit import RateLimit

from pools.runtime.channel import Channel, Control
from pools.runtime.refusals import Admission
from pools.runtime.retry_budget import RetryBudget
from pools.runtime.rules import PLAIN
from pools.runtime.sandbox.limits import Isolation
from pools.runtime.worker_config import SecretAccess, WorkerConfig
from tests.runtime.conftest import APPLICATION
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = ROOT / "pools" / "runtime" / "launch.py"

# A worker's own keys, and the locks of the maintenance that stock workers do.
NO_JOBS_STATE = (b"rq:worker:", b"rq:clean_")

# A time as rq writes it, in words or in seconds, and what is drawn by lot: executions and stream ids.
_MASKS = (r"\d{4}-\d\d-\d\dT[\d:.]+Z", r"\b1\d{9}(\.\d+)?(-\d+)?\b", r"\b[0-9a-f]{32}\b")


def plain(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a")


def none(queue: Queue) -> None:
    queue.enqueue("gc.disable", job_id="a")


def discarded(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a", result_ttl=0)


def kept(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a", result_ttl=-1)


def given_ttl(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a", result_ttl=77, ttl=500, failure_ttl=88)


def dependents(queue: Queue) -> None:
    parents = [queue.enqueue("tasks.add", 1, n, job_id=f"p{n}") for n in range(3)]
    queue.enqueue("tasks.add", 1, 2, job_id="of-all", depends_on=parents)
    queue.enqueue("tasks.add", 1, 2, job_id="of-one", depends_on=parents[0])


def dependent_of_a_failure(queue: Queue) -> None:
    parent = queue.enqueue("tasks.fail", job_id="p")
    queue.enqueue("tasks.add", 1, 2, job_id="a", depends_on=parent)


def unmet(queue: Queue) -> None:
    parents = [queue.enqueue("tasks.add", 1, 2, job_id="p"), queue.enqueue("tasks.fail", job_id="f")]
    queue.enqueue("tasks.add", 1, 2, job_id="a", depends_on=parents)


def retried(queue: Queue) -> None:
    queue.enqueue("tasks.fail", job_id="a", retry=Retry(max=2))


def retried_later(queue: Queue) -> None:
    queue.enqueue("tasks.fail", job_id="a", retry=Retry(max=1, interval=300))


def asks_for_a_retry(queue: Queue) -> None:
    queue.enqueue("rq.Retry", 1, job_id="a")


def failing(queue: Queue) -> None:
    queue.enqueue("tasks.fail", job_id="a")


def unknown(queue: Queue) -> None:
    queue.enqueue("tasks.nothing", job_id="a")


def with_meta(queue: Queue) -> None:
    queue.enqueue("tasks.note", job_id="a", meta={"before": 1})


def at_front(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a")
    queue.enqueue("tasks.add", 3, 4, job_id="b", at_front=True)


def repeated(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a", repeat=Repeat(times=2))


def repeated_later(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a", repeat=Repeat(times=2, interval=300))


def in_group(queue: Queue) -> None:
    group = Group.create(connection=queue.connection, name="group")
    group.enqueue_many(queue, [Queue.prepare_data("tasks.add", (1, n), job_id=f"g{n}") for n in range(2)])


def rate_limited(queue: Queue) -> None:
    for n in range(3):
        queue.enqueue("tasks.add", 1, n, job_id=f"r{n}", rate_limit=RateLimit("mails", 1))


def with_callback(queue: Queue) -> None:
    queue.enqueue("tasks.add", 1, 2, job_id="a", on_success=Callback("tasks.succeeded"))
    queue.enqueue("tasks.fail", job_id="b", on_failure=Callback("tasks.failed"))


KINDS: list[Callable[[Queue], None]] = [
    plain,
    none,
    discarded,
    kept,
    given_ttl,
    dependents,
    dependent_of_a_failure,
    unmet,
    retried,
    asks_for_a_retry,
    failing,
    unknown,
    with_meta,
    at_front,
    repeated,
    repeated_later,
    retried_later,
    in_group,
    rate_limited,
    with_callback,
]


@pytest.mark.parametrize("horse_jobs", [1, 50])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_broker_after_our_worker_is_as_after_stock(
    valkey: ValkeyServer, tmp_path: Path, kind: Callable[[Queue], None], horse_jobs: int
) -> None:
    queue = Queue("mail", connection=valkey.client)
    kind(queue)
    run_stock(valkey, tmp_path)
    theirs = state(valkey.client)
    valkey.client.flushall()
    kind(queue)
    run_ours(valkey, tmp_path, horse_jobs)
    assert state(valkey.client) == theirs


def run_stock(valkey: ValkeyServer, home: Path) -> None:
    command = [sys.executable, "-m", "rq.cli", "worker", "mail", "--burst", "--url", valkey.url, "--name", "worker"]
    with (home / "stock.log").open("wb") as log:
        subprocess.run(command, cwd=APPLICATION, stdout=log, stderr=log, timeout=60, check=True)


def run_ours(valkey: ValkeyServer, home: Path, horse_jobs: int) -> None:
    channel = Channel(home / "worker")
    channel.directory.mkdir()
    channel.order(Control(paused=False, config=1))
    with (home / "ours.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, str(LAUNCHER)], cwd=APPLICATION, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
    assert process.stdin is not None
    with process.stdin:
        process.stdin.write(told(valkey.url, channel.directory, horse_jobs).dumps().encode())
    client = valkey.client

    def settled() -> bool:
        idle = client.hget("rq:worker:worker", "state") == b"idle"
        return idle and not (client.llen("rq:queue:mail") or client.zcard("rq:wip:mail") or client.hlen("pw:claims"))

    try:
        wait_for(settled, timeout=60, message=lambda: (home / "ours.log").read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def told(url: str, channel: Path, horse_jobs: int) -> WorkerConfig:
    return WorkerConfig(
        purpose="work",
        redis_url=url,
        worker="worker",
        agent="host-1",
        agent_pid=os.getpid(),
        host="host-1",
        pool_uid="uid",
        pool="mail",
        config=1,
        channel=str(channel),
        bell=str(channel / "bell"),
        preload=[],
        queues=["mail"],
        job_timeout=180,
        result_ttl=500,
        failure_ttl=31_536_000,
        serializer="pickle",
        horse_jobs=horse_jobs,
        admission=Admission(),
        retry=[],
        policies=[],
        isolation=Isolation("none", 1024, 3600, 1024, 64, 1024, [], []),
        job_user="",
        rules=PLAIN,
        retry_budget=RetryBudget(),
        secrets=SecretAccess({}, [], {}),
        lost=[],
        tidy=False,
    )


def state(client: Any) -> dict[str, Any]:
    """Every key of rq's that holds something, with its type, value and whether it expires."""
    found: dict[str, Any] = {}
    for key in client.keys("rq:*"):
        kind = client.type(key).decode()
        entry = kind, value(client, key, kind), client.ttl(key) > 0
        if not key.startswith(NO_JOBS_STATE) and entry[1]:
            found[masked(key)] = entry[:2] if key.startswith(b"rq:results:") and failed(entry[1]) else entry
    return found


def failed(results: list[dict[str, str]]) -> bool:
    """Ours lets a failure's result expire with its job, which stock rq does not: docs/rq-3.md."""
    return results[-1]["type"] == "2"


def value(client: Any, key: bytes, kind: str) -> Any:
    if kind == "hash":
        return {masked(name): masked(text) for name, text in client.hgetall(key).items()}
    if kind == "stream":
        return [result(fields) for _, fields in client.xrange(key) if not retried_by_exception(fields)]
    if kind == "zset":
        return sorted((masked(member), score > 0) for member, score in client.zrange(key, 0, -1, withscores=True))
    if kind == "set":
        return sorted(map(masked, client.smembers(key)))
    return [masked(item) for item in (client.lrange(key, 0, -1) if kind == "list" else [client.get(key)])]


def result(fields: dict[bytes, bytes]) -> dict[str, str]:
    """Of a traceback its last line: the others name lines of the worker's own code. Where it ran only ours say."""
    fields = {name: text for name, text in fields.items() if name not in (b"pw_host", b"pw_config")}
    if b"exc_string" in fields:
        text = zlib.decompress(b64decode(fields[b"exc_string"])).strip()
        fields = fields | {b"exc_string": text.splitlines()[-1]}
    return {masked(name): masked(text) for name, text in fields.items()}


def retried_by_exception(fields: dict[bytes, bytes]) -> bool:
    """An attempt's result that only ours keeps: docs/rq-3.md."""
    return fields[b"type"] == b"4" and b"exc_string" in fields


def masked(raw: bytes) -> str:
    text = raw.decode(errors="backslashreplace")
    for mask in _MASKS:
        text = re.sub(mask, "*", text)
    return text
