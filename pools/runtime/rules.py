"""What a claim weighs, as the pool's signed spec says it. Pure; lua/claim_by_rules.lua and lua/ended.lua act on it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from pools.runtime.delivery import DeliveryRule, rule_for

_CLASS = re.compile(r"\[(!?)(\]?[^\]]*)\]")


@dataclass(frozen=True)
class Breaker:
    """``failures`` within ``window`` seconds open it for ``open_for`` seconds; then ``probes`` jobs decide.

    ``tasks`` are patterns; ``errors`` the exceptions that count, empty: every failure.
    """

    name: str
    tasks: Sequence[str]
    failures: int
    window: int
    open_for: int
    probes: int
    errors: Sequence[str]

    def verdict(self, ended: str, names: frozenset[str]) -> str:
        """What an end says of the dependency: ``failed``, ``passed``, or "" for nothing.

        ``ended``: success, retry or failure; ``names`` are those of the failure's exception, none for a killed horse.
        """
        if ended == "success":
            return "passed"
        counts = ended == "failure" and (not self.errors or bool(names & set(self.errors)))
        return "failed" if counts else ""


@dataclass(frozen=True)
class Limit:
    """At most ``per_second`` jobs begin a second, ``burst`` at once, and ``concurrency`` run; 0: no such limit.

    ``by``: for each ``queue``, or each value of the argument at this path; "": for all together.
    """

    name: str
    tasks: Sequence[str]
    per_second: int
    burst: int
    concurrency: int
    by: str

    @property
    def argument(self) -> str:
        """The path of the argument that the limit looks at, if any."""
        return "" if self.by == "queue" else self.by


@dataclass(frozen=True)
class Wish:
    """What a person wants a breaker to be (``open`` or ``closed``), since this generation of the run state."""

    breaker: str
    state: str
    generation: int


@dataclass(frozen=True)
class Rules:
    """``weights``: queue name → 1 to 100, and 1 for a queue that is not named; empty: queues in their order.

    ``policies``: those up to the last of which a claim has to know, as the first that matches a task applies.
    """

    weights: dict[str, int]
    breakers: Sequence[Breaker] = ()
    limits: Sequence[Limit] = ()
    policies: Sequence[DeliveryRule] = ()

    @property
    def plain(self) -> bool:
        """Whether the plain claim script is enough, which weighs nothing."""
        return not (self.weights or self.takes)

    @property
    def takes(self) -> bool:
        """Whether a claim may take more than the job, and has to know its task."""
        return bool(self.gates or self.policies)

    @property
    def gates(self) -> Sequence[Breaker | Limit]:
        """All that a task may have to pass before it is claimed."""
        return [*self.breakers, *self.limits]

    def gates_of(self, task: str) -> list[Breaker | Limit]:
        return [gate for gate in self.gates if any(fnmatchcase(task, pattern) for pattern in gate.tasks)]

    def policy_of(self, task: str) -> DeliveryRule:
        return rule_for(self.policies, task)

    def told(self, queues: Sequence[str]) -> dict[str, Any]:
        """For the claim script; ``weights`` are in the order of ``queues``, ``tasks`` as ``pieces`` has them."""
        return {
            "weights": [self.weights.get(queue, 1) for queue in queues] if self.weights else [],
            "breakers": [
                {"name": b.name, "tasks": _pieces(b.tasks), "open_for": b.open_for, "probes": b.probes}
                for b in self.breakers
            ],
            "limits": [
                {
                    "name": limit.name,
                    "tasks": _pieces(limit.tasks),
                    "interval": 1_000_000 / limit.per_second if limit.per_second else 0,
                    "burst": limit.burst,
                    "concurrency": limit.concurrency,
                    "by": limit.by,
                }
                for limit in self.limits
            ],
            "policies": [
                {"tasks": _pieces([rule.task]), "versions": [str(version) for version in rule.schema_versions]}
                | ({"keep": rule.idempotency_keep} if rule.idempotency_key else {})
                for rule in self.policies
            ],
        }

    def verdicts(self, ended: str, names: frozenset[str]) -> dict[str, dict[str, Any]]:
        """For the script of a job's end, by breaker."""
        return {
            b.name: {
                "verdict": b.verdict(ended, names),
                "failures": b.failures,
                "window": b.window,
                "probes": b.probes,
            }
            for b in self.breakers
        }

    @classmethod
    def read(cls, data: dict[str, Any]) -> "Rules":
        """From JSON values. Raises KeyError, TypeError."""
        policies = [DeliveryRule(**policy) for policy in data["policies"]]
        while policies and not policies[-1].weighs:
            policies.pop()
        return cls(
            weights=data["weights"],
            breakers=[Breaker(**breaker) for breaker in data["breakers"]],
            limits=[Limit(**limit) for limit in data["limits"]],
            policies=policies,
        )


PLAIN = Rules({})


def _pieces(patterns: Sequence[str]) -> list[list[str]]:
    return [pieces(pattern) for pattern in patterns]


def pieces(pattern: str) -> list[str]:
    """A pattern as in file names, cut at its stars, each piece as a Lua pattern that matches a text of fixed length.

    So a name is matched in a time that grows with the pattern and the name, however many stars there are.
    """
    found, place = [""], 0
    while place < len(pattern):
        kind = _CLASS.match(pattern, place)
        if kind and kind[2]:
            found[-1] += f"[{'^' if kind[1] else ''}{_escaped(kind[2])}]"
            place = kind.end()
            continue
        if pattern[place] == "*":
            found.append("")
        else:
            found[-1] += "." if pattern[place] == "?" else f"{'' if pattern[place].isalnum() else '%'}{pattern[place]}"
        place += 1
    return found


def _escaped(members: str) -> str:
    """Ranges stay; whatever else means something in a Lua class is taken as it is."""
    return re.sub(r"[^A-Za-z0-9-]", lambda found: f"%{found[0]}", members)
