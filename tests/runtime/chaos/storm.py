"""When which fault strikes: drawn from a seed, so that a seed names a storm (its faults meet other jobs each time)."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.runtime.chaos.faults import FAULTS, Fault, Scene
from tests.runtime.chaos.fleet import Managed


@dataclass
class Storm:
    """Call ``blow`` often, and ``end`` once.

    ``every``: seconds from one fault to the next, on average. ``struck``: how often which one did.
    """

    scene: Scene
    every: float
    struck: Counter[str] = field(default_factory=Counter)
    _open: list[tuple[float, Fault, Callable[[], None]]] = field(default_factory=list)
    _next: float = 0.0

    def __post_init__(self) -> None:
        managed = isinstance(self.scene.fleet, Managed)
        self._faults = [fault for fault in FAULTS if managed or not fault.managed_only]

    @property
    def broker_answers(self) -> bool:
        return all(fault.target != "broker" for _, fault, _ in self._open)

    def blow(self) -> None:
        """Undo what is due; start the next fault when its time has come."""
        now = time.monotonic()
        self._undo(now)
        if now < self._next:
            return
        self._next = now + self._chance.uniform(0, 2 * self.every)
        fault = self._chance.choice(self._faults)
        if self._may(fault):
            self.struck[fault.name] += 1
            undo = fault.strike(self.scene)
            if undo is not None:
                self._open.append((now + undo[0], fault, undo[1]))

    def end(self) -> None:
        """Put everything right again, the broker first."""
        for target in ("broker", ""):
            for entry in [e for e in self._open if target in ("", e[1].target)]:
                self._open.remove(entry)
                entry[2]()

    @property
    def _chance(self) -> Random:
        return self.scene.chance

    def _may(self, fault: Fault) -> bool:
        """What a pool is told is told by the broker."""
        taken = {other.target for _, other, _ in self._open}
        return fault.target == "" or (fault.target not in taken and not (fault.target == "pools" and "broker" in taken))

    def _undo(self, now: float) -> None:
        for entry in list(self._open):
            due, fault, undo = entry
            if now >= due and (fault.target != "pools" or self.broker_answers):
                self._open.remove(entry)
                undo()
