"""Opening the payload of one job to one person for a while, and closing it again. Values are in no event."""

from datetime import timedelta

from django.utils import timezone

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.models import PayloadReveal
from pools.operations.base import clean_reason
from pools.permissions import REVEAL, Denied, can
from pools.selectors.jobs import KnownJob, find_job

OPEN_FOR = timedelta(minutes=10)


@operation("payload.revealed")
def payload_reveal(*, actor: Actor, job_id: str, reason: str, broker: str = "default") -> PayloadReveal:
    """Open the payload to the actor for ``OPEN_FOR`` from now, also when it is open already.

    Raises ``DeadLetter.DoesNotExist`` for a job that the actor may not see, ``Denied``, ``Refused``.
    """
    job = _permitted(actor, job_id, broker)
    reason = clean_reason(reason)
    row, _ = PayloadReveal.objects.update_or_create(
        user=actor.user, broker=broker, job_id=job_id, defaults={"expires_at": timezone.now() + OPEN_FOR}
    )
    minutes = int(OPEN_FOR.total_seconds() // 60)
    record(actor=actor, action="payload.revealed", target=job.target, reason=reason, detail={"minutes": minutes})
    return row


@operation("payload.hidden")
def payload_hide(*, actor: Actor, job_id: str, broker: str = "default") -> bool:
    """Close the payload again before its time. False: it was not open to the actor, and nothing changes."""
    job = _permitted(actor, job_id, broker)
    rows = PayloadReveal.objects.filter(user=actor.user, broker=broker, job_id=job_id, expires_at__gt=timezone.now())
    if not rows.delete()[0]:
        return False
    record(actor=actor, action="payload.hidden", target=job.target)
    return True


def _permitted(actor: Actor, job_id: str, broker: str) -> KnownJob:
    """A payload is opened to people only, so no part of the system passes."""
    job = find_job(actor, job_id, broker)
    if not can(actor, REVEAL, job.pool):
        raise Denied(REVEAL, job.pool, job.target)
    return job
