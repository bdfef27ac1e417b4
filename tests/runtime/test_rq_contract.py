"""What this project builds on in rq 3.0, one fact a test: a new rq that changes one of them fails here first.

docs/rq-3.md says what follows from each.
"""

import inspect
import time
from datetime import timedelta
from typing import Any

import pytest
from rq import Queue, Retry, Worker, suspension
from rq.cron import CronJob, CronScheduler
from rq.executions import Execution, ExecutionRegistry
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.results import Result
from rq.timeouts import JobTimeoutException
from rq.utils import now
from rq.worker import BaseWorker
from rq.worker.worker_classes import SpawnWorker

from tests.runtime.places import places
from tests.support.valkey import ValkeyServer


@pytest.fixture
def client(valkey: ValkeyServer) -> Any:
    return valkey.client


@pytest.fixture
def queue(client: Any) -> Queue:
    return Queue("mail", connection=client)


def worker(client: Any, *queues: str, **options: Any) -> Worker:
    """A stock worker that never runs its loop; each test calls the one method it is about."""
    made = Worker(list(queues) or ["mail"], connection=client, prepare_for_work=False, **options)
    made.log_job_description = False
    return made


def claimed(client: Any, queue: Queue, **options: Any) -> tuple[Worker, Job, Execution]:
    """A job as it is while it runs: claimed, in the started registry, status ``started``."""
    job = queue.enqueue("tasks.add", **options)
    client.lmove(queue.key, queue.intermediate_queue_key)
    owner = worker(client)
    execution = owner.prepare_execution(job)
    owner.prepare_job_execution(job, remove_from_intermediate_queue=True)
    job.ended_at = job.started_at
    return owner, job, execution


class TestClaim:
    def test_jobs_are_taken_from_the_left_and_pushed_to_the_right(self, client: Any, queue: Queue) -> None:
        first, second = queue.enqueue("tasks.add"), queue.enqueue("tasks.add")
        front = queue.enqueue("tasks.add", at_front=True)
        assert client.lrange("rq:queue:mail", 0, -1) == [j.id.encode() for j in (front, first, second)]
        taken = Queue.dequeue_any([queue], None, connection=client)
        assert taken is not None
        assert taken[0].id == front.id
        assert client.lrange("rq:queue:mail:intermediate", 0, -1) == [front.id.encode()]

    def test_several_queues_are_taken_without_an_intermediate_list(self, client: Any, queue: Queue) -> None:
        """A death after this line loses the job: why claims are our own script."""
        job = queue.enqueue("tasks.add")
        other = Queue("other", connection=client)
        assert Queue.dequeue_any([queue, other], None, connection=client) is not None
        assert places(client, "mail", job.id) == []

    def test_intermediate_list_is_cleared_only_with_one_queue(self) -> None:
        assert "remove_from_intermediate_queue = len(self.queues) == 1" in inspect.getsource(BaseWorker.perform_job)

    def test_first_seen_of_an_earlier_run_condemns_a_claimed_job_at_once(self, client: Any, queue: Queue) -> None:
        """Why a claim always writes first_seen anew."""
        job = queue.enqueue("tasks.add")
        client.lmove(queue.key, queue.intermediate_queue_key)
        first_seen = queue.intermediate_queue.get_first_seen_key(job.id)
        assert first_seen == f"rq:queue:mail:intermediate:first_seen:{job.id}"
        client.set(first_seen, time.time() - 61)
        queue.intermediate_queue.cleanup(worker(client), queue)
        assert places(client, "mail", job.id) == ["failed"]

    def test_first_seen_of_now_leaves_a_claimed_job_alone(self, client: Any, queue: Queue) -> None:
        job = queue.enqueue("tasks.add")
        client.lmove(queue.key, queue.intermediate_queue_key)
        client.set(queue.intermediate_queue.get_first_seen_key(job.id), time.time())
        queue.intermediate_queue.cleanup(worker(client), queue)
        assert places(client, "mail", job.id) == ["intermediate"]

    def test_clean_up_asks_for_its_ids_by_one_method(self) -> None:
        assert "self.get_job_ids()" in inspect.getsource(IntermediateQueue.cleanup)

    def test_suspension_is_one_key_for_the_whole_prefix(self, client: Any) -> None:
        suspension.suspend(client)
        assert client.exists(suspension.WORKERS_SUSPENDED) == 1
        assert suspension.WORKERS_SUSPENDED == "rq:suspended"


class TestExecution:
    def test_started_job_has_these_keys_and_no_others(self, client: Any, queue: Queue) -> None:
        owner, job, execution = claimed(client, queue)
        composite = f"{job.id}:{execution.id}"
        assert {key.decode() for key in client.keys("*")} == {
            "rq:queues",
            f"rq:job:{job.id}",
            f"rq:worker:{owner.name}",
            "rq:wip:mail",
            f"rq:execution:{composite}",
            f"rq:executions:{job.id}",
            f"rq:worker:{owner.name}:executions",
        }
        assert client.zrange("rq:wip:mail", 0, -1) == [composite.encode()]
        assert client.smembers(f"rq:worker:{owner.name}:executions") == {composite.encode()}

    def test_index_of_a_dead_worker_names_its_running_jobs(self, client: Any, queue: Queue) -> None:
        owner, job, execution = claimed(client, queue)
        stranger = worker(client, name=owner.name)
        assert [(e.job_id, e.id) for e in stranger.get_current_executions()] == [(job.id, execution.id)]

    def test_lease_is_ninety_seconds(self, client: Any, queue: Queue) -> None:
        _, job, execution = claimed(client, queue)
        score = client.zscore("rq:wip:mail", f"{job.id}:{execution.id}")
        assert score == pytest.approx(time.time() + 90, abs=5)

    def test_heartbeat_of_a_running_job_is_a_sign_of_its_workers_life(self, client: Any, queue: Queue) -> None:
        """And the monitoring interval is the lease's: 60 s longer than it."""
        owner, job, execution = claimed(client, queue)
        owner.job_monitoring_interval = 5
        before = client.hget(owner.key, "last_heartbeat")
        owner.maintain_heartbeats(job, execution)
        assert client.hget(owner.key, "last_heartbeat") != before
        assert client.zscore("rq:wip:mail", execution.composite_key) == pytest.approx(time.time() + 65, abs=5)

    def test_fields_that_are_not_rqs_stay_in_a_job(self, client: Any, queue: Queue) -> None:
        """Where we note what is to become of a lost run."""
        owner, job, execution = claimed(client, queue)
        client.hset(job.key, "pw_redeliver", 3)
        found = Job.fetch(job.id, connection=client)
        found.save()
        owner.handle_job_failure(found, queue, exc_string="x", execution=execution)
        assert client.hget(job.key, "pw_redeliver") == b"3"

    def test_job_ids_cannot_hold_the_separator(self, client: Any) -> None:
        with pytest.raises(ValueError, match="must only contain letters, numbers"):
            Job.create("tasks.add", id="a:b", connection=client)

    def test_expired_lease_is_abandoned_only_in_status_started(self, client: Any, queue: Queue) -> None:
        _, job, _ = claimed(client, queue)
        job.set_status(JobStatus.SCHEDULED)
        StartedJobRegistry(queue=queue).cleanup(timestamp=time.time() + 1000)
        assert places(client, "mail", job.id) == [], "gone from every registry: why PoolJob.set_status holds back"


class TestFailure:
    def test_failure_is_one_transaction_through_the_failed_registrys_add(self, client: Any, queue: Queue) -> None:
        owner, job, execution = claimed(client, queue)
        seen: list[Any] = []

        class Registry(FailedJobRegistry):
            def add(self, job: Job, ttl: Any = None, exc_string: str = "", pipeline: Any = None) -> None:  # type: ignore[override]
                seen.append((pipeline is not None, pipeline.explicit_transaction, ttl))
                super().add(job, ttl=ttl, exc_string=exc_string, pipeline=pipeline)

        class Watched(Job):
            @property
            def failed_job_registry(self) -> Registry:
                return Registry(self.origin, connection=self.connection, job_class=type(self))

        watched = Watched.fetch(job.id, connection=client)
        owner.handle_job_failure(watched, queue, exc_string="boom", execution=execution)
        assert seen == [(True, False, None)]
        assert places(client, "mail", job.id) == ["failed"]

    def test_retries_used_up_by_returned_retry_pass_the_failed_registrys_add_too(self) -> None:
        assert "job.failed_job_registry.add(" in inspect.getsource(BaseWorker.handle_job_retry)

    def test_failure_writes_these_fields_and_a_result(self, client: Any, queue: Queue) -> None:
        owner, job, execution = claimed(client, queue)
        owner.handle_job_failure(job, queue, exc_string="boom", execution=execution)
        fields = client.hgetall(f"rq:job:{job.id}")
        assert fields[b"status"] == b"failed"
        assert fields[b"worker_name"] == owner.name.encode()
        assert client.zscore("rq:failed:mail", job.id) == pytest.approx(time.time() + 31536000, abs=5)
        result = job.latest_result()
        assert result is not None
        assert (result.type, result.exc_string, result.worker_name) == (Result.Type.FAILED, "boom", owner.name)
        assert result.execution_id == execution.id
        assert client.ttl(Result.get_key(job.id)) == -1, "no expiry without failure_ttl: it would outlive the job"
        assert 0 < client.ttl(f"rq:job:{job.id}") <= 31536000
        assert client.zcard("rq:wip:mail") == 0
        assert not client.exists(ExecutionRegistry(job.id, connection=client).key)

    def test_retry_leaves_no_result_and_marks_scheduled_outside_the_transaction(
        self, client: Any, queue: Queue
    ) -> None:
        owner, job, execution = claimed(client, queue, retry=Retry(max=1, interval=60))
        owner.handle_job_failure(job, queue, exc_string="boom", execution=execution)
        assert places(client, "mail", job.id) == ["scheduled"]
        assert job.results() == []
        assert "self.set_status(JobStatus.SCHEDULED)\n" in inspect.getsource(Job.retry)
        assert job.retries_left == 0

    def test_unknown_fields_of_results_and_executions_are_passed_over(self, client: Any, queue: Queue) -> None:
        """docs/rq-3.md, fields beside rq's: where a run happened."""
        _, job, execution = claimed(client, queue)
        more = {"pw_host": "h", "pw_config": 1}
        client.hset(execution.key, mapping=more)
        Execution.fetch(execution.id, job.id, client)
        client.xadd(Result.get_key(job.id), {"type": 2, "worker_name": "w"} | more)
        result = job.latest_result()
        assert result is not None and (result.type, result.worker_name) == (Result.Type.FAILED, "w")

    def test_jobs_without_rqs_retry_have_no_retries_left_field(self, client: Any, queue: Queue) -> None:
        job = queue.enqueue("tasks.add")
        assert client.hget(f"rq:job:{job.id}", "retries_left") is None
        assert job.should_retry is False

    def test_enqueued_jobs_always_carry_a_timeout_but_no_ttls(self, client: Any, queue: Queue) -> None:
        job = queue.enqueue("tasks.add")
        fields = client.hgetall(f"rq:job:{job.id}")
        assert fields[b"timeout"] == b"180"
        assert b"result_ttl" not in fields
        assert b"failure_ttl" not in fields


class TestWorker:
    def test_second_sigterm_kills_the_horse_of_a_stock_worker(self) -> None:
        assert "self.request_force_stop" in inspect.getsource(BaseWorker.request_stop)
        assert "self.kill_horse()" in inspect.getsource(BaseWorker.request_force_stop)

    def test_horse_is_forked_before_it_marks_the_job_started(self) -> None:
        source = inspect.getsource(Worker.execute_job)
        assert source.index("prepare_execution") < source.index("fork_work_horse") < source.index("monitor_work_horse")
        assert "self.main_work_horse(job, queue)" in inspect.getsource(Worker.fork_work_horse)

    def test_spawn_worker_writes_the_connections_password_into_its_command_line(self) -> None:
        source = inspect.getsource(SpawnWorker.fork_work_horse)
        assert "Redis(**{redis_kwargs!r})" in source
        assert "'-c', child_source" in source

    def test_reading_a_registry_cleans_it_unless_asked_not_to(self, client: Any, queue: Queue) -> None:
        """Looking changes state: why pages never use rq's registries."""
        _, job, _ = claimed(client, queue)
        client.zadd("rq:wip:mail", dict.fromkeys(client.zrange("rq:wip:mail", 0, -1), 1.0))
        assert queue.started_job_registry.get_job_count(cleanup=False) == 1
        assert queue.started_job_registry.count == 0
        assert places(client, "mail", job.id) == ["failed"]

    def test_scheduler_moves_due_jobs_in_two_steps(self, client: Any, queue: Queue) -> None:
        """It reads, then writes: two of them enqueue a job twice. Ours is one script."""
        queue.enqueue_in(timedelta(seconds=-5), "tasks.add")
        assert queue.scheduled_job_registry.get_jobs_to_enqueue() == queue.scheduled_job_registry.get_job_ids()
        assert client.zcard("rq:scheduled:mail") == 1


class TestCron:
    def test_two_stock_cron_schedulers_enqueue_every_job_twice(self, client: Any) -> None:
        """Why a slot of ours has one id and one script sees to it: any number of agents may look at the clock."""
        for name in ("one", "two"):
            scheduler = CronScheduler(connection=client, name=name)
            job = scheduler.register(time.sleep, "mail", args=(0,), cron="* * * * *")
            job.next_enqueue_time = now() - timedelta(seconds=1)
            scheduler.enqueue_jobs()
        assert len(Queue("mail", connection=client).job_ids) == 2

    def test_a_stock_cron_scheduler_leaves_a_repeated_hour_out(self) -> None:
        assert "Repeated local times convert to their first occurrence" in inspect.getsource(
            CronJob.get_next_enqueue_time
        )

    def test_a_job_is_what_to_dict_says(self) -> None:
        """Our script writes these fields itself."""
        assert "mapping = self.to_dict(" in inspect.getsource(Job.save)


class TestSteps:
    """What lets rq's own code write a job's start and end through one script each (pools/runtime/step.py)."""

    @pytest.mark.parametrize("end", ["handle_job_success", "handle_job_retry", "handle_job_failure"])
    def test_an_end_is_written_through_pipelines_of_the_workers_connection_alone(self, end: str) -> None:
        source = inspect.getsource(getattr(BaseWorker, end))
        assert source.count("self.connection.pipeline() as pipeline") == source.count("pipeline.execute()")
        others = source.replace("self.connection.pipeline()", "").replace("job.origin, self.connection,", "")
        assert "self.connection" not in others

    def test_success_reads_only_the_dependents_and_tries_again_when_they_changed(self) -> None:
        source = inspect.getsource(BaseWorker.handle_job_success)
        assert "pipeline.watch(job.dependents_key)" in source
        assert "except redis.exceptions.WatchError:" in source
        moving = inspect.getsource(Queue.move_dependents_to_ready)
        assert "if not dependent_job_ids:\n                    break" in moving
        assert moving.index("pipe.smembers(dependents_key)") < moving.index("if not dependent_job_ids")

    def test_heartbeats_outside_the_steps_are_the_ones_we_leave_out(self) -> None:
        """After each job, and before each end: both are written with the next start, or with the end."""
        assert "self.execute_job(job, queue)\n                    self.heartbeat()" in inspect.getsource(
            BaseWorker.work
        )
        ended = inspect.getsource(BaseWorker.handle_execution_ended)
        assert ended.count("job.") == 2
        assert "job.ended_at = now()" in ended
        assert "job.heartbeat(now(), heartbeat_ttl)" in ended

    def test_a_horse_is_waited_for_in_one_place_and_its_exit_code_is_all_that_counts(self) -> None:
        source = inspect.getsource(Worker.monitor_work_horse)
        assert "retpid, ret_val, rusage = self.wait_for_horse()" in source
        assert "if ret_val == os.EX_OK:" in source
        assert "self._horse_pid" in inspect.getsource(Worker.horse_pid.fget)  # type: ignore[attr-defined]

    def test_a_timeout_can_be_swallowed_and_is_enforced_a_minute_late(self) -> None:
        assert issubclass(JobTimeoutException, Exception)
        assert "working_time > (job.timeout + 60)" in inspect.getsource(Worker.monitor_work_horse)
        assert "os.killpg(os.getpgid(self.horse_pid), sig)" in inspect.getsource(Worker.kill_horse)

    def test_a_job_writes_its_start_through_these(self) -> None:
        source = inspect.getsource(BaseWorker.prepare_job_execution)
        for written in ("self.heartbeat(", "job.heartbeat(", "job.prepare_for_execution(", "pipeline.persist(job.key)"):
            assert written in source
        assert source.count("pipeline=pipeline)") == 3
