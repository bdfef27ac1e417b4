"""What to do about a pool's workers: wanted and seen in, actions out. Pure; the supervisor carries them out.

A new build (anything a worker is told at its start) is proved before it replaces the old one: one worker of it is
started beside the others, and only when that has loaded the application do the old ones drain, all at once. A build
that cannot start thus costs nothing. Draining workers take no job and finish theirs; they are replaced at once, so for
that long a pool has up to twice its workers, never more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

# Processes of one pool that may load the application at the same time: loading is the expensive part.
MAX_STARTING = 8


class WorkerState(StrEnum):
    """A worker's life, as the heartbeat shows it. ``BACKOFF`` is a worker that is not there: the next start waits."""

    STARTING = "starting"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    BACKOFF = "backoff"


TRANSITIONS: dict[WorkerState, frozenset[WorkerState]] = {
    WorkerState.BACKOFF: frozenset({WorkerState.STARTING}),
    WorkerState.STARTING: frozenset({WorkerState.RUNNING, WorkerState.DRAINING, WorkerState.STOPPING}),
    WorkerState.RUNNING: frozenset({WorkerState.DRAINING, WorkerState.STOPPING}),
    WorkerState.DRAINING: frozenset({WorkerState.STOPPING}),  # the agent itself stops: now a deadline runs
    WorkerState.STOPPING: frozenset(),
}

ACTIVE = frozenset({WorkerState.STARTING, WorkerState.RUNNING})


@dataclass(frozen=True)
class Wanted:
    """``build`` names all that a worker is told at its start; ``may_start`` is false while a backoff runs."""

    build: str
    count: int
    may_start: bool


@dataclass(frozen=True)
class Seen:
    name: str
    build: str
    state: WorkerState
    busy: bool = False


@dataclass(frozen=True)
class Start:
    count: int


@dataclass(frozen=True)
class Drain:
    name: str


Action = Start | Drain


def plan(wanted: Wanted, seen: Sequence[Seen]) -> list[Action]:
    """The next actions; applied again and again they end with ``wanted.count`` running workers of ``wanted.build``.

    ``seen`` holds every process of the pool that still lives, oldest first.
    """
    active = [worker for worker in seen if worker.state in ACTIVE]
    current = [worker for worker in active if worker.build == wanted.build]
    outdated = [worker for worker in active if worker.build != wanted.build]
    if wanted.count == 0:
        return [Drain(worker.name) for worker in active]
    proved = any(worker.state is WorkerState.RUNNING for worker in current)
    if not proved:
        return _prove(wanted, current)
    leaving = [*outdated, *_surplus(current, wanted.count)]
    actions: list[Action] = [Drain(worker.name) for worker in leaving]
    starting = sum(worker.state is WorkerState.STARTING for worker in current)
    room = min(wanted.count - len(current), 2 * wanted.count - len(seen), MAX_STARTING - starting)
    if wanted.may_start and room > 0:
        actions.append(Start(room))
    return actions


def _prove(wanted: Wanted, current: Sequence[Seen]) -> list[Action]:
    """No worker of this build has loaded the application yet: try with one."""
    return [Start(1)] if wanted.may_start and not current else []


def _surplus(current: Sequence[Seen], count: int) -> list[Seen]:
    """Which to let go when there are too many: those still starting, then the idle ones; of equals the youngest."""
    by_rank = sorted(current, key=lambda worker: (worker.state is WorkerState.STARTING, not worker.busy))
    return by_rank[count:]
