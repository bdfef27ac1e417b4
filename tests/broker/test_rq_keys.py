"""Our names of RQ's keys against RQ's own, under its default prefix and another one."""

import json
import os
import subprocess
import sys

import pytest

from pools.broker.rq_keys import RqKeys

RQS_NAMES = """
import json
from redis import Redis
from rq import Queue, Worker, worker_registration
from rq.command import PUBSUB_CHANNEL_TEMPLATE
from rq.executions import Execution, ExecutionRegistry, WORKER_EXECUTIONS_KEY_TEMPLATE
from rq.group import Group
from rq.job import Job
from rq.rate_limit import RateLimitRegistry
from rq.registry import *
from rq.results import Result
client = Redis()
queue = Queue("mail", connection=client)
job = Job("one", connection=client)
limit = RateLimitRegistry("api", client)
print(json.dumps({
    "queues": Queue.redis_queues_keys, "workers": Worker.redis_workers_keys, "groups": Group.REDIS_GROUP_KEY,
    "rate_limits": limit.rl_keys_key, "queue": queue.key, "intermediate": queue.intermediate_queue_key,
    "started": StartedJobRegistry(queue=queue).key, "finished": FinishedJobRegistry(queue=queue).key,
    "failed": FailedJobRegistry(queue=queue).key, "deferred": DeferredJobRegistry(queue=queue).key,
    "scheduled": ScheduledJobRegistry(queue=queue).key, "canceled": CanceledJobRegistry(queue=queue).key,
    "ready": ReadyJobRegistry(queue=queue).key, "queue_workers": worker_registration.WORKERS_BY_QUEUE_KEY % "mail",
    "job": job.key, "dependents": job.dependents_key, "dependencies": job.dependencies_key,
    "results": Result.get_key("one"), "executions": ExecutionRegistry("one", client).key,
    "execution": Execution("e1", "one", client).key, "worker": Worker.redis_worker_namespace_prefix + "w1",
    "worker_executions": WORKER_EXECUTIONS_KEY_TEMPLATE.format("w1"), "commands": PUBSUB_CHANNEL_TEMPLATE % "w1",
    "group": Group.get_key("batch"), "rate_limit": limit.config_key,
}))
"""
PARTS = {
    "job": "one", "dependents": "one", "dependencies": "one", "results": "one", "executions": "one",
    "execution": "one:e1", "worker": "w1", "worker_executions": "w1", "commands": "w1", "group": "batch",
    "rate_limit": "api",
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["rq", "acme:{eu}"])
def test_every_key_is_named_as_rq_names_it(prefix: str) -> None:
    environment = os.environ | {"RQ_KEY_PREFIX": prefix}
    printed = subprocess.run([sys.executable, "-c", RQS_NAMES], env=environment, capture_output=True, check=True).stdout
    for name, expected in json.loads(printed).items():
        found = getattr(RqKeys(prefix), name)
        assert (found(PARTS.get(name, "mail")) if callable(found) else found) == expected, name


def test_every_key_is_compared() -> None:
    """A key that is added later must be added above."""
    ours = {name for name in vars(RqKeys) if not name.startswith("_")} - {"prefix"}
    assert all(f'"{name}":' in RQS_NAMES for name in ours)


@pytest.mark.parametrize("prefix", ["", "a b", "rq\n", "rq'", "ré"])
def test_a_prefix_that_rq_refuses_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="RQ refuses the key prefix"):
        RqKeys(prefix)
