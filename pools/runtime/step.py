"""One step of a job's life as one script: rq's own code says what to write, and a guard whether it still may.

rq writes a job's start and end through pipelines. A ``Step`` is such a pipeline; what was written through it is sent
as one script that first looks whether the job is still this worker's. All of it happens, or nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from redis.client import Pipeline
from redis.exceptions import WatchError

_LUA = files("pools.runtime").joinpath("lua")
_WRITES = _LUA.joinpath("writes.lua").read_text()


def _bare(script: str) -> str:
    """Without what is for people: a script travels with every step."""
    return "\n".join(line for line in map(str.strip, script.splitlines()) if not line.startswith("--"))


START, FINISH = (_bare(_LUA.joinpath(f"{name}.lua").read_text() + _WRITES) for name in ("start", "finish"))

WIDEST = 4000
DONE, REFUSED, PRESENT, SPENT, CHANGED = 1, 0, 2, 3, 4


class LeaseLost(BaseException):  # an outcome, not a fault; rq's code catches Exception and goes on
    """The job is another's by now: nothing was written."""


class JobChanged(BaseException):  # likewise
    """The job is not what was claimed any more: nothing was written."""


class BudgetSpent(BaseException):  # likewise
    """The pool may have no more retries now: nothing was written."""


@dataclass(frozen=True)
class Record:
    """The key of a job's results, and fields to be written into its new one beside rq's."""

    key: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Guard:
    """``script`` (START or FINISH) with the keys and arguments that its first lines name.

    ``after``: a command that follows it in the same transaction, whether it refused or not. ``writes``: our own, which
    are made with rq's.
    """

    script: str
    keys: list[Any]
    args: list[Any]
    after: tuple[Any, ...] = ()
    record: Record = Record()
    writes: Sequence[tuple[Any, ...]] = ()


class Step(Pipeline):
    """rq's pipeline for one step. ``execute`` raises LeaseLost, BudgetSpent or JobChanged when the guard refuses.

    The first ``watch`` sends nothing: nearly no job has dependents, so the script checks that the keys are absent,
    which saves two round trips. Where one exists, WatchError is raised, on which rq tries again; then keys are watched
    in truth. ``unwritten``: why ``execute`` failed, which rq may only log.
    """

    def __init__(self, client: Any, guard: Guard) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, False, None)
        self.unwritten: Exception | None = None
        self._guard = guard
        self._absent: list[Any] | None = []

    def xadd(self, name: Any, fields: dict[Any, Any], *args: Any, **options: Any) -> Any:
        record = self._guard.record
        return super().xadd(name, fields | record.fields if name == record.key else fields, *args, **options)

    def watch(self, *names: Any) -> Any:
        if self._absent is None:
            return super().watch(*names)  # type: ignore[no-untyped-call]
        self._absent += names
        self.watching = True
        return True

    def immediate_execute_command(self, *args: Any, **options: Any) -> Any:
        if self._absent is None:
            return super().immediate_execute_command(*args, **options)  # type: ignore[no-untyped-call]
        assert args[0] == "SMEMBERS"
        assert args[1] in self._absent
        return set()

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        # A script cannot run another: rq's (rate limits) follow the guarded one in the same transaction.
        nested = [command for command in self.command_stack if command[0][0] in ("EVAL", "EVALSHA")]
        writes = [command[0] for command in self.command_stack if command not in nested]
        writes += self._guard.writes
        keys = [*self._guard.keys, *(self._absent or [])]
        parts = [part for write in _merged(writes) for narrow in _narrow(write) for part in (len(narrow), *narrow)]
        call = ("EVAL", self._guard.script, len(keys), *keys, *self._guard.args, *parts)
        nested += [(self._guard.after, {})] if self._guard.after else []
        self.command_stack = [(call, {}), *nested]
        self.explicit_transaction = bool(nested) or self._absent is None
        self.watching = self.watching and self._absent is None
        try:
            answers: list[Any] = super().execute(raise_on_error)
        except Exception as error:
            self.unwritten = error
            raise
        if answers[0] == REFUSED:
            raise LeaseLost
        if answers[0] == CHANGED:
            raise JobChanged
        if answers[0] == SPENT:
            raise BudgetSpent
        if answers[0] == PRESENT:
            self._absent = None
            raise WatchError("a key exists that was taken to be absent")
        return answers


def _merged(writes: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Fields that rq writes into one hash by one command after the other, as one command."""
    merged: list[tuple[Any, ...]] = []
    for write in writes:
        if write[0] == "HSET" and merged and merged[-1][:2] == write[:2]:
            merged[-1] += write[2:]
        else:
            merged.append(write)
    return merged


def _narrow(write: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Lua passes at most 8,000 parts to a command. Only the removal of dependents from their set can have more."""
    if write[0] != "SREM" or len(write) <= WIDEST:
        yield write
        return
    for start in range(2, len(write), WIDEST):
        yield (*write[:2], *write[start : start + WIDEST])


class Leased:
    """What rq's code takes for its connection while it writes the end of a job: every pipeline of it is a Step."""

    def __init__(self, client: Any, guard: Guard) -> None:
        self._client, self._guard = client, guard
        self._step: Step | None = None

    def pipeline(self) -> Step:
        self._step = Step(self._client, self._guard)
        return self._step

    @property
    def unwritten(self) -> Exception | None:
        """Why the last step could not be written."""
        return self._step.unwritten if self._step else None
