"""Each run of a job as its results tell it: of managed and stock workers, running ones, damaged ones, on a shelf."""

import pickle
from datetime import timedelta
from pathlib import Path

import pytest
import redis
from rq import Queue, Retry
from rq.executions import Execution

from pools.broker.attempts import Attempts, attempts_of, read_attempts
from pools.broker.connection import Broker
from pools.broker.tracebacks import parse_traceback
from pools.models import BrokerState
from pools.runtime.attempt_note import noted
from tests.broker import jobs
from tests.broker.commands import counted
from tests.broker.conftest import Work
from tests.broker.jobs import Marker
from tests.broker.keyspace import dump
from tests.broker.records import TRACEBACK, write_failed
from tests.support import factories as make
from tests.support.valkey import ValkeyServer


def test_what_a_stock_worker_leaves(broker: Broker, client: redis.Redis, work: Work) -> None:
    Queue("mail", connection=client).enqueue(jobs.fails, job_id="one")
    work()
    found = read_attempts(broker, "one")
    (run,) = found.runs
    assert (run.number, run.outcome, run.host, run.config) == (1, "failed", "", None)
    assert run.worker and run.took is not None and run.why == "ValueError: no such order: ()"
    assert (found.forgotten, found.status, found.next_at) == (0, "failed", None)


def test_the_run_that_goes_on_and_those_that_rq_has_forgotten(broker: Broker, client: redis.Redis) -> None:
    job = Queue("mail", connection=client).enqueue(jobs.fails, job_id="one")
    for _ in range(13):
        client.xadd("rq:results:one", {"type": 4, "worker_name": "w1"}, maxlen=10, approximate=False)
    with client.pipeline() as pipeline:
        execution = Execution.create(job, 60, pipeline, "w2")
        pipeline.hset(execution.key, mapping={"pw_host": "h2", "pw_config": 9})
        pipeline.execute()
    found = read_attempts(broker, "one")
    assert [run.number for run in found.runs] == list(range(14, 3, -1))
    assert found.forgotten == 3
    running = found.runs[0]
    assert (running.outcome, running.worker, running.host, running.config) == ("running", "w2", "h2", 9)
    assert running.started_at and running.ended_at is None and running.took is None


def test_when_it_runs_again(broker: Broker, client: redis.Redis, work: Work) -> None:
    Queue("mail", connection=client).enqueue(jobs.fails, job_id="one", retry=Retry(max=1, interval=300))
    work()
    found = read_attempts(broker, "one")
    assert found.status == "scheduled" and found.next_at
    assert found.next_at - make.ago(seconds=0) > timedelta(seconds=200)


def test_reading_changes_nothing_and_takes_two_round_trips(
    broker: Broker, client: redis.Redis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    marker = tmp_path / "loaded"
    write_failed(client, "one", data=pickle.dumps(Marker(str(marker))))
    client.xadd("rq:results:one", {"type": 1, "return_value": pickle.dumps(Marker(str(marker)))})
    before = dump(client)
    read_attempts(broker, "one")
    counts = counted(valkey, lambda: read_attempts(broker, "one"))
    assert counts.get("hmget") == 1 and dump(client) == before and not marker.exists()


JUNK = {
    "no fields that we know": {"x": "y"},
    "no numbers": {"type": "?", "execution_started_at": "soon", "execution_ended_at": "1e400", "pw_config": "-3"},
    "too large": {"type": "99", "pw_config": "9" * 400, "execution_started_at": "9" * 30, "worker_name": "w" * 9000},
    "no traceback": {"type": "2", "exc_string": "%%%"},
    "binary": {"type": b"\xff", "pw_host": b"\xff\x00host", "exc_string": b"\x00"},
}


@pytest.mark.parametrize("entry", JUNK.values(), ids=JUNK)
def test_junk_is_an_attempt_of_which_little_is_known(
    broker: Broker, client: redis.Redis, entry: dict[str, str]
) -> None:
    client.xadd("rq:results:one", entry)  # type: ignore[arg-type]
    (run,) = read_attempts(broker, "one").runs
    assert run.outcome in ("unknown", "failed") and run.config is None and len(run.worker) <= 255
    assert run.took is None and "\x00" not in run.host


def test_clocks_that_differ_by_an_hour_give_no_negative_duration(broker: Broker, client: redis.Redis) -> None:
    client.xadd("rq:results:one", {"type": 1, "execution_started_at": 1e9 + 3600, "execution_ended_at": 1e9})
    assert read_attempts(broker, "one").runs[0].took == 0


@pytest.mark.parametrize("key", ["rq:results:one", "rq:job:one", "rq:executions:one"])
def test_a_key_of_another_type_is_no_attempt(broker: Broker, client: redis.Redis, key: str) -> None:
    client.set(key, "text")
    assert read_attempts(broker, "one") == Attempts()


def test_a_job_on_a_shelf_keeps_its_attempts(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    client.rename("rq:results:one", "pw:shelf:results:one")
    (run,) = read_attempts(broker, "one").runs
    assert TRACEBACK.strip().endswith(run.why)


@pytest.mark.django_db
def test_a_broker_that_is_away_is_said_and_not_waited_for(broker: Broker, valkey: ValkeyServer) -> None:
    assert "cannot be read now" in attempts_of("nowhere", "one").problem
    BrokerState.objects.create(alias="default", reachable=False, sampled_at=make.ago(seconds=1))
    assert attempts_of("default", "one").problem == "The attempts cannot be read now: the broker cannot be reached."


KINDS = {
    "a traceback": TRACEBACK,
    "a group": "  + Exception Group Traceback (most recent call last):\n  | ExceptionGroup: x (1 sub-exception)\n",
    "rq's own text": "Work-horse terminated unexpectedly; waitpid returned 9",
}


@pytest.mark.parametrize("printed", KINDS.values(), ids=KINDS)
def test_what_the_policy_did_is_said_before_the_error_and_no_part_of_it(
    broker: Broker, client: redis.Redis, printed: str
) -> None:
    write_failed(client, "plain", traceback=printed)
    write_failed(client, "noted", traceback=noted("The budget is spent.", printed))
    plain, told = (read_attempts(broker, job_id).runs[0].why for job_id in ("plain", "noted"))
    assert plain and told == f"The budget is spent. {plain}"
    assert parse_traceback(noted("The budget is spent.", printed)) == parse_traceback(printed)
