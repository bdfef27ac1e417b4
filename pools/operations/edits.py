"""Requeueing one dead letter with other arguments: for somebody who sees its payload, of RQ's JSON serializer.

The new payload goes to the console's worker by way of a row, encrypted, that lives until it is sent.
"""

import secrets
from datetime import timedelta
from typing import Any

from django.utils import timezone

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import commitment
from pools.broker.payload_edit import Editable, changed_paths, packed, read_editable
from pools.broker.payload_reveal import Unreadable
from pools.models import DeadLetterState, Operation, OperationKind, PayloadEdit, SealedPayload
from pools.operations.base import clean_reason
from pools.operations.dead_letters import create_operation
from pools.operations.errors import Conflict, Refused
from pools.operations.sealing import seal
from pools.operations.selection import Selection
from pools.permissions import REQUEUE, REVEAL, Denied, can
from pools.selectors.jobs import KnownJob, find_job, open_reveal

KEPT_FOR = timedelta(hours=1)
SALT_BYTES = 32


@operation("operation.edit_started")
def edit_create(
    *,
    actor: Actor,
    job_id: str,
    args: list[Any],
    kwargs: dict[str, Any],
    seen: str,
    reason: str,
    broker: str = "default",
) -> Operation:
    """Requeue the job with these arguments, if its payload is the one that the actor has open.

    ``seen``: hex SHA-256 of the stored payload that was edited. Raises ``DeadLetter.DoesNotExist`` for a job that the
    actor may not see, ``Denied``, ``Refused``, ``Conflict``.
    """
    job = _permitted(actor, job_id, broker)
    reason = clean_reason(reason)
    if job.letter is None or job.letter.state != DeadLetterState.OPEN:
        raise Refused("", "It is no dead letter any more. Nothing was changed.")
    if open_reveal(actor, job) is None:
        raise Refused("", "Its payload is not open to you: reveal it first. Nothing was changed.")
    before = _unchanged(job, seen)
    text = before.with_arguments(args, kwargs)
    paths = changed_paths(before, args, kwargs)
    if not paths:
        raise Refused("args", "Nothing differs from the payload as it is: requeue it. Nothing was changed.")
    salt = secrets.token_bytes(SALT_BYTES)
    told = {
        "paths": paths,
        "old_commitment": commitment(salt, before.text),
        "new_commitment": commitment(salt, text),
    }
    chosen = Selection(ids=(job.letter.pk,))
    about = told | {"job_id": job_id}
    row = create_operation(actor, OperationKind.EDIT, chosen, reason, expected_count=1, more=about)
    PayloadEdit.objects.create(operation=row, salt=salt, **told)
    sealed = seal(seen.encode() + packed(text))
    SealedPayload.objects.create(operation=row, sealed=sealed, expires_at=timezone.now() + KEPT_FOR)
    return row


def _permitted(actor: Actor, job_id: str, broker: str) -> KnownJob:
    job = find_job(actor, job_id, broker)
    for permission in (REQUEUE, REVEAL):
        if not can(actor, permission, job.pool):
            raise Denied(permission, job.pool, job.target)
    return job


def _unchanged(job: KnownJob, seen: str) -> Editable:
    try:
        before = read_editable(job.broker, job.job_id)
    except Unreadable as problem:
        raise Refused("", f"{problem} Nothing was changed.") from problem
    if before.sha256 != seen:
        raise Conflict("The payload was changed since you looked at it. Nothing was changed.")
    return before
