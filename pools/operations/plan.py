"""How an operation goes about its frozen set: a canary first, how fast, and when it stops by itself."""

from dataclasses import asdict, dataclass
from typing import Any

from pools.operations.errors import Refused

MAX_RATE = 100_000
MAX_CANARY = 10_000
TIMEOUT = 15 * 60
TIMEOUTS = (10, 24 * 3600)


@dataclass(frozen=True)
class Canary:
    """The oldest ``count`` jobs are sent first; the rest follows when ``min_success`` percent of them succeed.

    ``timeout``: seconds after which a canary whose jobs have not all ended stops the operation.
    """

    count: int
    min_success: int
    timeout: int = TIMEOUT


@dataclass(frozen=True)
class Plan:
    """Nothing of it is needed. ``rate_per_second``: None is as fast as it goes. ``stop_same_failure``: a percentage.

    ``orphans_stay``: a job is skipped when one that it depends on is gone. RQ takes such a dependency as met.
    """

    canary: Canary | None = None
    rate_per_second: int | None = None
    stop_same_failure: int | None = None
    orphans_stay: bool = False

    def check(self, *, requeues: bool) -> None:
        """Raises ``Refused``, which names the field."""
        wanted = {
            "canary": self.canary,
            "stop_same_failure": self.stop_same_failure is not None,
            "orphans_stay": self.orphans_stay,
        }
        for field in () if requeues else [name for name, value in wanted.items() if value]:
            raise Refused(field, "Only the jobs of a requeue run and can fail again. Nothing was changed.")
        if self.canary:
            _within("canary.count", self.canary.count, 1, MAX_CANARY)
            _within("canary.min_success", self.canary.min_success, 1, 100)
            _within("canary.timeout", self.canary.timeout, *TIMEOUTS)
        if self.rate_per_second is not None:
            check_rate(self.rate_per_second)
        if self.stop_same_failure is not None:
            _within("stop_same_failure", self.stop_same_failure, 1, 99)

    def as_columns(self) -> dict[str, Any]:
        """The columns of the operation's row."""
        canary = asdict(self.canary) if self.canary else {}
        return {
            "rate_per_second": self.rate_per_second,
            "stop_same_failure": self.stop_same_failure,
            "orphans_stay": self.orphans_stay,
            **{f"canary_{name}": value for name, value in canary.items()},
        }

    def as_detail(self) -> dict[str, Any]:
        """What the event says of it: only what was asked for."""
        return {name: value for name, value in asdict(self).items() if value not in (None, False)}


def check_rate(rate: int) -> None:
    _within("rate_per_second", rate, 1, MAX_RATE)


def _within(field: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise Refused(field, f"Must be {lowest:,} to {highest:,}, not {value:,}. Nothing was changed.")
