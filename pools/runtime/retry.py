"""When a failed job runs again by the pool's policy, and after how long. Pure: no clock, no chance, no I/O."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class RetryRule:
    """One rule of the signed spec. ``backoff``, ``cap`` and ``patience`` in seconds, ``jitter`` in percent (0-100)."""

    task: str
    max: int
    backoff: int
    cap: int
    jitter: int
    transient: tuple[str, ...]
    permanent: tuple[str, ...]
    systemic: tuple[str, ...] = ()
    patience: int = 0

    @classmethod
    def read(cls, data: dict[str, Any]) -> "RetryRule":
        return cls(**data | {kind: tuple(data[kind]) for kind in ("transient", "permanent", "systemic")})

    def covers(self, names: Iterable[str]) -> bool:
        """Whether an exception with these names is worth a retry. No transient names: all that are not permanent."""
        known = set(names)
        if not known or known & set(self.permanent):
            return False
        return not self.transient or bool(known & {*self.transient, *self.systemic})

    def waits(self, names: Iterable[str], age: float) -> bool:
        """Whether an exception says that something is broken for all jobs, and a job this old still waits for it."""
        known = set(names)
        return age < self.patience and bool(known & set(self.systemic)) and not known & set(self.permanent)


def exception_name(kind: type[BaseException] | None) -> str:
    """The dotted name of an exception's class, of a builtin one the bare name; "" for none."""
    if kind is None:
        return ""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def exception_names(kind: type[BaseException] | None) -> frozenset[str]:
    """The dotted names that a rule may use for an exception: its class and its bases; builtins also by bare name."""
    names: set[str] = set()
    for base in kind.__mro__ if kind else ():
        if base in (object, BaseException):
            continue
        names.add(f"{base.__module__}.{base.__qualname__}")
        if base.__module__ == "builtins":
            names.add(base.__qualname__)
    return frozenset(names)


@dataclass(frozen=True)
class Wait:
    """That a failed job runs again, in so many seconds; ``counts`` as one of the retries that its rule allows."""

    seconds: int
    counts: bool = True


def wait(
    rules: Sequence[RetryRule], task: str, names: frozenset[str], attempt: int, job_id: str, age: float = 0
) -> Wait | None:
    """How a failed job waits for retry number ``attempt`` (1 is the first), or None when the failure is final.

    The first rule that matches the task decides, and no other. A failure without an exception (a killed horse, a
    lost worker) has no names and is final: nobody knows how far the job came, so a person decides. ``age``: seconds
    since the job was made. A systemic failure always waits the longest wait: what is broken is not to be hammered.
    """
    rule = next((rule for rule in rules if fnmatchcase(task, rule.task)), None)
    if rule is None or not names:
        return None
    systemic = rule.waits(names, age)
    if not systemic and (attempt > rule.max or not rule.covers(names)):
        return None
    # 2**32 s is longer than any cap; the bound keeps a large attempt from building a large integer.
    longest = rule.cap if systemic else min(rule.cap, rule.backoff << min(attempt - 1, 32))
    return Wait(round(longest * (1 - rule.jitter / 100 * _fraction(job_id, attempt))), counts=not systemic)


def _fraction(job_id: str, attempt: int) -> float:
    """A number in [0, 1) that is the same wherever and whenever it is computed, yet spreads jobs apart."""
    digest = hashlib.sha256(f"{job_id}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56
