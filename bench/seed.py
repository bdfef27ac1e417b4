"""Fill a broker as a busy one is: failed jobs of some causes, queues with jobs in them, workers."""

import base64
import json
import time
import uuid
import zlib
from datetime import UTC, datetime

import redis
from rq.utils import utcformat

EXCEPTIONS = 20
FAILURE_TTL = 31_536_000
BATCH = 1000


def seed(client: redis.Redis, queues: int, workers: int, failed: int, causes: int = 20) -> None:
    """Write RQ 3.0's keys: ``failed`` jobs of 20 exceptions in as many tasks as there are ``causes``, spread over
    ``queues``; ten waiting jobs a queue; idle workers."""
    names = [f"svc{number:02d}" for number in range(queues)]
    pipeline = client.pipeline(transaction=False)
    for number in range(failed):
        _failed_job(pipeline, names[number % queues], (number + number // queues) % causes)
        if number % BATCH == 0:
            pipeline.execute()
    for name in names:
        pipeline.sadd("rq:queues", f"rq:queue:{name}")
        for _ in range(10):
            pipeline.rpush(f"rq:queue:{name}", _job(pipeline, name, "queued", "shop.mail.send"))
    for number in range(workers):
        _worker(pipeline, f"worker-{number:03d}", names[number % queues])
    pipeline.execute()


def _job(pipeline: redis.client.Pipeline, queue: str, status: str, func: str) -> str:
    job_id, now = str(uuid.uuid4()), utcformat(datetime.now(UTC))
    record = {"status": status, "origin": queue, "created_at": now, "enqueued_at": now, "started_at": now}
    record |= {"ended_at": now, "description": f"{func}(17, retries=3)", "timeout": "180", "worker_name": "worker-001"}
    pipeline.hset(f"rq:job:{job_id}", mapping=record)  # type: ignore[arg-type]
    pipeline.hset(f"rq:job:{job_id}", "data", zlib.compress(json.dumps([func, None, [17], {}]).encode()))
    return job_id


def _failed_job(pipeline: redis.client.Pipeline, queue: str, cause: int) -> None:
    job_id = _job(pipeline, queue, "failed", f"shop.orders.step{cause}")
    error = f"shop.errors.Error{cause % EXCEPTIONS}"
    frames = f'  File "/srv/app/shop/layer{cause}.py", line 12, in call\n    return self.next(payload)\n' * 6
    printed = f"Traceback (most recent call last):\n{frames}{error}: order {job_id} failed\n"
    exc_string = base64.b64encode(zlib.compress(printed.encode()))
    pipeline.expire(f"rq:job:{job_id}", FAILURE_TTL)
    pipeline.xadd(f"rq:results:{job_id}", {"type": 2, "worker_name": "worker-001", "exc_string": exc_string})
    pipeline.zadd(f"rq:failed:{queue}", {job_id: time.time() + FAILURE_TTL})


def _worker(pipeline: redis.client.Pipeline, name: str, queue: str) -> None:
    now = utcformat(datetime.now(UTC))
    record = {"birth": now, "last_heartbeat": now, "queues": queue, "pid": "1", "hostname": "host", "state": "idle"}
    record |= {"version": "3.0.0", "python_version": "3.13.0"}
    pipeline.hset(f"rq:worker:{name}", mapping=record)  # type: ignore[arg-type]
    pipeline.sadd("rq:workers", f"rq:worker:{name}")
    pipeline.sadd(f"rq:workers:{queue}", f"rq:worker:{name}")
