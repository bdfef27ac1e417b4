"""When a failed job runs again by the pool's policy, and after how long. Pure: no clock, no chance, no I/O."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any


@dataclass(frozen=True)
class RetryRule:
    """One rule of the signed spec. ``backoff`` and ``cap`` in seconds, ``jitter`` in percent (0-100)."""

    task: str
    max: int
    backoff: int
    cap: int
    jitter: int
    transient: tuple[str, ...]
    permanent: tuple[str, ...]

    @classmethod
    def read(cls, data: dict[str, Any]) -> "RetryRule":
        return cls(**data | {"transient": tuple(data["transient"]), "permanent": tuple(data["permanent"])})

    def covers(self, names: Iterable[str]) -> bool:
        """Whether an exception with these names is worth a retry. No transient names: all that are not permanent."""
        known = set(names)
        if not known or known & set(self.permanent):
            return False
        return not self.transient or bool(known & set(self.transient))


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


def delay(rules: Sequence[RetryRule], task: str, names: frozenset[str], attempt: int, job_id: str) -> int | None:
    """Seconds until retry number ``attempt`` (1 is the first), or None when the failure is final.

    The first rule that matches the task decides, and no other. A failure without an exception (a killed horse, a
    lost worker) has no names and is final: nobody knows how far the job came, so a person decides.
    """
    rule = next((rule for rule in rules if fnmatchcase(task, rule.task)), None)
    if rule is None or attempt > rule.max or not rule.covers(names):
        return None
    # 2**32 s is longer than any cap; the bound keeps a large attempt from building a large integer.
    wait = min(rule.cap, rule.backoff << min(attempt - 1, 32))
    return round(wait * (1 - rule.jitter / 100 * _fraction(job_id, attempt)))


def _fraction(job_id: str, attempt: int) -> float:
    """A number in [0, 1) that is the same wherever and whenever it is computed, yet spreads jobs apart."""
    digest = hashlib.sha256(f"{job_id}:{attempt}".encode()).digest()
    return int.from_bytes(digest[:7]) / 2**56
