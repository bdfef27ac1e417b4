"""Breakers, limits and unknown versions of pools as the workers left them, read with the sampler's other reads."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.spec import BreakerRule, LimitRule

BREAKER_COMMANDS, LIMIT_COMMANDS = 3, 2
MOST_VERSIONS = 20
LATEST = 2**45  # ms: a time that every column and page can hold


@dataclass(frozen=True)
class Watched:
    """A pool's breakers and limits, as its published config names them; ``versions``: whether it knows only some."""

    pool_uid: str
    breakers: Sequence[BreakerRule]
    limits: Sequence[LimitRule]
    versions: bool = False

    @property
    def any(self) -> bool:
        return bool(self.breakers or self.limits or self.versions)


def gate_commands(broker: Broker, watched: Iterable[Watched]) -> Iterator[tuple[Any, ...]]:
    """In the order in which ``read_gates`` takes their answers."""
    for pool in watched:
        base = broker.keys.gates(pool.pool_uid)
        for breaker in pool.breakers:
            key = f"{base}:breaker:{breaker.name}"
            yield ("HMGET", key, "state", "since", "passed", "generation")
            yield ("LRANGE", f"{key}:failures", 0, breaker.failures - 1)
            yield ("SCARD", f"{key}:probes")
        for limit in pool.limits:
            key = f"{base}:limit:{limit.name}:"
            yield ("SCARD", f"{key}:running")
            yield ("GET", f"{key}:rate")
        if pool.versions:
            yield ("GET", f"{base}:unknown")


def read_gates(watched: Iterable[Watched], answers: Iterator[Any], at: float) -> dict[str, dict[str, Any]]:
    """Pool uid → JSON values: ``breakers`` and ``limits``, each by name, and ``unknown``, a list. ``at`` is the
    broker's clock.
    """
    return {
        pool.pool_uid: {
            "breakers": {rule.name: _breaker(rule, [next(answers) for _ in range(BREAKER_COMMANDS)], at)
                         for rule in pool.breakers},
            "limits": {rule.name: _limit(rule, [next(answers) for _ in range(LIMIT_COMMANDS)], at)
                       for rule in pool.limits},
            "unknown": _unknown(next(answers)) if pool.versions else [],
        }
        for pool in watched
    }  # fmt: skip


def _breaker(rule: BreakerRule, answers: list[Any], at: float) -> dict[str, Any]:
    """``state`` as lua/gates.lua has it; ``since`` in Unix seconds, 0 when it was never anything but closed."""
    told, failures, probing = answers
    state, since, passed, generation = [*fields.listed(told), None, None, None, None][:4]
    oldest = (at - rule.window) * 1000
    return {
        "state": fields.text(state, 20) or "closed",
        "since": min(fields.count(since), LATEST) // 1000,
        "passed": fields.count(passed),
        "generation": fields.count(generation),
        "failures": sum(fields.count(time) >= oldest for time in fields.listed(failures)),
        "probing": fields.count(probing),
        "tasks": rule.tasks,
    }


def _limit(rule: LimitRule, answers: list[Any], at: float) -> dict[str, Any]:
    """``running`` jobs, and how much of the burst is ``used``: only of a limit that counts all together."""
    running, empty_at = answers
    ahead = max(fields.count(empty_at) / 1_000_000 - at, 0) if rule.per_second else 0
    return {"running": fields.count(running), "used": min(round(ahead * rule.per_second), rule.burst)}


def _unknown(raw: Any) -> list[dict[str, Any]]:
    """As lua/versions.lua writes it, with ``since`` in Unix seconds; what anybody else wrote there is left out."""
    try:
        told = json.loads(fields.text(raw, 100_000))
    except (ValueError, RecursionError):
        return []
    found = [one for one in told if isinstance(one, dict)] if isinstance(told, list) else []
    return [
        {
            "task": _said(one.get("task")),
            "version": _said(one.get("version")),
            "jobs": _whole(one.get("jobs")),
            "since": _whole(one.get("since")) // 1000,
        }
        for one in found[:MOST_VERSIONS]
    ]


def _whole(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and 0 <= value < LATEST else 0


def _said(value: Any) -> str:
    return fields.text(str(value).encode(errors="replace"), 200)
