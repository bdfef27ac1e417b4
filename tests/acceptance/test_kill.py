"""kill -9, one process after the other: the others go on, and everything comes back without a hand."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
import redis
from playwright.sync_api import Browser, Page, expect

from tests.acceptance.broker import broker_of, heartbeat_of, serving, workers
from tests.acceptance.steps import a_job, nobody_restarts, post, sign_in, wait_reloading
from tests.support.installation import Installation
from tests.support.waiting import wait_for

pytestmark = pytest.mark.acceptance

POOL, QUEUE = "stdlib-compress", "stdlib.compress"
SECONDS_TO_MISS = 10.0  # from the death of a worker or an agent until the console says so


@pytest.fixture(scope="module")
def broker(victim: Installation) -> redis.Redis:
    return broker_of(victim)


@pytest.fixture(scope="module")
def page(victim: Installation, browser: Browser, broker: redis.Redis) -> Iterator[Page]:
    """An administrator's page, open through all of it."""
    page = sign_in(browser, victim.url, "admin")
    wait_for(lambda: broker.zcard(f"rq:finished:{QUEUE}"), timeout=60, message="the workers have begun")
    yield page
    page.context.close()


def kill(pid: int) -> float:
    """When it happened, unix seconds."""
    os.kill(pid, signal.SIGKILL)
    return time.time()


def jobs_go_on(broker: redis.Redis, queue: str = QUEUE, timeout: float = 60) -> None:
    done = broker.zcard(f"rq:finished:{queue}")
    wait_for(lambda: broker.zcard(f"rq:finished:{queue}") > done, timeout=timeout, message=f"{queue} goes on")


def fresh_since(page: Page, moment: float, timeout: float = 60) -> None:
    """The overview shows a sample that was taken after ``moment``, and nothing needs a person because of us."""

    def look() -> bool:
        page.goto("/")
        shown = page.locator("#pw-fresh time")
        at = (shown.get_attribute("datetime") or "") if shown.count() else ""
        return at > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))

    wait_for(look, timeout=timeout, every=0.5, message="the overview is fresh again")
    expect(page.locator("#pw-fresh")).not_to_contain_text("Stale")


def calm(page: Page, *words: str) -> None:
    """The attention list does not speak of these any more."""

    def look() -> bool:
        page.goto("/")
        said = page.locator("#attention").inner_text()
        return not any(word in said for word in words)

    wait_for(look, timeout=60, every=0.5, message=f"nothing about {words} on the overview")


def test_a_worker(page: Page, victim: Installation, broker: redis.Redis) -> None:
    [worker] = wait_for(lambda: workers(heartbeat_of(broker), POOL, "running"), timeout=30, message="a worker runs")
    dead = worker["name"]
    page.goto(f"/pools/{POOL}/")
    expect(page.locator("#worker-rows tr", has_text=dead)).to_be_visible(timeout=30_000)
    wait_for(lambda: broker.zcard(f"rq:wip:{QUEUE}"), timeout=60, message="it is at work")
    killed = kill(worker["pid"])
    page.goto(f"/pools/{POOL}/?workers=gone")
    row = page.locator("#worker-rows tr", has_text=dead)
    wait_reloading(page, lambda: row.count() == 1, "the worker is shown as gone")
    assert time.time() - killed <= SECONDS_TO_MISS
    expect(row).to_contain_text("Gone")
    wait_for(
        lambda: [w for w in workers(heartbeat_of(broker), POOL, "running") if w["name"] != dead],
        timeout=30,
        message="another in its place",
    )
    jobs_go_on(broker)
    page.goto(f"/audit/?action=worker.lost&target={dead}")
    wait_reloading(page, lambda: page.locator("#timeline li", has_text=dead).count() == 1, "the loss is in the log")
    expect(page.locator("#timeline li")).to_contain_text("signal 9")


def test_an_agent(page: Page, victim: Installation, broker: redis.Redis) -> None:
    """Its workers go on without it, and are the same ones when it comes back."""
    same = {worker["name"] for worker in workers(heartbeat_of(broker), POOL, "running")}
    boot = heartbeat_of(broker)["boot"]
    agent = victim.child("pools.runtime.agent")
    with nobody_restarts(victim):
        killed = kill(agent)
        page.goto("/agents/")
        wait_reloading(page, lambda: page.locator("#agent-local", has_text="Gone").count() == 1, "the agent is gone")
        assert time.time() - killed <= SECONDS_TO_MISS
        page.goto("/")
        expect(page.locator("#attention")).to_contain_text("Agent local is gone")
        jobs_go_on(broker)
        page.goto(f"/pools/{POOL}/")
        for name in same:
            expect(page.locator("#worker-rows tr", has_text=name)).not_to_contain_text("Gone")
    wait_for(lambda: heartbeat_of(broker).get("boot") != boot, timeout=60, message="the agent is back")
    wait_for(
        lambda: {w["name"] for w in workers(heartbeat_of(broker), POOL, "running")} == same,
        timeout=30,
        message="with the same workers",
    )
    calm(page, "Agent local is gone")
    jobs_go_on(broker)


def test_the_web_process(page: Page, victim: Installation, broker: redis.Redis) -> None:
    page.goto("/")
    old = {pid for pid, command in victim.descendants().items() if "granian" in command}
    killed = kill(victim.child("granian"))
    jobs_go_on(broker)
    wait_for(lambda: not old & victim.descendants().keys(), timeout=30, message="nothing of the old one answers")
    wait_for(lambda: victim.get("/healthz")[0] == 200, timeout=60, message="the console answers again")
    expect(page.locator("#pw-fresh")).to_contain_text("Sampled", timeout=30_000)
    fresh_since(page, killed)


def test_the_controller(page: Page, victim: Installation, broker: redis.Redis) -> None:
    """Another process takes over the lease; what was asked for in between is done."""
    job = a_job(page)
    page.goto("/dead-letters/?show=jobs")
    letter = (page.locator("#jobs tr").first.get_attribute("id") or "").removeprefix("letter-")
    with nobody_restarts(victim):
        killed = kill(victim.child("manage.py controller"))
        answer = post(page, "/dead-letters/requeue/", id=letter, reason="While nobody leads")
        assert answer.status == 302, answer.text()
        jobs_go_on(broker)
    fresh_since(page, killed)
    page.goto(answer.headers["location"])
    expect(page.locator("#state")).to_have_text("Ended", timeout=60_000)
    expect(page.locator("#progress")).to_contain_text("1 of 1 have an outcome")
    assert job


def test_the_broker(page: Page, victim: Installation, broker: redis.Redis) -> None:
    """The embedded Valkey comes back with its data; everybody reconnects."""
    known = broker.zcard(f"rq:finished:{QUEUE}")
    killed = kill(victim.child("valkey"))
    page.goto("/")
    expect(page.get_by_role("heading", level=1, name="Overview")).to_be_visible()

    def answers() -> bool:
        try:
            return bool(broker.ping())
        except redis.exceptions.RedisError:
            return False

    wait_for(answers, timeout=60, message="Valkey is back")
    assert broker.zcard(f"rq:finished:{QUEUE}") >= known - 5, "at most a second of work is done again"
    jobs_go_on(broker, timeout=100)
    wait_for(lambda: heartbeat_of(broker).get("at", 0) > killed, timeout=30, message="the agent speaks again")
    fresh_since(page, killed)
    a_job(page)
    letter = (page.locator("#jobs tr").first.get_attribute("id") or "").removeprefix("letter-")
    page.goto(post(page, "/dead-letters/requeue/", id=letter, reason="After the crash").headers["location"])
    expect(page.locator("#state")).to_have_text("Ended", timeout=100_000)


def test_a_tampered_config_is_refused_and_put_back(page: Page, broker: redis.Redis) -> None:
    key, good = config_on(broker)
    running = serving(heartbeat_of(broker), POOL)["running"]
    broker.set(key, flipped(good))
    refused(page, broker, "threshold_not_met")
    jobs_go_on(broker)
    assert serving(heartbeat_of(broker), POOL)["running"] == running
    put_back(page, broker, good)


def config_on(broker: redis.Redis) -> tuple[str, bytes]:
    """The key and the bytes of the pool's published config."""
    key = f"pw:config:{serving(heartbeat_of(broker), POOL)['pool_uid']}"
    envelope = broker.get(key)
    assert isinstance(envelope, bytes)
    return key, envelope


def flipped(envelope: bytes) -> bytes:
    """One bit of the signed payload is another one."""
    body = json.loads(envelope)
    payload = bytearray(base64.b64decode(body["payload"]))
    payload[len(payload) // 2] ^= 1
    return json.dumps(body | {"payload": base64.b64encode(payload).decode()}).encode()


def refused(page: Page, broker: redis.Redis, code: str) -> None:
    """The agent says which rule was broken, and the log keeps it."""
    wait_for(lambda: serving(heartbeat_of(broker), POOL)["refused"], timeout=20, message="the agent refuses")
    page.goto(f"/audit/?action=config.refused&pool={POOL}")
    wait_reloading(page, lambda: page.locator("#timeline li", has_text=code).count() > 0, "the log says so")


def put_back(page: Page, broker: redis.Redis, good: bytes) -> None:
    """The controller heals the broker, nobody refuses any more, and the overview still says what happened."""
    wait_for(lambda: config_on(broker)[1] == good, timeout=60, message="the signed config is back")
    wait_for(lambda: not serving(heartbeat_of(broker), POOL)["refused"], timeout=30, message="the agent takes it")
    calm(page, "refuses")
    item = page.locator("#attention li", has_text=f"Somebody altered on the broker what agents of {POOL} are told")
    wait_reloading(page, lambda: item.count() == 1, "the overview says so")
    item.get_by_role("link", name="See what was found").click()
    expect(page.locator("#timeline li").first).to_contain_text(f"what agents of {POOL} are told altered on the broker")


def test_an_older_version_replayed_is_refused_and_put_back(page: Page, broker: redis.Redis) -> None:
    key, older = config_on(broker)
    page.goto(f"/pools/{POOL}/")
    version = serving(heartbeat_of(broker), POOL)["running"]
    post(page, f"/pools/{POOL}/scale/", workers="2", reason="So that there is an older one")
    wait_for(lambda: serving(heartbeat_of(broker), POOL)["running"] == version + 1, timeout=40, message="the next one")
    _, newest = config_on(broker)
    broker.set(key, older)
    refused(page, broker, "version_rollback")
    assert serving(heartbeat_of(broker), POOL)["running"] == version + 1
    jobs_go_on(broker)
    put_back(page, broker, newest)


def test_no_idle_worker_was_ever_called_gone(page: Page, broker: redis.Redis) -> None:
    """After all of the above the log has lost nobody but the worker that was killed."""
    page.goto("/audit/?action=worker.lost")
    lost = page.locator("#timeline li")
    assert lost.count() <= 1
    for said in lost.all():
        expect(said).to_contain_text("signal 9")
    page.goto("/pools/stdlib-parse/?workers=gone")
    expect(page.locator("#worker-rows")).to_contain_text("No workers match")
    expect(page.locator("#worker-tabs")).to_contain_text("All 2")
