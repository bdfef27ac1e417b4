"""The first page: what needs a person, in order, and what stays quiet."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from pools.models import (
    Agent,
    ControllerLease,
    DeadLetter,
    GroupState,
    Operation,
    OperationState,
    Pool,
    PoolKind,
    PoolNow,
    RunState,
    Worker,
)
from pools.operations import Selection, requeue_create
from pools.selectors.attention import attention
from pools.selectors.dead_letters import DeadLetterFilter
from pools.selectors.fleet import presences
from pools.selectors.overview import overview
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

NOW = {"waiting": 40, "workers": 0, "busy": 0, "wanted": 4}
pytestmark = pytest.mark.usefixtures("healthy")


@pytest.fixture
def healthy(db: None) -> None:
    make.broker()
    make.lease()


def shown(cast: Cast, path: str = "/") -> str:
    return signed_in(cast.alice).get(path).content.decode()


def titles(cast: Cast) -> list[str]:
    """The titles of the urgent items, in order."""
    response = signed_in(cast.alice).get("/")
    return [item.title for item in response.context["seen"].urgent]


def test_a_quiet_fleet_needs_nobody(cast: Cast, payments: Pool) -> None:
    content = shown(cast)
    assert "Nothing needs a person" in content and "nothing now" in content
    assert "3 <span" in content and "of 4" in content and "v2" in content


def test_pools_of_other_teams_do_not_exist(cast: Cast, payments: Pool) -> None:
    make.pool(cast.elsewhere, "hidden-pool", now={"waiting": 9, "workers": 0, "wanted": 1})
    assert "hidden-pool" not in shown(cast)
    assert "hidden-pool" in signed_in(cast.charlie).get("/").content.decode()


def test_without_a_pool_the_page_says_what_to_do(cast: Cast) -> None:
    assert "Make the first pool" in shown(cast)
    vera = signed_in(cast.vera).get("/").content.decode()
    assert "You see no pools" in vera and "ada can give you a role" in vera


def test_jobs_wait_and_the_only_agent_is_gone(cast: Cast) -> None:
    pool = make.pool(cast.payments, now=NOW)
    make.serves(make.agent("ix-02", last_seen=make.ago(minutes=6), gone_at=make.ago(minutes=6)), pool)
    assert titles(cast) == ["payments has 40 jobs waiting and no workers"]
    content = shown(cast)
    assert "Its agent ix-02 was last heard" in content and "/agents/#agent-ix-02" in content


def test_jobs_wait_and_no_agent_ever_came(cast: Cast) -> None:
    make.pool(cast.payments, now=NOW)
    assert "No agent serves it. The jobs stay where they are." in shown(cast)


def test_messages_that_do_not_arrive(cast: Cast) -> None:
    make.pool(cast.payments)
    channel = make.channel(cast.payments)
    payload = {"type": "test", "data": {"title": "x"}}
    channel.deliveries.create(payload=payload, attempts=2, last_error="It answered 500")
    assert "do not arrive" not in shown(cast)
    channel.deliveries.update(attempts=3)
    assert "Messages over oncall do not arrive" in shown(cast) and "It answered 500." in shown(cast)
    assert "do not arrive" not in signed_in(cast.charlie).get("/").content.decode()


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.DRAINING])
def test_a_pool_without_workers_by_choice_is_only_a_notice(cast: Cast, state: RunState) -> None:
    pool = make.pool(cast.payments, now=NOW | {"wanted": 0})
    make.run_command(pool, state, reason="Counting the tills")
    make.serves(make.agent(), pool)
    seen = signed_in(cast.alice).get("/").context["seen"]
    assert seen.urgent == [] and [item.title for item in seen.quiet] == [
        f"payments is {state.label.lower()}, with 40 jobs waiting"
    ]
    assert "1 quieter notice" in shown(cast) and "Counting the tills" in shown(cast)


def test_a_refused_config(cast: Cast, payments: Pool) -> None:
    make.serves(
        make.agent("gpu-03"),
        payments,
        verified=1,
        running=1,
        refused_version=2,
        refused_code="broken_chain",
        refused_detail="prev_sha256 is not that of v1",
        refused_at=make.ago(minutes=5),
    )
    make.worker(payments, config_number=1)
    assert titles(cast) == ["Agent gpu-03 refuses v2 of payments"]
    content = shown(cast)
    assert "it does not follow the version that the agent trusts: prev_sha256 is not that of v1" in content
    assert "It keeps running v1, the last it verified." in content and "by gpu-03" in content


def test_desired_state_that_somebody_altered(cast: Cast, payments: Pool) -> None:
    Pool.objects.filter(pk=payments.pk).update(altered_at=make.ago(minutes=5))
    assert titles(cast) == ["Somebody altered on the broker what agents of payments are told"]
    assert "/audit/?action=config.altered&amp;pool=payments" in shown(cast)
    Pool.objects.filter(pk=payments.pk).update(altered_at=make.ago(days=2))
    assert titles(cast) == []


def test_workers_that_cannot_start(cast: Cast, payments: Pool) -> None:
    failure = "Traceback…\nModuleNotFoundError: No module named 'shop'"
    make.serves(make.agent("pay-02"), payments, boot_failure=failure, boot_failed_at=make.ago(seconds=9))
    assert titles(cast) == ["payments: workers cannot start on pay-02"]
    assert "ModuleNotFoundError: No module named &#x27;shop&#x27;" in shown(cast)


def test_drift_is_named_once_it_had_time_to_settle(cast: Cast) -> None:
    pool = make.pool(cast.payments, versions=3, signed_at=make.ago(minutes=6), now=NOW | {"workers": 3, "wanted": 3})
    make.serves(make.agent(), pool)
    for number, version in enumerate((3, 2, 2)):
        make.worker(pool, f"w{number}", config_number=version)
    assert titles(cast) == ["payments: 2 of 3 workers still run v2, though told v3"]
    assert "2 on v2" in shown(cast)


def test_drift_within_seconds_of_a_new_version_is_no_news(cast: Cast) -> None:
    pool = make.pool(cast.payments, versions=3, now=NOW | {"workers": 1, "wanted": 1})
    make.serves(make.agent(), pool)
    make.worker(pool, config_number=2)
    assert titles(cast) == []


def test_a_version_that_nobody_signs(cast: Cast, payments: Pool) -> None:
    Pool.objects.filter(pk=payments.pk).update(config_number=3)
    make.config_version(payments, 3, make.spec(workers=9), envelope=None, signed_at=None, state="approved")
    assert titles(cast) == []  # it was made a moment ago
    payments.refresh_from_db()
    (presence,) = presences([payments])
    assert presence.newest is not None
    late = replace(presence, newest=replace(presence.newest, at=make.ago(minutes=2)))
    (item,) = attention([late])
    assert item.title == "v3 of payments is not signed yet" and "Agents go on with v2." in item.detail


def test_a_command_that_an_agent_does_not_follow(cast: Cast, payments: Pool) -> None:
    make.run_command(payments, RunState.PAUSED, deadline=make.ago(seconds=5))
    assert titles(cast) == ["payments: 1 of 1 agents did not follow “Paused”"]
    assert "Not heard from pay-01." in shown(cast)


def test_an_agent_that_left_while_others_go_on(cast: Cast, payments: Pool) -> None:
    make.serves(make.agent("pay-02", last_seen=make.ago(minutes=3), gone_at=make.ago(minutes=3)), payments)
    assert titles(cast) == ["Agent pay-02 is gone"]
    assert "Other agents go on." in shown(cast)
    Agent.objects.filter(name="pay-02").update(gone_at=make.ago(days=2))
    assert titles(cast) == []


def test_a_new_failure_with_what_came_just_before_it(cast: Cast) -> None:
    figures = NOW | {"workers": 4, "wanted": 4}
    pool = make.pool(cast.payments, versions=2, signed_at=make.ago(minutes=53), now=figures)
    make.serves(make.agent(), pool)
    group = make.failure_group(pool, open_count=4102, first_seen=make.ago(minutes=50))
    make.failure_hours(group, 0, 2100, 2002)
    assert titles(cast) == ["New failure in payments: 4,102 jobs with TimeoutError connect to eu2.cardgate.example:443"]
    content = shown(cast)
    assert "That was 3 min after config v2." in content and f"/dead-letters/groups/{group.pk}/" in content
    assert "Triage 4,102 jobs" in content and "now 2,002" in content


def test_an_old_failure_that_rises(cast: Cast, payments: Pool) -> None:
    steady = make.failure_group(payments, "KeyError vat", first_seen=make.ago(days=3), open_count=90)
    make.failure_hours(steady, *[20] * 12)
    rising = make.failure_group(payments, "MemoryError", first_seen=make.ago(days=3), open_count=90)
    make.failure_hours(rising, *[2] * 11, 60)
    assert titles(cast) == ["Rising in payments: MemoryError"]
    assert "60 failures this hour, about 2 an hour before" in shown(cast)


def test_a_regressed_failure_is_said_however_old_it_is(cast: Cast, payments: Pool) -> None:
    old = {"first_seen": make.ago(days=30), "state": GroupState.REGRESSED, "state_at": make.ago(minutes=12)}
    make.failure_group(payments, "KeyError vat", open_count=7, **old)
    assert titles(cast) == ["Regressed in payments: KeyError vat"]
    assert "Failed again" in shown(cast) and "It was resolved before. 7 jobs." in shown(cast)
    for number in range(4):
        make.failure_group(payments, f"Error {number}", open_count=1, **old)
    seen = signed_in(cast.alice).get("/").context["seen"]
    assert [item.title for item in seen.quiet] == ["2 more regressed failure groups, 2 jobs"]
    assert seen.quiet[0].actions[0].url == "/dead-letters/?group_state=regressed"


@pytest.mark.parametrize(
    "decided",
    [
        {"state": GroupState.RESOLVED},
        {"snoozed_total": 1000},
        {"snoozed_version": 3},
        {"snoozed_until": make.ago(hours=-1)},
        {"state": GroupState.REGRESSED, "snoozed_total": 1000},
    ],
)
def test_what_is_snoozed_or_resolved_awaits_nobody(cast: Cast, payments: Pool, decided: dict[str, Any]) -> None:
    group = make.failure_group(payments, open_count=90, **decided)
    make.failure_hours(group, *[2] * 11, 60)
    assert titles(cast) == []


def test_an_acknowledged_failure_is_new_no_more_but_may_rise(cast: Cast, payments: Pool) -> None:
    group = make.failure_group(payments, "MemoryError", state=GroupState.ACKNOWLEDGED)
    assert titles(cast) == []
    make.failure_hours(group, *[2] * 11, 60)
    assert titles(cast) == ["Rising in payments: MemoryError"]


def test_a_snooze_that_is_over_is_none(cast: Cast, payments: Pool) -> None:
    make.failure_group(payments, "MemoryError", snoozed_until=make.ago(seconds=1))
    assert titles(cast) == ["New failure in payments: 1 job with MemoryError"]


def test_many_new_failures_are_summed_up(cast: Cast, payments: Pool) -> None:
    for number in range(5):
        make.failure_group(payments, f"Error {number}", open_count=10 - number)
    seen = signed_in(cast.alice).get("/").context["seen"]
    assert len(seen.urgent) == 3
    assert [item.title for item in seen.quiet] == ["2 more new failure groups, 13 jobs"]


def test_what_vanishes_within_a_day_is_said_by_pool(cast: Cast, payments: Pool) -> None:
    group = make.failure_group(payments, first_seen=make.ago(days=3), open_count=4)
    for n, hours in enumerate((2, 23, 25, None)):
        expires = timezone.now() + timedelta(hours=hours) if hours else None
        make.dead_letter(group, f"job-{n}", expires_at=expires)
    make.dead_letter(group, "done", expires_at=timezone.now(), state="requeued")
    (item,) = overview(actor(cast.vera)).urgent
    assert item.title == "2 dead letters of payments vanish within 24 h" and item.since is not None
    listed = signed_in(cast.vera).get(item.actions[0].url + "&show=jobs").content.decode()
    assert "job-0" in listed and "job-1" in listed and "job-2" not in listed
    assert listed.count("Vanishes within 24 h") == 2
    inbox = signed_in(cast.vera).get("/dead-letters/").content.decode()
    assert "2 vanish within 24 h" in inbox and "in payments</a>, the first" in inbox
    assert overview(actor(cast.charlie)).urgent == []


@pytest.mark.parametrize(
    ("state", "title", "detail", "urgent"),
    [
        ("open", "payments: breaker gateway is open", "until a probe succeeds", True),
        ("half_open", "payments: breaker gateway is half-open", "until a probe succeeds", True),
        ("held", "payments: breaker gateway is held open", "until somebody closes it", False),
        ("closed", "", "", False),
        ("<b>", "", "", False),
    ],
)
def test_breakers_that_are_not_closed(
    cast: Cast, payments: Pool, state: str, title: str, detail: str, urgent: bool
) -> None:
    told = {"state": state, "since": 1_700_000_000, "tasks": ["shop.charge*", "shop.refund"]}
    PoolNow.objects.filter(pool=payments).update(gates={"breakers": {"gateway": told}})
    seen = overview(actor(cast.vera))
    items = seen.urgent if urgent else seen.quiet
    assert [item.title for item in items if "breaker" in item.title] == ([title] if title else [])
    if title:
        (item,) = [item for item in items if item.title == title]
        assert item.detail == f"Jobs of shop.charge* and shop.refund wait {detail}."
        assert item.actions[0].url == "/pools/payments/#h-breakers"
    assert overview(actor(cast.charlie)).urgent == []


def test_operations_that_wait_for_a_person_are_one_item(cast: Cast, payments: Pool) -> None:
    make.dead_letter(make.failure_group(payments, first_seen=make.ago(days=3)))
    rows = [
        requeue_create(actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter()), reason="x", start=False)
        for _ in range(3)
    ]
    (item,) = overview(actor(cast.vera)).quiet
    assert item.title == "3 operations wait for a person: 3 not started"
    Operation.objects.filter(pk=rows[0].pk).update(state=OperationState.ENDED)
    Operation.objects.filter(pk=rows[1].pk).update(state=OperationState.STOPPED, stopped_because="its canary failed")
    (item,) = overview(actor(cast.vera)).urgent
    assert item.title == "2 operations wait for a person: 1 stopped by themselves and 1 not started"
    assert item.detail == f"Operation {rows[1].pk} stopped because its canary failed."
    Operation.objects.filter(pk=rows[2].pk).update(state=OperationState.CANCELLED)
    (item,) = overview(actor(cast.vera)).urgent
    assert item.title == f"Operation {rows[1].pk} stopped by itself"
    assert item.actions[0].url == f"/operations/{rows[1].pk}/"
    assert overview(actor(cast.charlie)).urgent == []


def test_old_samples_are_the_first_thing_said(cast: Cast, payments: Pool) -> None:
    make.failure_group(payments)
    make.broker(sampled_at=make.ago(minutes=4))
    assert titles(cast)[0] == "The figures of default are old"
    assert "its sampler is late" in shown(cast)


def test_a_broker_that_cannot_be_reached(cast: Cast, payments: Pool) -> None:
    make.broker(reachable=False, error="Connection refused", sampled_at=make.ago(minutes=4))
    assert titles(cast) == ["The broker default cannot be reached: these figures are old"]
    assert "Connection refused" in shown(cast)


def test_no_controller_runs(cast: Cast, payments: Pool) -> None:
    ControllerLease.objects.update(expires_at=make.ago(seconds=1))
    make.broker(sampled_at=make.ago(minutes=4))
    assert "No controller runs" in shown(cast)


def test_only_critical_pools_and_no_fewer_warnings(cast: Cast) -> None:
    make.pool(cast.payments, now=NOW)
    make.pool(cast.payments, "cards", criticality="critical", now=NOW | {"workers": 4})
    response = signed_in(cast.alice).get("/?show=critical")
    assert [row.pool.slug for row in response.context["rows"]] == ["cards"]
    assert len(response.context["seen"].urgent) == 1


def test_kinds_of_pools_say_what_they_are(cast: Cast) -> None:
    make.pool(cast.payments, "legacy-cron", versions=0, kind=PoolKind.ATTACHED, now={"workers": 5, "busy": 5})
    make.pool(cast.payments, "console", versions=0, kind=PoolKind.CONSOLE, now={"workers": 2, "busy": 1})
    make.pool(cast.payments, "unsampled")
    content = shown(cast)
    assert "stock rq workers" in content and "not managed" in content and "not sampled yet" in content


def test_text_from_outside_is_text(cast: Cast) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    pool = make.pool(cast.payments, name=hostile, description=hostile, now=NOW | {"workers": 1})
    make.serves(make.agent(), pool, boot_failure=hostile, boot_failed_at=make.ago(seconds=3))
    make.failure_group(pool, hostile, func=hostile)
    make.broker(reachable=False, error=hostile)
    assert hostile not in shown(cast) and "&lt;img src=x" in shown(cast)


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_only_reads(cast: Cast, payments: Pool, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)("/").status_code == 405


def test_a_large_fleet_costs_few_queries(cast: Cast, django_assert_max_num_queries: Any) -> None:
    large_fleet(cast)
    make.run_command(Pool.objects.earliest("pk"), RunState.PAUSED)
    make.broker(sampled_at=make.ago(minutes=4))
    alice = signed_in(cast.alice)
    with django_assert_max_num_queries(24):
        assert alice.get("/").status_code == 200


def large_fleet(cast: Cast) -> None:
    """20 pools, 500 queues, 1,000 workers, 100 agents; dead letters enough that a scan of them would show."""
    agents = [make.agent(f"host-{number:03}") for number in range(100)]
    for number in range(20):
        queues = [f"q{number}-{queue}" for queue in range(25)]
        figures = {"waiting": 90, "workers": 50, "busy": 30, "wanted": 50, "dead_letters": 1000}
        pool = make.pool(cast.payments, f"pool-{number:02}", queues=queues, now=figures)
        make.samples(pool, waiting=list(range(30)))
        for agent in agents[number * 5 : number * 5 + 5]:
            make.serves(agent, pool)
        Worker.objects.bulk_create(
            Worker(pool=pool, name=f"{pool.slug}/{worker}", state="busy", config_number=1, last_seen=timezone.now())
            for worker in range(50)
        )
        group = make.failure_group(pool, open_count=1000, first_seen=timezone.now() - timedelta(minutes=number))
        DeadLetter.objects.bulk_create(
            DeadLetter(
                job_id=f"{pool.slug}-{job}",
                pool=pool,
                group=group,
                queue=queues[0],
                func="f",
                exc_type="E",
                message="m",
                failed_at=timezone.now(),
            )
            for job in range(500)
        )
