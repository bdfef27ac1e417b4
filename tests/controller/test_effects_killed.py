"""kill -9 while requeued jobs are followed: each is counted once, and the end is told once."""

import random

from django.contrib.auth.models import User

from pools.models import DeadLetter, Effect, Operation, OperationItem, OperationState, Outcome, Team
from tests.controller.installation import Installation
from tests.dead_letters.letters import failed, numbered
from tests.support import factories
from tests.support.waiting import wait_for

JOBS, KILLS = 9_000, 2


def ended_requeue(ids: list[str]) -> Operation:
    """A requeue whose jobs all wait on their queue."""
    pool = factories.pool(Team.objects.create(slug="payments", name="Payments"))
    failed(pool, *ids)
    made = Operation.objects.create(
        kind="requeue",
        state=OperationState.ENDED,
        reason="The gateway is back",
        created_by=User.objects.create(username="bob"),
        frozen_count=len(ids),
        ended_at=factories.ago(seconds=1),
    )
    made.pools.add(pool)
    OperationItem.objects.bulk_create(
        OperationItem(
            operation=made,
            position=place,
            dead_letter=letter,
            job_id=letter.job_id,
            queue="payments",
            outcome=Outcome.REQUEUED,
            at=factories.ago(seconds=2),
        )
        for place, letter in enumerate(DeadLetter.objects.order_by("pk"))
    )
    return made


def test_killed_at_any_moment(installation: Installation) -> None:
    ids = numbered(JOBS)
    ended_requeue(ids)
    with installation.valkey.client.pipeline(transaction=False) as pipeline:
        for place, job_id in enumerate(ids):
            pipeline.hset(f"rq:job:{job_id}", "status", "failed" if place % 9 == 0 else "finished")
        pipeline.execute()
    installation.open()

    def known() -> int:
        found = installation.query("SELECT count(*) FROM pools_operationitem WHERE effect NOT IN ('', 'running')")
        return int(found[0][0])

    seen = 0
    for _ in range(KILLS):
        process = installation.controller()
        target = seen + random.randint(1, 1500)
        wait_for(lambda: known() >= target, timeout=60, every=0.005, message="it counts")  # noqa: B023
        process.kill()
        process.wait(timeout=10)
        seen = known()
    assert seen < JOBS, "it was killed in the middle"
    installation.controller()
    events = "SELECT after FROM audit_event WHERE action = 'operation.requeue_followed'"
    wait_for(lambda: installation.query(events), timeout=60, message="the effect is told")
    wait_for(lambda: installation.query("SELECT effect_at FROM pools_operation")[0][0], message="the row says so")
    rows = installation.query("SELECT effect, count(*) FROM pools_operationitem GROUP BY effect")
    assert dict(rows) == {Effect.FAILED_AGAIN: JOBS // 9, Effect.SUCCEEDED: JOBS - JOBS // 9}
    assert len(installation.query(events)) == 1
    ((told,),) = installation.query("SELECT detail FROM audit_event WHERE action = 'operation.requeue_followed'")
    assert "8,000 succeeded, 1,000 failed again" in str(told)
