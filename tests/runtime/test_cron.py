"""Cron entries on a broker: one job a slot, whoever enqueues it and however often."""

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from rq import Queue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from pools.runtime.cron import Config, Cron, Step, job_id, steps
from pools.runtime.keys import Keys
from pools.signing import verify_config
from pools.spec import CronEntry, parse_spec
from tests.runtime.test_promotion import snapshot
from tests.support.agents import new_uid
from tests.support.simulator import Simulator
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

KEYS = Keys()
MINUTE = 60


def entry(**changes: Any) -> dict[str, Any]:
    return {"name": "report", "task": "tasks.add", "schedule": "* * * * *", "args": [1, 2]} | changes


@dataclass
class Clock:
    """A client whose TIME says what a test wants; everything else goes to the server."""

    client: Any
    now: int

    def pipeline(self, transaction: bool = False) -> Any:
        pipeline = self.client.pipeline(transaction=transaction)
        pipeline.time = lambda: pipeline.eval(f"return {{{self.now}, 0}}", 0)
        return pipeline


class Pool:
    """A pool's successive configs, and agents that look at the clock."""

    def __init__(self, valkey: ValkeyServer, *entries: dict[str, Any], **spec: Any) -> None:
        self.uid, self.simulator, self.client = new_uid(), Simulator(), valkey.client
        self.clock = Clock(self.client, int(time.time()) // MINUTE * MINUTE + 3 * MINUTE)
        self.config = self.publish(*entries, **spec)
        self.tick()

    def publish(self, *entries: dict[str, Any], **spec: Any) -> Config:
        body = {"queues": ["mail", "bulk"], "workers": 1, "cron": list(entries)} | spec
        raw = self.simulator.config(self.uid, body)
        root, now = self.simulator.root, self.simulator.now
        self.config = verify_config(
            raw, root=root, env="test", pool_uid=self.uid, last=None, now=now, parse_spec=parse_spec
        )
        return self.config

    def tick(self, config: Config | None = None) -> None:
        Cron(KEYS, {"agent": "a", "host": "h"}).tick(self.clock, [config or self.config])

    def set_cursor(self, slot: int, name: str = "report") -> None:
        self.client.hset(KEYS.cron(self.uid), f"{name}:slot", slot)

    def jobs(self, queue: str = "mail") -> list[str]:
        return [raw.decode() for raw in self.client.lrange(f"rq:queue:{queue}", 0, -1)]

    def slots(self, queue: str = "mail") -> list[int]:
        found = [id_.rsplit("-", 2)[1] for id_ in self.jobs(queue)]
        return [int(datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()) for at in found]


@pytest.fixture
def pool(valkey: ValkeyServer) -> Pool:
    made = Pool(valkey, entry(overlap="allow"))
    made.set_cursor(made.clock.now - MINUTE)
    return made


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("args", [[], [1, "ü"], {"a": 1, "b": "x"}], ids=["none", "by place", "by name"])
def test_a_slot_leaves_what_rqs_enqueue_leaves(valkey: ValkeyServer, serializer: str, args: Any) -> None:
    pool = Pool(valkey, entry(args=args), serializer=serializer, job_timeout=77)
    pool.set_cursor(pool.clock.now - MINUTE)
    pool.tick()
    (made,) = pool.jobs()
    pool.client.delete(KEYS.cron(pool.uid), KEYS.events)
    ours = snapshot(pool.client)
    pool.client.flushall()
    queue = Queue("mail", connection=pool.client, serializer=JSONSerializer if serializer == "json" else None)
    by_name = isinstance(args, dict)
    slot = f"{datetime.fromtimestamp(pool.clock.now, UTC):%Y-%m-%dT%H:%M:%SZ}"
    queue.enqueue_call(
        "tasks.add",
        args=None if by_name else args,
        kwargs=args if by_name else None,
        timeout=77,
        job_id=made,
        meta={"cron": "report", "slot": slot},
    )
    theirs = snapshot(pool.client)
    for found in (ours, theirs):
        fields = found[f"rq:job:{made}"][0]
        fields[b"created_at"] = len(fields[b"created_at"])
    assert ours == theirs


def test_a_slot_is_one_job_however_many_agents_see_it(pool: Pool) -> None:
    start = threading.Barrier(8)

    def agent() -> None:
        start.wait()
        for _ in range(5):
            pool.tick()

    threads = [threading.Thread(target=agent) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pool.slots() == [pool.clock.now]
    assert pool.jobs() == [job_id(pool.uid, "report", pool.clock.now)]


def test_a_new_entry_begins_with_the_next_slot(valkey: ValkeyServer) -> None:
    wait_for(lambda: time.time() % 60 < 50, message="the broker's next minute, for it adopts by its own clock")
    pool = Pool(valkey, entry())
    pool.clock.now = int(time.time())
    pool.tick()
    assert pool.jobs() == []
    pool.clock.now += MINUTE
    pool.tick()
    assert len(pool.jobs()) == 1


def test_a_changed_schedule_begins_anew_and_a_changed_task_does_not(pool: Pool) -> None:
    pool.publish(entry(task="tasks.other"))
    pool.tick()
    pool.tick()
    assert len(pool.jobs()) == 1
    pool.publish(entry(schedule="*/2 * * * *"))
    pool.set_cursor(pool.clock.now - 3600)
    pool.tick()
    assert abs(int(pool.client.hget(KEYS.cron(pool.uid), "report:slot")) - time.time()) < MINUTE


def test_an_agent_that_is_behind_enqueues_nothing(pool: Pool) -> None:
    old = pool.config
    pool.publish(entry(name="other"))
    pool.tick()
    before = pool.client.hgetall(KEYS.cron(pool.uid))
    pool.tick(old)
    assert pool.jobs() == []
    assert pool.client.hgetall(KEYS.cron(pool.uid)) == before
    assert set(before) == {b"version", b"other:plan", b"other:slot"}, "what is gone is forgotten"


def test_lost_state_doubles_nothing(pool: Pool) -> None:
    pool.tick()
    (made,) = pool.jobs()
    pool.client.delete(KEYS.cron(pool.uid))
    pool.tick()
    pool.set_cursor(pool.clock.now - MINUTE)
    pool.tick()
    assert pool.jobs() == [made]


def test_garbage_in_the_state_is_begun_anew(pool: Pool) -> None:
    pool.set_cursor("nonsense")  # type: ignore[arg-type]
    pool.client.hset(KEYS.cron(pool.uid), "version", "x" * 40)
    pool.tick()
    assert pool.client.hget(KEYS.cron(pool.uid), "report:slot").isdigit()


def test_one_pools_trouble_does_not_keep_another_from_its_slots(pool: Pool) -> None:
    broken, other = new_uid(), pool.config
    pool.uid, whole = broken, pool.uid
    config = pool.publish(entry())
    pool.client.set(KEYS.cron(broken), "not a hash")
    Cron(KEYS, {"agent": "a", "host": "h"}).tick(pool.clock, [config, other])
    assert pool.jobs() == [job_id(whole, "report", pool.clock.now)]


@pytest.mark.parametrize("status", ["queued", "started", "scheduled", "deferred", "rate_limited"])
def test_a_slot_is_skipped_while_the_earlier_job_goes_on(valkey: ValkeyServer, status: str) -> None:
    pool = Pool(valkey, entry(overlap="skip"))
    pool.set_cursor(pool.clock.now - MINUTE)
    pool.tick()
    (made,) = pool.jobs()
    Job.fetch(made, connection=pool.client).set_status(JobStatus(status))
    pool.clock.now += MINUTE
    pool.tick()
    assert pool.jobs() == [made]
    pool.client.hset(f"rq:job:{made}", "status", "failed")
    pool.clock.now += MINUTE
    pool.tick()
    assert pool.slots() == [pool.clock.now - 2 * MINUTE, pool.clock.now]
    assert [body["outcome"] for body in recorded(pool)] == ["enqueued", "skipped", "enqueued"]


@pytest.mark.parametrize("wrong", [-3600.0, 3600.0])
def test_an_agents_clock_does_not_matter(pool: Pool, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() + wrong)
    pool.tick()
    assert pool.slots() == [pool.clock.now]
    job = Job.fetch(pool.jobs()[0], connection=pool.client)
    assert job.enqueued_at == datetime.fromtimestamp(pool.clock.now, UTC)


def test_every_slot_is_recorded_with_its_job(pool: Pool) -> None:
    pool.tick()
    (body,) = recorded(pool)
    assert body == {
        "agent": "a",
        "host": "h",
        "at": pool.clock.now,
        "pool_uid": pool.uid,
        "name": "report",
        "slot": pool.clock.now,
        "config": 1,
        "queue": "mail",
        "job_id": pool.jobs()[0],
        "outcome": "enqueued",
    }


@pytest.mark.parametrize(("catch_up", "count"), [("none", 1), ("last", 1), ("all", 10)])
def test_missed_slots_follow_the_entry(valkey: ValkeyServer, catch_up: str, count: int) -> None:
    """With ``none`` the slot of this minute is not missed yet."""
    pool = Pool(valkey, entry(catch_up=catch_up, overlap="allow"))
    pool.set_cursor(pool.clock.now - 10 * MINUTE)
    pool.tick()
    assert pool.slots() == [pool.clock.now - MINUTE * back for back in reversed(range(count))]
    outcomes = [body["outcome"] for body in recorded(pool)]
    assert outcomes == ["enqueued"] * 10 if catch_up == "all" else ["missed", "enqueued"]


@pytest.mark.parametrize(("catch_up", "expected"), [("none", []), ("last", [0])])
def test_a_slot_older_than_a_minute_was_missed(valkey: ValkeyServer, catch_up: str, expected: list[int]) -> None:
    pool = Pool(valkey, entry(schedule="0 * * * *", catch_up=catch_up))
    slot = pool.clock.now // 3600 * 3600
    pool.set_cursor(slot - 3 * 3600)
    pool.clock.now = slot + 61
    pool.tick()
    assert pool.slots() == [slot + back for back in expected]
    assert {body["outcome"] for body in recorded(pool)} == (
        {"missed"} if catch_up == "none" else {"missed", "enqueued"}
    )


def test_catching_up_has_a_bound() -> None:
    made = CronEntry(name="n", task="a.b", schedule="* * * * *", overlap="allow", catch_up="all")
    now = 1_800_000_000 // MINUTE * MINUTE
    found = steps(made, now - 30 * 86_400, now)
    assert [step.missed for step in found] == [True] + [False] * 100
    assert [step.slot for step in found] == [now - MINUTE * back for back in range(100, -1, -1)]


def test_nothing_is_due_twice_or_early() -> None:
    made = CronEntry(name="n", task="a.b", schedule="*/5 * * * *")
    now = 1_800_000_000
    assert steps(made, now, now) == []
    assert steps(made, now, now + 299) == []
    assert steps(made, now, now + 300) == [Step(now + 300)]


def test_entries_use_their_queue_or_the_pools_first(valkey: ValkeyServer) -> None:
    pool = Pool(valkey, entry(), entry(name="other", queue="bulk"))
    for name in ("report", "other"):
        pool.set_cursor(pool.clock.now - MINUTE, name)
    pool.tick()
    assert (len(pool.jobs("mail")), len(pool.jobs("bulk"))) == (1, 1)
    assert pool.client.smembers("rq:queues") == {b"rq:queue:mail", b"rq:queue:bulk"}


def test_a_job_is_read_by_stock_rq(pool: Pool) -> None:
    pool.tick()
    job = Job.fetch(pool.jobs()[0], connection=pool.client)
    assert (job.func_name, job.args, job.timeout, job.get_status()) == ("tasks.add", [1, 2], 180, JobStatus.QUEUED)
    assert job.meta["cron"] == "report"
    assert Queue("mail", connection=pool.client).job_ids == [job.id]


def test_ids_are_ids_that_rq_takes(valkey: ValkeyServer) -> None:
    long = job_id(new_uid(), "a_b-" + "c" * 59, 1_800_000_000)
    assert Job.create("tasks.add", id=long, connection=valkey.client).id == long


def recorded(pool: Pool) -> Sequence[dict[str, Any]]:
    entries = pool.client.xrange(KEYS.events)
    return [json.loads(fields[b"body"]) for _, fields in entries if fields[b"type"] == b"cron.slot"]
