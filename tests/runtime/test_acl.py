"""Every role under a broker user of its own, who may do what the role needs, and nothing else."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis
from pytest_django import Settings
from rq import Queue, Retry

from pools.broker import access
from pools.broker.access import Place
from pools.models import Pool
from pools.operations import Selection, discard_create, requeue_create
from tests.broker.records import write_failed
from tests.controller.installation import ROOT, Installation
from tests.dead_letters.letters import failed, pks
from tests.runtime.specs import spec
from tests.support import factories as make
from tests.support.agents import AgentHost, new_uid
from tests.support.cast import Cast, actor, make_cast, signed_in
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

CANARY = "canary-5b1d"


class Users:
    """Of one broker, gone with the test."""

    def __init__(self, valkey: ValkeyServer) -> None:
        self._valkey, self._names = valkey, list[str]()
        valkey.client.acl_log_reset()

    def add(self, name: str, rules: list[str]) -> str:
        """Its URL."""
        self._names.append(name)
        self._valkey.client.execute_command("ACL", "SETUSER", name, *rules, f">{CANARY}-{name}")
        return f"redis://{name}:{CANARY}-{name}@127.0.0.1:{self._valkey.port}/0"

    def refused(self) -> list[list[str]]:
        """User, kind and name of what was refused."""
        log = self._valkey.client.acl_log(128)
        return [[str(entry[key]) for key in ("username", "reason", "object")] for entry in log]

    def close(self) -> None:
        self._valkey.client.execute_command("ACL", "DELUSER", *self._names)


@pytest.fixture
def cast(transactional_db: None) -> Cast:
    return make_cast()


@pytest.fixture
def payments(cast: Cast) -> Pool:
    return make.pool(cast.payments)


@pytest.fixture
def users(valkey: ValkeyServer) -> Iterator[Users]:
    made = Users(valkey)
    yield made
    made.close()


@pytest.fixture
def host(tmp_path: Path, valkey: ValkeyServer) -> Iterator[AgentHost]:
    """Its agent reads from a file as whom its workers speak to the broker."""
    made = AgentHost(tmp_path / "host", valkey, options=["--worker-redis", str(tmp_path / "urls")])
    yield made
    made.close()


@pytest.mark.django_db(transaction=True)
def test_controller_and_console_jobs_need_no_more_than_they_may(
    cast: Cast, payments: Pool, users: Users, valkey: ValkeyServer, tmp_path: Path, settings: Settings
) -> None:
    write_failed(valkey.client, "j1", "j2", queue=payments.queues[0])
    failed(payments, "j1", "j2")
    requeue_create(actor=actor(cast.bob), selection=Selection(ids=tuple(pks("j1"))), reason="It is back")
    discard_create(actor=actor(cast.bob), selection=Selection(ids=tuple(pks("j2"))), reason="A test")
    installation = Installation(tmp_path / "home", valkey)
    installation.open()
    mine = {"POOLWARDEN_REDIS_URL": users.add("controller", access.controller(Place()))}
    said = ""
    for command in (["controller", "--once"], ["rqworker", "console", "--burst"], ["controller", "--once"]):
        ran = subprocess.run(
            [sys.executable, "manage.py", *command], cwd=ROOT, env=installation.environment | mine, capture_output=True
        )
        said += (ran.stdout + ran.stderr).decode()
        assert ran.returncode == 0, said
    assert valkey.client.lrange(f"rq:queue:{payments.queues[0]}", 0, -1) == [b"j1"], said
    assert valkey.client.exists("pw:shelf:job:j2"), said
    assert CANARY not in said
    url = users.add("console", access.console(Place()))
    settings.POOLWARDEN_BROKERS = {"default": {"url": url, "prefix": "rq", "region": "here"}}
    browser = signed_in(cast.bob)
    for page in (
        "/jobs/j1/",
        f"/pools/{payments.slug}/isolation/",
        "/dead-letters/preview/?kind=requeue&q=",
        "/readyz",
    ):
        answer = browser.get(page)
        assert CANARY not in answer.content.decode() and answer.status_code in (200, 503), page
    assert users.refused() == []


def full() -> dict[str, Any]:
    """Whatever makes a script of its own run."""
    limit = {"name": "each", "tasks": ["tasks.*"], "concurrency": 5, "per_second": 1000, "burst": 100, "by": "queue"}
    once = {"task": "tasks.add", "idempotency_key": "0", "idempotency_keep": 60, "fallback": "tasks.note"}
    tick = {"name": "tick", "task": "tasks.environment", "schedule": "* * * * *"}
    return spec(
        workers=2,
        queues=["mail", "bulk"],
        weights={"mail": 2},
        retry=[{"task": "tasks.fail", "max": 1, "backoff": 1, "cap": 1, "jitter": 0}],
        retry_budget={"percent": 10},
        policies=[
            {"task": "tasks.kill_worker", "delivery": "at_least_once", "losses": 2},
            once | {"deadline": 3600, "schema_versions": [1]},
        ],
        breakers=[{"name": "smtp", "tasks": ["tasks.fail"], "failures": 100}],
        limits=[limit],
        cron=[tick | {"catch_up": "all", "overlap": "allow"}],
    )


def test_agents_and_workers_need_no_more_than_they_may(host: AgentHost, users: Users, tmp_path: Path) -> None:
    uid, client, urls = new_uid(), host.valkey.client, tmp_path / "urls"
    urls.touch(0o600)
    urls.write_text(f"# its own\npool {users.add('worker', access.worker(Place(), uid, ['mail', 'bulk']))}\n")
    host.environment["POOLWARDEN_REDIS_URL"] = users.add("agent", access.agent(Place()))
    queue, bulk = (Queue(name, connection=client) for name in ("mail", "bulk"))
    host.configure(uid, full())
    host.start()
    host.wait_for_workers(uid, 2)
    wait_for(lambda: client.hget(host.keys.cron(uid), "version") == b"1", message="the cron entry is adopted")
    client.hset(host.keys.cron(uid), "tick:slot", int(time.time()) // 60 * 60 - 120)
    shown = queue.enqueue("tasks.environment")
    jobs = [shown, queue.enqueue("tasks.add", 1, 2), queue.enqueue("tasks.add", 1, 3), bulk.enqueue("tasks.note")]
    jobs += [queue.enqueue("tasks.fail", retry=Retry(1)), queue.enqueue("tasks.fail"), queue.enqueue("no.such.task")]
    jobs += [queue.enqueue("tasks.kill_worker", str(tmp_path / "ran"))]
    jobs += [bulk.enqueue("tasks.add", 5, n, depends_on=jobs[1]) for n in range(2)]
    jobs += [queue.enqueue("tasks.add", 7, 7)]
    client.hset(jobs[-1].key, "data", b"damage")
    for state in ("paused", "running"):
        host.command(uid, state)
        wait_for(lambda state=state: host.pool(uid)["run_state"] == state, message=state)
    ended = ("finished", "failed")
    wait_for(
        lambda: all(job.get_status() in ended for job in jobs),
        timeout=60,
        message=f"all have ended; {users.refused()} {host.log()[-3000:]}",
    )
    assert [job.get_status() for job in jobs[:4]] == ["finished"] * 4
    assert CANARY not in str(shown.return_value()) + host.log()
    assert CANARY not in Path(f"/proc/{host.pid}/cmdline").read_text()
    host.command(uid, "draining")
    wait_for(lambda: not host.workers(uid), timeout=20, message="drained")
    host.stop()
    assert users.refused() == []


REFUSED = [
    ("worker", "FLUSHALL"), ("worker", "KEYS *"), ("worker", "CONFIG GET *"), ("worker", "SCRIPT KILL"),
    ("worker", "GET pw:config:other"), ("worker", "HSET pw:desired other x"), ("worker", "SET pw:run:mine x"),
    ("worker", "RPUSH rq:queue:other x"), ("worker", "ZADD rq:failed:other 1 x"), ("worker", "HGETALL pw:agents"),
    ("worker", "EVAL return(redis.call('GET','pw:config:other')) 0"), ("worker", "XREAD STREAMS pw:events 0"),
    ("agent", "SET pw:config:mine x"), ("agent", "SET pw:run:mine x"), ("agent", "HSET pw:desired mine x"),
    ("agent", "ACL LIST"), ("agent", "FLUSHDB"), ("agent", "CLIENT KILL ID 1"),
    ("console", "HSET rq:job:x status queued"), ("console", "DEL rq:job:x"), ("console", "SET pw:run:mine x"),
    ("console", "LPUSH rq:queue:mail x"), ("console", "XADD pw:events * type x"), ("console", "MONITOR"),
    ("controller", "FLUSHALL"), ("controller", "CONFIG SET dir /"), ("controller", "ACL SETUSER x on"),
    ("controller", "SET elsewhere x"), ("controller", "BGREWRITEAOF"), ("controller", "REPLICAOF NO ONE"),
    ("producer", "XRANGE rq:results:x - +"), ("producer", "LRANGE rq:queue:mail 0 -1"),
    ("producer", "RPUSH rq:queue:other x"),
    ("producer", "HSET pw:desired mine x"), ("producer", "ZADD rq:failed:mail 1 x"), ("producer", "KEYS *"),
]  # fmt: skip


def test_what_each_role_may_not(users: Users) -> None:
    rules = {
        "worker": access.worker(Place(), "mine", ["mail"]),
        "agent": access.agent(Place()),
        "console": access.console(Place()),
        "controller": access.controller(Place()),
        "producer": access.producer(Place(), ["mail"]),
    }
    clients = {role: redis.Redis.from_url(users.add(role, told)) for role, told in rules.items()}
    for role, command in REFUSED:
        with pytest.raises(redis.exceptions.ResponseError, match=r"permission|ACL failure"):
            clients[role].execute_command(*command.split(" "))
    job = Queue("mail", connection=clients["producer"]).enqueue("tasks.add", 1, 2)
    Queue("mail", connection=clients["producer"]).enqueue_at(datetime(2030, 1, 1, tzinfo=UTC), "tasks.add")
    assert clients["worker"].lrange("rq:queue:mail", 0, -1) == [job.id.encode()]


@pytest.mark.parametrize(
    ("mode", "text", "said"),
    [
        (0o640, "", "can be read by others: chmod 600"),
        (0o600, f"pool redis://u:{CANARY}@h more", "line 1: a pool's name, or *, and a URL are wanted"),
        (0o600, f"\n# of pools\n* http://u:{CANARY}@h", "line 3: the URL must look like redis://"),
    ],
)
def test_a_file_of_urls_that_cannot_be_used_is_refused_and_never_quoted(
    host: AgentHost, tmp_path: Path, mode: int, text: str, said: str
) -> None:
    (tmp_path / "urls").write_text(text)
    (tmp_path / "urls").chmod(mode)
    host.start()
    assert host.process is not None and host.process.wait(20) == 2
    host.process = None
    assert said in host.output.read_text() and CANARY not in host.output.read_text()
