"""Breakers and limits of pools as the workers left them, read with the sampler's other reads."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pools.broker import fields
from pools.broker.connection import Broker
from pools.spec import BreakerRule, LimitRule

BREAKER_COMMANDS, LIMIT_COMMANDS = 3, 2


@dataclass(frozen=True)
class Watched:
    """A pool's breakers and limits, as its published config names them."""

    pool_uid: str
    breakers: Sequence[BreakerRule]
    limits: Sequence[LimitRule]


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


def read_gates(watched: Iterable[Watched], answers: Iterator[Any], at: float) -> dict[str, dict[str, Any]]:
    """Pool uid → JSON values: ``breakers`` and ``limits``, each by name. ``at`` is the broker's clock."""
    return {
        pool.pool_uid: {
            "breakers": {rule.name: _breaker(rule, [next(answers) for _ in range(BREAKER_COMMANDS)], at)
                         for rule in pool.breakers},
            "limits": {rule.name: _limit(rule, [next(answers) for _ in range(LIMIT_COMMANDS)], at)
                       for rule in pool.limits},
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
        "since": fields.count(since) // 1000,
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
