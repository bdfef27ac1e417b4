"""What workers refuse goes to quarantine by itself, whole, with the reason; and comes back when somebody says so."""

from typing import Any

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from audit.models import Event
from pools.models import DeadLetter, FailureGroup, Operation, Pool
from pools.operations import Selection, operation_undo, requeue_create
from pools.operations.execute import run_operation
from pools.runtime.refusals import Admission
from tests.broker.keyspace import dump
from tests.operations.test_effects import Work, lease, look, work
from tests.operations.test_execute import letters, outcomes
from tests.operations.test_poison import Guard, guard, mail
from tests.runtime.test_admission import LISTED, Make, called, make, put
from tests.support.cast import Cast, actor, signed_in

__all__ = ["guard", "lease", "look", "mail", "make", "work"]

SAID = "task os.system is not on the pool's list of tasks"


@pytest.fixture
def refused(mail: Pool, client: redis.Redis, make: Make, work: Work) -> DeadLetter:
    """A worker took it and refused it; the controller has seen that."""
    put(client, called("os.system", "true"))
    assert make(LISTED)._claim() is None
    work()
    return DeadLetter.objects.get()


def rq_keys(client: redis.Redis) -> dict[str, Any]:
    """What RQ knows of the job."""
    about = ("rq:job:", "rq:results:", "rq:failed:", "rq:queue:")
    return {key: value for key, value in dump(client).items() if key.startswith(about)}


def test_a_refused_job_is_quarantined_whole(refused: DeadLetter, client: redis.Redis, guard: Guard) -> None:
    assert (refused.exc_type, refused.message, refused.error) == ("poolwarden.JobRefused", SAID, "JobRefused")
    (made,) = guard()
    assert (made.kind, made.actor_name, made.created_by) == ("quarantine", "controller", None)
    assert outcomes(made) == {"quarantined": 1} and letters() == {"forged": "quarantined"} and rq_keys(client) == {}
    started = Event.objects.get(action="operation.quarantine_started")
    assert (started.reason, started.detail["refused_of"]) == ("Refused by the pool's workers", "payments")
    assert client.hget("pw:shelf:job:forged", "data") == called("os.system", "true")
    assert guard() == []


def test_restored_it_stays_until_it_is_refused_again(
    cast: Cast, refused: DeadLetter, client: redis.Redis, make: Make, work: Work, guard: Guard
) -> None:
    before = rq_keys(client)
    (made,) = guard()
    undo = operation_undo(actor=actor(cast.bob), operation=made, reason="The list was too short")
    run_operation(undo.pk)
    assert letters() == {"forged": "open"} and rq_keys(client) == before
    work()
    assert guard() == []
    chosen = Selection(ids=(refused.pk,))
    row = requeue_create(actor=actor(cast.bob), selection=chosen, reason="It is on the list by now")
    run_operation(row.pk)
    assert make(LISTED)._claim() is None
    for _ in range(4):  # within one second the registry looks as before, and only its entries tell
        work()
    (again,) = guard()
    assert outcomes(again) == {"quarantined": 1}
    refused.refresh_from_db()
    assert refused.attempts == 2


def test_one_group_for_each_reason_and_task(mail: Pool, client: redis.Redis, make: Make, work: Work) -> None:
    """Whatever the jobs were called with."""
    queue = Queue("mail", connection=client, serializer=JSONSerializer)
    for task in ("os.system", "os.remove"):
        for n in range(3):
            queue.enqueue(task, f"/tmp/{n}")
    queue.enqueue("operator.add", 1, 2, on_success="os.system")
    worker = make(LISTED)
    for _ in range(7):
        assert worker._claim() is None
    work()
    assert sorted(FailureGroup.objects.values_list("title", "open_count")) == [
        ("JobRefused: its success callback os.system is not on the pool's list of tasks", 1),
        ("JobRefused: task os.remove is not on the pool's list of tasks", 3),
        ("JobRefused: task os.system is not on the pool's list of tasks", 3),
    ]


@pytest.mark.parametrize("hostile", ["text", "no hash", "large"])
def test_damage_is_kept_as_it_is(
    cast: Cast, mail: Pool, client: redis.Redis, make: Make, work: Work, guard: Guard, hostile: str
) -> None:
    """A key that holds no job at all, a record with rubbish in it, 50 MB."""
    if hostile == "no hash":
        client.set("rq:job:forged", "something else")
        client.rpush("rq:queue:mail", "forged")
    else:
        put(
            client,
            called("operator.add", 1, 2),
            description="x" * (50_000_000 if hostile == "large" else 1),
            timeout="?",
        )
    before = client.dump("rq:job:forged") if hostile == "no hash" else client.hgetall("rq:job:forged")
    assert make(Admission())._claim() is None
    work()
    (made,) = guard()
    assert letters() == {"forged": "quarantined"}
    undo = operation_undo(actor=actor(cast.bob), operation=made, reason="Look at it")
    run_operation(undo.pk)
    if hostile == "no hash":
        assert client.dump("rq:job:forged") == before
    else:
        after = client.hgetall("rq:job:forged")
        assert {name: after[name] for name in before if name != b"status"} == {
            name: before[name] for name in before if name != b"status"
        }


def test_the_pool_says_what_it_admits_and_what_is_in_quarantine(cast: Cast, refused: DeadLetter, guard: Guard) -> None:
    page = signed_in(cast.vera).get("/pools/payments/").content.decode()
    assert "empty" in page.partition('id="quarantined"')[2][:200]
    guard()
    page = signed_in(cast.vera).get("/pools/payments/").content.decode()
    link = "/dead-letters/?pool=payments&amp;state=quarantined"
    assert f'<a href="{link}">1 job</a>' in page
    shown = signed_in(cast.vera).get(link.replace("&amp;", "&")).content.decode()
    assert SAID.replace("'", "&#x27;") in shown
    (made,) = Operation.objects.all()
    assert (
        "what the workers of payments refused to run"
        in signed_in(cast.vera).get(f"/operations/{made.pk}/").content.decode()
    )
