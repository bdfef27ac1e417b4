"""What a look at the broker becomes: queues, agents, workers and figures; few statements, only what changed."""

import time
from datetime import UTC, datetime, timedelta

import pytest
import redis
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rq import Queue

from audit.models import Event
from audit.sentences import sentence
from pools.broker.connection import Broker, BrokerUnavailable
from pools.controller.lease import LeaderLease
from pools.controller.sampler import Sampler
from pools.models import (
    Agent,
    AgentPool,
    BrokerState,
    ConfigVersion,
    Pool,
    PoolNow,
    QueueState,
    Team,
    Worker,
)
from tests.broker.jobs import succeeds
from tests.controller.beats import FakeAgent
from tests.controller.conftest import Tick
from tests.controller.pools import new_pool, new_version
from tests.support.events import recent_actions
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

pytestmark = pytest.mark.django_db


@pytest.fixture
def sampler(lease: LeaderLease, broker: Broker) -> Sampler:
    return Sampler(lease)


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def agent(client: redis.Redis) -> FakeAgent:
    return FakeAgent(client)


def test_queues_belong_to_the_pool_whose_config_lists_them(
    sampler: Sampler, tick: Tick, client: redis.Redis, team: Team
) -> None:
    pool = new_pool(team, "payments", queues=["payments", "payments.high"])
    Queue("payments", connection=client).enqueue(succeeds)
    tick(sampler)
    assert list(QueueState.objects.values_list("name", "pool__slug", "depth")) == [
        ("payments", "payments", 1),
        ("payments.high", "payments", 0),
    ]
    now = PoolNow.objects.get(pool=pool)
    assert now.waiting == 1
    assert now.oldest_enqueued_at is not None
    assert datetime.now(UTC) - now.oldest_enqueued_at < timedelta(seconds=5)
    assert Pool.objects.count() == 1, "nothing is unclaimed, so there is no attached pool"


def test_unclaimed_queues_make_the_attached_pool_and_the_console_its_own(
    sampler: Sampler, tick: Tick, client: redis.Redis, team: Team
) -> None:
    for name in ("mail", "reports", "console"):
        Queue(name, connection=client).enqueue(succeeds)
    tick(sampler)
    tick(sampler)
    assert {pool.slug: (pool.kind, pool.queues, pool.team) for pool in Pool.objects.all()} == {
        "attached": ("attached", ["mail", "reports"], team),
        "console": ("console", ["console"], team),
    }
    assert sorted(name for _, _, name in recent_actions(2)) == ["attached", "console"]
    assert {action for action, *_ in recent_actions(2)} == {"pool.attached"}
    new_pool(team, "mail")
    tick(sampler)
    assert Pool.objects.get(slug="attached").queues == ["reports"]
    assert QueueState.objects.get(name="mail").pool.slug == "mail"


def test_a_queue_that_is_no_more_is_forgotten(sampler: Sampler, tick: Tick, client: redis.Redis, team: Team) -> None:
    queue = Queue("mail", connection=client)
    queue.enqueue(succeeds)
    tick(sampler)
    queue.delete()
    tick(sampler)
    assert not QueueState.objects.exists()


def test_an_agent_is_seen_with_what_it_runs(sampler: Sampler, tick: Tick, agent: FakeAgent, team: Team) -> None:
    pool = new_pool(team, workers=4)
    refused = {"version": 2, "code": "expired", "detail": "It expired.", "at": 1767225600.5}
    agent.serve(pool, told=2, refused=refused)
    agent.supervise(pool, "pay-01/1")
    agent.beat()
    Pool.objects.update(published_number=1)
    tick(sampler)
    seen = Agent.objects.get()
    assert (seen.name, seen.host, seen.labels, seen.gone_at) == ("pay-01", "host-1", {"zone": "a"}, None)
    served = AgentPool.objects.get()
    assert (served.told, served.running, served.refused_code) == (2, 1, "expired")
    assert served.refused_at == datetime(2026, 1, 1, 0, 0, 0, 500_000, UTC)
    worker = Worker.objects.get()
    assert (worker.pool, worker.agent, worker.state, worker.config_number) == (pool, seen, "running", 1)
    now = PoolNow.objects.get()
    assert (now.workers, now.wanted) == (1, 4)
    assert recent_actions(1) == [("agent.seen_first", "done", "pay-01")]


def test_workers_are_wanted_only_where_the_placement_fits(
    sampler: Sampler, tick: Tick, client: redis.Redis, team: Team
) -> None:
    pool = new_pool(team, workers=4, placement={"zone": "a"})
    Pool.objects.update(published_number=1)
    for name, zone in (("pay-01", "a"), ("pay-02", "b"), ("pay-03", "a")):
        agent = FakeAgent(client, name)
        agent.serve(pool)
        agent.beat(labels={"zone": zone, "disk": "ssd"})
    tick(sampler)
    assert PoolNow.objects.get().wanted == 8


def test_a_pool_that_an_agent_left_is_forgotten(sampler: Sampler, tick: Tick, agent: FakeAgent, team: Team) -> None:
    agent.serve(new_pool(team))
    agent.beat()
    tick(sampler)
    agent.pools.clear()
    agent.beat()
    tick(sampler)
    assert not AgentPool.objects.exists()


def test_an_agent_that_falls_silent_is_lost_within_10_s_and_may_return(
    sampler: Sampler, tick: Tick, agent: FakeAgent, team: Team
) -> None:
    agent.beat()
    tick(sampler)
    agent.beat()
    began = time.monotonic()

    def gone() -> bool:
        tick(sampler)
        return Agent.objects.get().gone_at is not None

    wait_for(gone, timeout=10, every=1.0, message="the agent is shown as gone")
    assert time.monotonic() - began > 5, "one late beat is no loss"
    assert recent_actions(1) == [("agent.lost", "done", "pay-01")]
    agent.beat()
    tick(sampler)
    assert Agent.objects.get().gone_at is None
    assert recent_actions(1) == [("agent.returned", "done", "pay-01")]


def test_silence_that_nobody_could_hear_does_not_count(
    lease: LeaderLease, tick: Tick, agent: FakeAgent, broker: Broker, team: Team
) -> None:
    agent.beat()
    tick(Sampler(lease))
    Agent.objects.update(last_seen=datetime.now(UTC) - timedelta(minutes=5))
    tick(Sampler(lease))
    assert Agent.objects.get().gone_at is None, "a new leader listens first"


def test_what_a_dead_agent_left_behind_is_no_agent(sampler: Sampler, tick: Tick, agent: FakeAgent, team: Team) -> None:
    agent.beat(at=time.time() - 3600)
    tick(sampler)
    assert not Agent.objects.exists()
    agent.beat(at=time.time() - 3600)
    tick(sampler)
    assert Agent.objects.get().name == "pay-01", "it speaks, so it lives, whatever its clock says"


@pytest.mark.parametrize(
    "more",
    [
        {"seq": 2**70},
        {"labels": ["a"]},
        {"pools": [{"pool_uid": 7}]},
        {"workers": [{"name": ""}]},
        {"workers": "none"},
        {"pools": [{"pool_uid": "x", "generation": -1}]},
        {"at": 1e300},
        {"workers": [{"name": "\ud800", "pool_uid": "x", "state": "running"}]},
    ],
)
def test_a_malformed_heartbeat_harms_nobody(
    sampler: Sampler, tick: Tick, agent: FakeAgent, client: redis.Redis, team: Team, more: dict[str, object]
) -> None:
    agent.beat(**more)
    FakeAgent(client, "pay-02").beat()
    tick(sampler)
    assert list(Agent.objects.values_list("name", flat=True)) == ["pay-02"]


def test_hostile_text_is_cut_to_what_fits(sampler: Sampler, tick: Tick, agent: FakeAgent, team: Team) -> None:
    pool = new_pool(team)
    agent.serve(pool, refused={"version": None, "code": "x" * 500, "detail": "a\x00b" * 2000, "at": 0})
    agent.beat(host="h\x00\ud800" * 1000, labels={"a\x00": "\x00b"})
    tick(sampler)
    assert Agent.objects.get().labels == {"a": "b"}
    assert len(AgentPool.objects.get().refused_detail) == 1000


def test_records_that_no_column_holds_harm_nobody(
    sampler: Sampler, tick: Tick, client: redis.Redis, team: Team, broker: Broker
) -> None:
    client.sadd("rq:queues", "rq:queue:" + "q" * 300, "rq:queue:mail", b"rq:queue:\xff\x00")
    client.sadd("rq:workers", "rq:worker:" + "w" * 300, "rq:worker:w1")
    record = {"birth": "2026-01-02T03:04:05.000006Z", "pid": "9" * 20, "successful_job_count": "9" * 25}
    record |= {"hostname": "h" * 999, "queues": f"mail,{'q' * 300}", "state": "s" * 99, "version": "v" * 99}
    client.hset("rq:worker:w1", mapping=record)
    client.sadd("rq:worker:w1:executions", "j" * 900 + ":1")
    connected = redis.Redis.from_url(broker.url, client_name="w1")
    connected.ping()
    tick(sampler)
    assert [name for name in QueueState.objects.values_list("name", flat=True) if len(name) > 255] == []
    worker = Worker.objects.get()
    assert (worker.name, worker.pid, worker.successful, len(worker.current_job_id)) == ("w1", None, 2**63 - 1, 500)
    connected.close()


def test_a_reaped_worker_is_gone_and_its_agents_death_alone_does_not_kill_it(
    sampler: Sampler, tick: Tick, agent: FakeAgent, team: Team
) -> None:
    pool = new_pool(team)
    agent.supervise(pool, "pay-01/1")
    agent.supervise(pool, "pay-01/2", state="starting")
    agent.beat()
    tick(sampler)
    agent.workers.pop(0)
    agent.beat()
    tick(sampler)
    assert dict(Worker.objects.values_list("name", "gone_at"))["pay-01/2"] is None
    assert Worker.objects.get(name="pay-01/1").gone_at is not None
    assert PoolNow.objects.get().workers == 1


def test_a_broker_that_is_away_is_said_to_be(
    lease: LeaderLease, tick: Tick, own_valkey: ValkeyServer, settings: object, broker: Broker
) -> None:
    settings.POOLWARDEN_BROKERS = {"default": {"url": own_valkey.url, "prefix": "rq", "region": "eu"}}  # type: ignore[attr-defined]
    sampler = Sampler(lease)
    tick(sampler)
    state = BrokerState.objects.get()
    assert (state.reachable, state.error, state.region, state.round_trips > 0) == (True, "", "eu", True)
    own_valkey.kill()
    with pytest.raises(BrokerUnavailable):
        tick(sampler)
    state = BrokerState.objects.get()
    assert not state.reachable and "cannot be reached" in state.error
    own_valkey.start()
    tick(sampler)
    assert BrokerState.objects.get().reachable


def test_many_queues_and_workers_take_few_statements(
    sampler: Sampler, tick: Tick, client: redis.Redis, team: Team
) -> None:
    pipeline = client.pipeline()
    for n in range(500):
        pipeline.sadd("rq:queues", f"rq:queue:q{n}")
        pipeline.rpush(f"rq:queue:q{n}", *range(n % 7 + 1))
    agent = FakeAgent(client)
    pool = new_pool(team)
    new_version(pool, workers=9)
    Pool.objects.filter(pk=pool.pk).update(published_number=2)
    ConfigVersion.objects.filter(number=2).update(state="published")
    agent.serve(pool)
    for n in range(1000):
        agent.supervise(pool, f"pay-01/{n}")
        record = {"hostname": "host-1", "pid": n, "queues": "payments", "state": "idle", "version": "3.0.0"}
        record |= {"birth": "2026-01-02T03:04:05.000006Z", "successful_job_count": n, "failed_job_count": 0}
        pipeline.sadd("rq:workers", f"rq:worker:pay-01/{n}")
        pipeline.hset(f"rq:worker:pay-01/{n}", mapping=record)
    pipeline.execute()
    agent.beat()
    tick(sampler)
    assert (QueueState.objects.count(), Worker.objects.filter(gone_at=None).count()) == (501, 1000)
    agent.beat()
    with CaptureQueriesContext(connection) as queries:
        tick(sampler)
    assert len(queries) <= 30, [query["sql"][:100] for query in queries]
    assert PoolNow.objects.get(pool=pool).workers == 1000
    assert BrokerState.objects.get().round_trips <= 5


def test_breakers_and_limits_are_read_with_the_rest(
    sampler: Sampler, tick: Tick, client: redis.Redis, team: Team
) -> None:
    breaker = {"name": "smtp", "tasks": ["mail.*"], "failures": 3, "window": 60}
    limits = [{"name": "api", "tasks": ["a.*"], "per_second": 10, "burst": 5, "concurrency": 3}]
    limits += [{"name": "each", "tasks": ["b.*"], "concurrency": 2, "by": "tenant"}]
    pool = new_pool(team, "payments", queues=["payments"], breakers=[breaker], limits=limits)
    new_pool(team, "plain", queues=["plain"], breakers=[])
    Pool.objects.update(published_number=1)
    tick(sampler)
    round_trips = BrokerState.objects.get().round_trips
    seen = PoolNow.objects.get(pool=pool).gates
    assert seen["breakers"]["smtp"]["state"] == "closed" and seen["limits"]["api"] == {"running": 0, "used": 0}
    key, now = f"pw:gates:{pool.uid}", time.time()
    client.hset(f"{key}:breaker:smtp", mapping={"state": "half_open", "since": int(now) * 1000, "passed": 1})
    client.rpush(f"{key}:breaker:smtp:failures", int(now * 1000), int((now - 30) * 1000), int((now - 90) * 1000))
    client.sadd(f"{key}:breaker:smtp:probes", "w-1")
    client.sadd(f"{key}:limit:api::running", "w-1", "w-2")
    client.set(f"{key}:limit:api::rate", int((now + 100) * 1_000_000))
    tick(sampler)
    seen = PoolNow.objects.get(pool=pool).gates
    assert seen["breakers"]["smtp"] == {
        "state": "half_open",
        "since": int(now),
        "passed": 1,
        "generation": 0,
        "failures": 2,
        "probing": 1,
        "tasks": ["mail.*"],
    }
    assert seen["limits"] == {"api": {"running": 2, "used": 5}, "each": {"running": 0, "used": 0}}
    assert BrokerState.objects.get().round_trips == round_trips
    assert PoolNow.objects.get(pool__slug="plain").gates == {}


def test_breakers_that_turn_by_themselves_are_events(
    sampler: Sampler, tick: Tick, client: redis.Redis, team: Team
) -> None:
    pool = new_pool(team, "payments", queues=["payments"], breakers=[{"name": "smtp", "tasks": ["mail.*"]}])
    Pool.objects.update(published_number=1)
    key = f"pw:gates:{pool.uid}:breaker:smtp"

    def turned(state: str, generation: int = 0, since: int = 1_700_000_000_000) -> list[str]:
        before = set(Event.objects.values_list("pk", flat=True))
        client.hset(key, mapping={"state": state, "since": since, "generation": generation})
        tick(sampler)
        new = Event.objects.exclude(pk__in=before)
        assert all(event.target_name == "payments" and event.detail["breaker"] == "smtp" for event in new)
        return [event.action for event in new]

    tick(sampler)
    assert not Event.objects.filter(action__startswith="breaker.").exists()
    assert turned("open") == ["breaker.tripped"]
    event = Event.objects.get(action="breaker.tripped")
    assert (event.actor_name, event.detail["since"]) == ("controller", "2023-11-14T22:13:20+00:00")
    assert sentence(event) == "Controller saw breaker smtp of payments open"
    assert [turned(state) for state in ("half_open", "open", "open", "half_open")] == [[]] * 4
    assert turned("closed") == ["breaker.recovered"]
    assert turned("closed") == []
    assert turned("half_open") == ["breaker.tripped"], "it opened and half-opened between two looks"
    assert turned("closed", 1) == [], "a person closed it: that has an event of its own"
    assert [turned(state, number) for state, number in (("held", 2), ("closed", 3))] == [[], []]
    Sampler(sampler._lease).tick()
    assert turned("closed", 3) == [], "nor does another controller see it anew"
    assert turned("open", 3) == ["breaker.tripped"]
    assert turned("open", 4) == ["breaker.tripped"], "a person closed it, and it opened again between two looks"
    assert turned("closed", 4, since=0) == [], "nothing recovered: the broker has lost its data"


def test_hostile_values_of_breakers_are_nothing(sampler: Sampler, tick: Tick, client: redis.Redis, team: Team) -> None:
    pool = new_pool(team, "payments", queues=["payments"], breakers=[{"name": "smtp", "tasks": ["mail.*"]}])
    Pool.objects.update(published_number=1)
    key = f"pw:gates:{pool.uid}:breaker:smtp"
    client.set(key, "no hash")
    client.hset(f"{key}:failures", "no", "list")
    tick(sampler)
    assert PoolNow.objects.get(pool=pool).gates["breakers"]["smtp"]["failures"] == 0
    client.delete(key)
    client.hset(key, mapping={"state": b"\xff" * 100, "since": "soon", "passed": "-", "generation": "x"})
    tick(sampler)
    assert PoolNow.objects.get(pool=pool).gates["breakers"]["smtp"]["since"] == 0
    client.hset(key, mapping={"state": "open", "since": "9" * 18, "generation": 0})
    tick(sampler)
    assert Event.objects.filter(action="breaker.tripped").count() == 1, "a time that no page can show is none"
