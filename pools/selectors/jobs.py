"""One job, as far as the console keeps it: a dead letter with its story, or what a worker runs right now."""

from dataclasses import dataclass
from datetime import datetime

from django.utils import timezone

from audit.actor import Actor
from audit.recorder import NAME_LIMIT
from audit.target import Target
from pools.models import (
    SHELVED,
    DeadLetter,
    DeadLetterState,
    OperationItem,
    OperationKind,
    Outcome,
    PayloadReveal,
    Pool,
    Worker,
)
from pools.permissions import REVEAL, can, visible_pools
from pools.selectors.dead_letters import traceback_of
from pools.selectors.operations import edit_phrase, visible_operations
from pools.selectors.shelf import NAMES

ATTEMPTS_SHOWN = 50
OPERATIONS_SHOWN = 50
ICONS = {
    OperationKind.REQUEUE: "refresh",
    OperationKind.MOVE: "arrow-right",
    OperationKind.EDIT: "pencil",
    OperationKind.DISCARD: "trash",
    OperationKind.QUARANTINE: "shield-lock",
    OperationKind.ARCHIVE: "archive",
    OperationKind.RESTORE: "restore",
}
STATES = {
    DeadLetterState.OPEN: ("bad", "Dead", "circle-x"),
    DeadLetterState.REQUEUED: ("run", "Requeued", "refresh"),
    DeadLetterState.DISCARDED: ("", "Discarded", "trash"),
    DeadLetterState.QUARANTINED: ("warn", "Quarantined", "shield-lock"),
    DeadLetterState.ARCHIVED: ("", "Archived", "archive"),
    DeadLetterState.GONE: ("", "Gone from the broker", "circle-minus"),
}

PASSING = {
    "queued": ("", "Waiting", "clock"),
    "scheduled": ("", "Scheduled", "clock"),
    "deferred": ("", "Waits for another job", "clock"),
    "started": ("run", "Running", "player-play"),
    "finished": ("ok", "Finished", "circle-check"),
    "failed": ("bad", "Failed", "circle-x"),
    "stopped": ("warn", "Stopped", "circle-minus"),
    "canceled": ("", "Cancelled", "circle-minus"),
}  # by RQ's status


@dataclass(frozen=True)
class Moment:
    """One thing that happened to the job, or will. ``item``: an operation that touched it."""

    at: datetime
    icon: str
    text: str
    tone: str = ""
    detail: str = ""
    item: OperationItem | None = None


@dataclass(frozen=True)
class KnownJob:
    """``letter`` is None for a job that is only known as the current one of ``worker``; without either, to the broker
    alone."""

    job_id: str
    broker: str
    pool: Pool
    letter: DeadLetter | None
    worker: Worker | None

    @property
    def func(self) -> str:
        return self.letter.func if self.letter else self.worker.current_func if self.worker else ""

    @property
    def arguments(self) -> str:
        """Their shape, every value masked; where it is unknown, not even that."""
        return (self.letter.arguments if self.letter else "") or "(…)"

    @property
    def target(self) -> Target:
        """What an event about this job is about."""
        return Target(kind="job", id=self.job_id, name=self.job_id[:NAME_LIMIT], pool=self.pool.slug)


@dataclass(frozen=True)
class JobStory:
    """A job with all that is known of it, oldest first."""

    job: KnownJob
    moments: list[Moment]
    traceback: str
    state: tuple[str, str, str]

    @property
    def place(self) -> str:
        """The shelf on which it lies: ``trash``."""
        letter = self.job.letter
        return NAMES[DeadLetterState(letter.state)][0].lower() if letter and letter.is_restorable else ""


def find_job(actor: Actor, job_id: str, broker: str = "default") -> KnownJob:
    """Raises ``DeadLetter.DoesNotExist`` for a job that nobody knows, or in a pool that the actor may not see."""
    if "\x00" in job_id + broker:
        raise DeadLetter.DoesNotExist
    pools = visible_pools(actor)
    found = DeadLetter.objects.filter(job_id=job_id, broker=broker, pool__in=pools)
    letter = found.select_related("pool", "group", "detail").first()
    workers = Worker.objects.filter(current_job_id=job_id, broker=broker, pool__in=pools, gone_at=None)
    worker = workers.select_related("pool").first()
    owner = letter or worker
    if owner is None:
        raise DeadLetter.DoesNotExist
    return KnownJob(job_id, broker, owner.pool, letter, worker)


def open_reveal(actor: Actor, job: KnownJob) -> PayloadReveal | None:
    """The actor's own reveal of the job's payload while it is open, and while they have the right to it."""
    if not can(actor, REVEAL, job.pool):
        return None
    mine = PayloadReveal.objects.filter(user=actor.user, broker=job.broker, job_id=job.job_id)
    return mine.filter(expires_at__gt=timezone.now()).first()


def job_story(actor: Actor, job_id: str, broker: str = "default") -> JobStory:
    """Raises as ``find_job`` does."""
    job = find_job(actor, job_id, broker)
    letter, worker = job.letter, job.worker
    moments = _running(worker) if worker else []
    if letter is not None:
        moments += _failures(letter) + _operations(actor, letter) + _ends(letter)
    state = ("run", "Running", "player-play") if worker or not letter else STATES[DeadLetterState(letter.state)]
    text = traceback_of(letter) if letter else ""
    return JobStory(job, sorted(moments, key=lambda moment: moment.at), text, state)


def _running(worker: Worker) -> list[Moment]:
    since = worker.current_since or worker.last_seen
    return [Moment(since, "player-play", f"Running on {worker.name}", "run", worker.current_func)]


def _failures(letter: DeadLetter) -> list[Moment]:
    """The newest failure with what led to it, and those before."""
    config = f" on config v{letter.config_number}" if letter.config_number else ""
    on = f"{letter.worker or 'an unknown worker'}{config}"
    steps = [
        (letter.created_at, "plus", "Created", ""),
        (letter.enqueued_at, "clock", f"Enqueued on {letter.queue}", ""),
        (letter.started_at, "player-play", f"Started on {on}", ""),
    ]
    moments = [Moment(at, icon, text, detail=detail) for at, icon, text, detail in steps if at]
    last = f"Failed, attempt {letter.attempts}" if letter.attempts > 1 else "Failed"
    moments.append(Moment(letter.failed_at, "circle-x", last, "bad", f"{letter.exc_type}: {letter.message}"))
    for attempt in letter.earlier.all()[:ATTEMPTS_SHOWN]:
        worker = f" on {attempt.worker}" if attempt.worker else ""
        error = f"{attempt.exc_type}: {attempt.message}"
        moments.append(Moment(attempt.failed_at, "circle-x", f"Failed, attempt {attempt.number}{worker}", "bad", error))
    return moments


def _operations(actor: Actor, letter: DeadLetter) -> list[Moment]:
    """Operations over pools that the actor may not see stay out, as everywhere."""
    items = OperationItem.objects.filter(dead_letter=letter, operation__in=visible_operations(actor).values("pk"))
    newest = items.select_related("operation__edit").order_by("-pk")[:OPERATIONS_SHOWN]
    reveals = can(actor, REVEAL, letter.pool)
    return [
        Moment(
            at=item.at or item.operation.created_at,
            icon=ICONS[OperationKind(item.operation.kind)],
            text=Outcome(item.outcome).label,
            tone="run" if item.outcome == Outcome.REQUEUED else "",
            detail=edit_phrase(item.operation, named=reveals),
            item=item,
        )
        for item in newest
    ]


def _ends(letter: DeadLetter) -> list[Moment]:
    if letter.state == DeadLetterState.GONE and letter.closed_at:
        return [Moment(letter.closed_at, "circle-minus", "Gone from the broker: expired, or moved by another tool")]
    if letter.state == DeadLetterState.OPEN and letter.expires_at:
        return [Moment(letter.expires_at, "hourglass", "The broker deletes it, when its failure TTL ends", "warn")]
    if letter.state in SHELVED and letter.shelved_until:
        deletes = "deletes" if letter.is_restorable else "has deleted"
        return [Moment(letter.shelved_until, "hourglass", f"The broker {deletes} it", "warn")]
    return []
