"""A pool's breakers, limits and unknown payload versions with what the sampler saw of them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from math import ceil
from typing import Any

from django.utils import timezone

from pools.models import Pool, PoolNow, RunCommand
from pools.spec import BreakerRule, LimitRule, PoolSpec

WORDS = {"open": "Open", "half_open": "Half-open", "held": "Held open", "closed": "Closed"}
# Of each queue a claim looks at no more jobs. In a rollout some wait for seconds, as they should.
LOOKED_AT, UNKNOWN_AFTER = 100, timedelta(minutes=1)
# State → tone and icon of its chip; what is as it should be stays quiet.
MARKS = {"open": ("bad", "alert-triangle"), "held": ("warn", "player-pause"), "half_open": ("warn", "hourglass")}


@dataclass(frozen=True)
class BreakerLine:
    """``command``: the newest of a person about it; ``obeyed``: whether a worker has done what it says."""

    rule: BreakerRule
    state: str
    since: datetime | None
    failures: int
    passed: int
    probing: int
    command: RunCommand | None
    obeyed: bool

    @property
    def text(self) -> str:
        return WORDS.get(self.state, self.state)

    @property
    def tone(self) -> str:
        return MARKS.get(self.state, ("", ""))[0]

    @property
    def icon(self) -> str:
        return MARKS.get(self.state, ("", ""))[1]

    @property
    def is_closed(self) -> bool:
        return self.state == "closed"

    @property
    def is_held(self) -> bool:
        return self.state == "held"

    @property
    def probes_in(self) -> int | None:
        """Seconds until an open one lets a probe through; 0: as soon as a job wants to."""
        if self.state != "open" or self.since is None:
            return None
        rest = self.since + timedelta(seconds=self.rule.open_for) - timezone.now()
        return max(ceil(rest.total_seconds()), 0)


@dataclass(frozen=True)
class LimitLine:
    """``running`` and ``used`` (of the burst) are of all jobs together: nothing is known of each value apart."""

    rule: LimitRule
    running: int
    used: int


@dataclass(frozen=True)
class UnknownLine:
    """``jobs`` of a task that were seen to wait, since then, for a worker that knows their payload's version."""

    task: str
    version: str
    jobs: int
    since: datetime

    @property
    def is_many(self) -> bool:
        """Whether there may be more: of each queue no more are looked at."""
        return self.jobs >= LOOKED_AT


@dataclass(frozen=True)
class Gates:
    breakers: list[BreakerLine]
    limits: list[LimitLine]
    asks_versions: bool = False
    unknown: list[UnknownLine] = field(default_factory=list)


def gates_of(pool: Pool, spec: PoolSpec | None) -> Gates:
    """As of the newest sample. In one query beside the pool's own row, when it has any."""
    asks_versions = spec is not None and any(policy.schema_versions for policy in spec.policies)
    if spec is None or not (spec.breakers or spec.limits or asks_versions):
        return Gates([], [])
    now = PoolNow.objects.filter(pool=pool).first()
    seen: dict[str, Any] = now.gates if now else {}
    commands = _commands(pool) if spec.breakers else {}
    breakers, limits = seen.get("breakers", {}), seen.get("limits", {})
    return Gates(
        [_breaker(rule, breakers.get(rule.name, {}), commands.get(rule.name)) for rule in spec.breakers],
        [
            LimitLine(rule, limits.get(rule.name, {}).get("running", 0), limits.get(rule.name, {}).get("used", 0))
            for rule in spec.limits
        ],
        asks_versions,
        _unknown(seen.get("unknown", [])),
    )


@dataclass(frozen=True)
class NotClosed:
    """A breaker that keeps jobs waiting: ``state`` is open, half_open or held."""

    name: str
    state: str
    since: datetime | None
    tasks: list[str]

    @property
    def until(self) -> str:
        return "somebody closes it" if self.state == "held" else "a probe succeeds"


def not_closed(now: PoolNow | None) -> list[NotClosed]:
    """As last sampled."""
    seen = now.gates.get("breakers", {}) if now else {}
    return [
        NotClosed(name, told["state"], _moment(told.get("since", 0)), told["tasks"])
        for name, told in seen.items()
        if told["state"] in MARKS
    ]


def stopped(pool: Pool, tasks: Iterable[str]) -> list[str]:
    """The breakers that keep jobs of any of these tasks waiting, as last sampled. ``pool`` with its ``now``."""
    return [
        line.name
        for line in not_closed(getattr(pool, "now", None))
        if any(fnmatchcase(task, pattern) for task in tasks for pattern in line.tasks)
    ]


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _unknown(told: list[dict[str, Any]]) -> list[UnknownLine]:
    lines = [UnknownLine(**one | {"since": datetime.fromtimestamp(one["since"], UTC)}) for one in told]
    return [line for line in lines if timezone.now() - line.since > UNKNOWN_AFTER]


def _commands(pool: Pool) -> dict[str, RunCommand]:
    """Breaker → the newest command about it."""
    return {command.breaker: command for command in pool.run_commands.exclude(breaker="").order_by("generation")}


def _breaker(rule: BreakerRule, told: dict[str, Any], command: RunCommand | None) -> BreakerLine:
    return BreakerLine(
        rule=rule,
        state=told.get("state", "closed"),
        since=_moment(told.get("since", 0)),
        failures=told.get("failures", 0),
        passed=told.get("passed", 0),
        probing=told.get("probing", 0),
        command=command,
        obeyed=command is None or told.get("generation", 0) >= command.generation,
    )
