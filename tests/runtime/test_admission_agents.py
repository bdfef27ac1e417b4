"""Wrong and hostile jobs before real workers: nothing runs that should not, no worker dies of it, siblings run on."""

import json
import os
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rq import Callback, Queue
from rq.job import Job
from rq.utils import utcformat
from rq.webhook import Webhook

from tests.runtime.places import places
from tests.runtime.specs import spec
from tests.runtime.test_policy import Bomb
from tests.support.agents import AgentHost, new_uid
from tests.support.receivers import Hook, hook_server
from tests.support.waiting import wait_for

LISTED = {"tasks": ["tasks.mark", "tasks.add"]}
type Serve = Callable[..., Queue]


@pytest.fixture
def serve(host: AgentHost) -> Serve:
    """Start a pool of two workers; its queue, as a producer sees it."""

    def start(serializer: str = "json", **admission: Any) -> Queue:
        uid = new_uid()
        host.configure(uid, spec(workers=2, serializer=serializer, admission=LISTED | admission))
        host.start()
        host.wait_for_workers(uid, 2)
        return Queue("mail", connection=host.valkey.client, serializer=serializer)

    return start


@pytest.fixture
def hook() -> Iterator[Hook]:
    with hook_server() as served:
        yield served


def forged(queue: Queue, job_id: str, payload: bytes, **fields: Any) -> str:
    client: Any = queue.connection
    record = {"data": payload, "status": "queued", "origin": queue.name, "description": "tasks.add(1, 2)"} | fields
    client.hset(f"rq:job:{job_id}", mapping=record)
    client.rpush(queue.key, job_id)
    return job_id


def called(task: str, *args: Any) -> bytes:
    return zlib.compress(json.dumps([task, None, args, {}]).encode())


def reason(host: AgentHost, job_id: str) -> str:
    client = host.valkey.client
    wait_for(lambda: places(client, "mail", job_id) == ["failed"], timeout=60, message=host.log)
    return str(Job(job_id, connection=client).results()[0].exc_string).strip()


def finished(host: AgentHost, job: Job) -> None:
    wait_for(lambda: job.get_status() == "finished", timeout=60, message=host.log)


def no_worker_died(host: AgentHost) -> None:
    assert host.events("worker.lost") == []
    assert host.valkey.client.hlen(host.keys.claims) == 0


def test_a_json_pool_with_a_list_runs_what_is_on_it(host: AgentHost, serve: Serve, tmp_path: Path) -> None:
    queue, ran = serve(), tmp_path / "ran"
    hostile = {
        "task": forged(queue, "task", called("os.mkdir", str(tmp_path / "went-off"))),
        "bomb": Queue("mail", connection=queue.connection).enqueue("tasks.add", Bomb(str(tmp_path / "went-off")), 1).id,
        "cut": forged(queue, "cut", called("tasks.add", 1, 2)[:-9]),
        "large": forged(queue, "large", os.urandom(50_000_000)),
        "packed": forged(queue, "packed", zlib.compress(b"[" + b" " * 50_000_000)),
        "damaged": forged(queue, "damaged", called("tasks.add", 1, 2), timeout="soon"),
        "callback": forged(queue, "callback", called("tasks.add", 1, 2), success_callback_name="os.mkdir"),
    }
    after = queue.enqueue("tasks.mark", str(ran))
    finished(host, after)
    said = {name: reason(host, job_id).partition("poolwarden.JobRefused: ")[2] for name, job_id in hostile.items()}
    assert said == {
        "task": "task os.mkdir is not on the pool's list of tasks",
        "bomb": "its payload is not written as json, which the pool reads",
        "cut": "its payload is not written as json, which the pool reads",
        "large": said["large"],
        "packed": "its payload takes more than 16,384 KiB when it is unpacked",
        "damaged": "its record cannot be read: AssertionError in parse_timeout",
        "callback": "its success callback os.mkdir is not on the pool's list of tasks",
    }
    assert said["large"].startswith("its record takes 50,000,")
    assert not (tmp_path / "went-off").exists()
    assert len(ran.read_text().splitlines()) == 1
    assert {event["job_id"] for event in host.events("job.failed")} == set(hostile.values())
    no_worker_died(host)


def test_a_pickle_pool_with_a_list_loads_what_is_on_it(host: AgentHost, serve: Serve, tmp_path: Path) -> None:
    queue, ran = serve("pickle"), tmp_path / "ran"
    went_off = tmp_path / "went-off"
    bomb = queue.enqueue("tasks.add", Bomb(str(went_off)), 1)
    in_meta = queue.enqueue("tasks.mark", str(ran), meta={"note": Bomb(str(went_off))})
    task = queue.enqueue("os.mkdir", str(went_off))
    dated = queue.enqueue("tasks.add", datetime(2026, 1, 1, tzinfo=UTC), timedelta(1))
    finished(host, dated)
    finished(host, in_meta)
    opener = "which is not on the pool's list"
    assert reason(host, bomb.id) == f"poolwarden.JobRefused: its payload would load _io.open, {opener}"
    assert reason(host, task.id) == f"poolwarden.JobRefused: task os.mkdir {opener.removeprefix('which ')} of tasks"
    assert not went_off.exists()
    assert len(ran.read_text().splitlines()) == 1
    no_worker_died(host)


def test_webhooks_and_callbacks_run_only_where_the_pool_allows_them(
    host: AgentHost, serve: Serve, hook: Hook, tmp_path: Path
) -> None:
    queue = serve(callbacks="refuse", webhooks="refuse")
    told, called_back = tmp_path / "told", tmp_path / "called-back"
    webhook = Webhook(hook.url(), "finished", method="POST")
    one = queue.enqueue("tasks.mark", str(told), webhooks=[webhook])
    other = queue.enqueue("tasks.mark", str(called_back), on_success=Callback("tasks.told"))
    assert reason(host, one.id) == "poolwarden.JobRefused: it has a webhook, which the pool does not allow"
    assert reason(host, other.id).endswith("it has a success callback, which the pool does not allow: tasks.told")
    assert hook.requests == []
    assert list(tmp_path.glob("told*")) == list(tmp_path.glob("called-back*")) == []
    no_worker_died(host)


@pytest.mark.parametrize("horse_jobs", [1, 20])
def test_without_a_list_callbacks_and_webhooks_run_as_in_rq(
    host: AgentHost, hook: Hook, tmp_path: Path, horse_jobs: int
) -> None:
    uid = new_uid()
    host.configure(uid, spec(horse={"jobs": horse_jobs}))
    host.start()
    queue = Queue("mail", connection=host.valkey.client)
    webhook = Webhook(hook.url(), "finished", method="POST")
    jobs = [
        queue.enqueue("tasks.mark", str(tmp_path / "ran"), webhooks=[webhook], on_success=Callback("tasks.told"))
        for _ in range(2)
    ]
    for job in jobs:
        finished(host, job)
    wait_for(lambda: len(hook.requests) == 2, message="both webhooks were sent")
    assert len((tmp_path / "ran.success").read_text().splitlines()) == 2


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_producers_clock_may_be_an_hour_off(host: AgentHost, serve: Serve, tmp_path: Path, hours: int) -> None:
    """The times in a job's record are its producer's: nothing is decided by them, and it runs once."""
    queue, ran = serve(), tmp_path / "ran"
    then = utcformat(datetime.now(UTC) + timedelta(hours=hours))
    times = dict.fromkeys(("created_at", "enqueued_at"), then)
    job = Job(forged(queue, "skewed", called("tasks.mark", str(ran)), **times), connection=host.valkey.client)
    finished(host, job)
    finished(host, queue.enqueue("tasks.add", 1, 2))
    assert len(ran.read_text().splitlines()) == 1
    assert places(host.valkey.client, "mail", "skewed") == ["finished"]
