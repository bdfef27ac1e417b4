"""Breakers and limits on a pool's page, and opening and closing them by hand: who, how, and what stays as it was."""

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import Event
from pools.models import OutboxMessage, Pool, PoolNow, RunCommand
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

WHY = {"reason": "The gateway moves tonight"}
VERBS = ["open", "close"]


def url(verb: str, pool: str = "payments", name: str = "gateway") -> str:
    return f"/pools/{pool}/breakers/{name}/{verb}/"


def seen(pool: Pool, state: str, **told: object) -> None:
    """As the sampler saw it a minute ago."""
    since = int(timezone.now().timestamp()) - 60
    breaker = {"state": state, "since": since, "passed": 0, "generation": 0, "failures": 0, "probing": 0}
    gates = {"breakers": {"gateway": breaker | {"tasks": ["shop.charge*"]} | told}, "limits": {}}
    PoolNow.objects.filter(pool=pool).update(gates=gates)


def unchanged(pool: Pool) -> bool:
    before = pool.generation
    pool.refresh_from_db()
    return before == pool.generation and not RunCommand.objects.exists() and not OutboxMessage.objects.exists()


@pytest.mark.parametrize(
    ("verb", "said", "wanted"),
    [("open", "Hold breaker gateway open", "open"), ("close", "Close breaker gateway", "closed")],
)
def test_on_call_does_it_with_a_reason(cast: Cast, payments: Pool, verb: str, said: str, wanted: str) -> None:
    response = signed_in(cast.bob).post(url(verb), WHY, follow=True)
    assert response.redirect_chain == [("/pools/payments/", 302)]
    command = RunCommand.objects.get()
    assert (command.reason, command.issued_by, command.state) == (WHY["reason"], "bob", "running")
    assert command.breakers == [{"breaker": "gateway", "state": wanted, "generation": 1}]
    assert OutboxMessage.objects.get().key == "payments:1"
    event = Event.objects.get()
    assert (event.action, event.outcome, event.reason) == (
        f"breaker.{'opened' if verb == 'open' else 'closed'}",
        "done",
        WHY["reason"],
    )
    content = response.content.decode()
    assert said in content and "no worker has asked for a job since" in content


@pytest.mark.parametrize("verb", VERBS)
def test_a_viewer_is_refused_and_the_attempt_recorded(cast: Cast, payments: Pool, verb: str) -> None:
    response = signed_in(cast.vera).post(url(verb), WHY)
    assert response.status_code == 403 and "control_pool on payments" in response.content.decode()
    event = Event.objects.get()
    assert (event.outcome, event.actor_name, event.detail) == ("denied", "vera", {"permission": "control_pool"})
    assert unchanged(payments)


@pytest.mark.parametrize("verb", VERBS)
def test_others_and_other_ways_change_nothing(cast: Cast, payments: Pool, verb: str) -> None:
    assert signed_in(cast.charlie).post(url(verb), WHY).status_code == 404
    assert Client().post(url(verb), WHY)["Location"].startswith("/sign-in/")
    bob = signed_in(cast.bob)
    assert bob.get(url(verb), WHY).status_code == 200
    assert bob.put(url(verb)).status_code == 405
    assert bob.post(url(verb), {"reason": " "}).status_code == 422
    assert bob.post(url(verb, name="nothing"), WHY).status_code == 404
    assert bob.post(url(verb), WHY | {"expected_version": "7"}).status_code == 409
    assert unchanged(payments)


def test_pausing_keeps_what_is_wanted_of_breakers(cast: Cast, payments: Pool) -> None:
    bob = signed_in(cast.bob)
    bob.post(url("open"), WHY)
    bob.post("/pools/payments/pause/", WHY)
    command = RunCommand.objects.get(generation=2)
    assert command.breakers == [{"breaker": "gateway", "state": "open", "generation": 1}]
    assert (command.state, command.breaker, command.said) == ("paused", "", "Paused")
    assert "is held open already" in bob.post(url("open"), WHY).content.decode()
    bob.post(url("close"), WHY)
    assert RunCommand.objects.get(generation=3).breakers == [{"breaker": "gateway", "state": "closed", "generation": 3}]


@pytest.mark.parametrize(
    ("state", "told", "said"),
    [
        ("closed", {"failures": 2}, "2 of 5"),
        ("open", {}, "the next job is a probe"),
        ("half_open", {"passed": 0, "probing": 1}, "0 of 1 probes passed, 1 running"),
        ("held", {}, "until a person closes it"),
    ],
)
def test_the_page_says_how_it_stands(cast: Cast, payments: Pool, state: str, told: dict[str, int], said: str) -> None:
    seen(payments, state, **told)
    content = signed_in(cast.bob).get("/pools/payments/").content.decode()
    assert said in content and "a breaker is open" in content
    assert ("Close gateway" in content, "Hold gateway open" in content) == (state != "closed", state != "held")
    viewer = signed_in(cast.vera).get("/pools/payments/").content.decode()
    assert said in viewer and "Hold gateway open" not in viewer and "control_pool" in viewer


def test_limits_are_shown_with_what_is_used(cast: Cast) -> None:
    limits = [
        {"name": "api", "tasks": ["a.*"], "per_second": 20, "burst": 5, "concurrency": 3},
        {"name": "each", "tasks": ["b.*"], "concurrency": 2, "by": "tenant"},
    ]
    pool = make.pool(cast.payments, "mail", versions=0, published_number=1, now={"workers": 1})
    make.config_version(pool, 1, make.spec(queues=["mail"], limits=limits))
    PoolNow.objects.filter(pool=pool).update(gates={"breakers": {}, "limits": {"api": {"running": 2, "used": 4}}})
    content = signed_in(cast.bob).get("/pools/mail/").content.decode()
    for said in ("2 of 3", "20 a second", "4 of a burst of 5 used", "at most 2 each", "for each tenant"):
        assert said in content, said


def test_jobs_that_wait_for_an_unknown_version_are_shown_when_they_wait_long(cast: Cast) -> None:
    pool = make.pool(cast.payments, "mail", versions=0, published_number=1, now={"workers": 1})
    policies = [{"task": "shop.*", "schema_versions": [3]}]
    make.config_version(pool, 1, make.spec(queues=["mail"], policies=policies))
    for seconds, jobs, said in (
        (30, 12, ""),
        (90, 12, "12 jobs wait "),
        (90, 1, "1 job waits "),
        (90, 100, "100 or more"),
    ):
        since = int(make.ago(seconds=seconds).timestamp())
        told = [{"task": "shop.charge", "version": "4", "jobs": jobs, "since": since}]
        PoolNow.objects.filter(pool=pool).update(gates={"unknown": told})
        content = signed_in(cast.vera).get("/pools/mail/").content.decode()
        assert (f"{said}" in content) and ("knows version 4 of shop.charge" in content) == bool(said), (seconds, jobs)
