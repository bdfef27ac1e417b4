"""How many retries a pool may have, of all that succeeds: a bucket on the broker that lua/finish.lua keeps.

What is in it is counted in hundredths of a retry: each success puts in ``percent``, each minute ``per_minute`` whole
ones, each retry takes one whole. It holds no more than a minute's and what 1,000 successes give.
"""

from dataclasses import dataclass

WHOLE = 100
SPENT = "The pool's retry budget is spent: too many of its jobs fail. This job was not run again."


@dataclass(frozen=True)
class RetryBudget:
    """The signed spec's. ``percent`` 0: no bound."""

    percent: int = 0
    per_minute: int = 0

    def change(self, end: str, *, retries: bool) -> tuple[int, int, int]:
        """What a job's ``end`` puts into the bucket or takes, what a minute puts in, and the most that it holds."""
        gain = {"success": self.percent, "failure": -WHOLE * retries}.get(end, 0) if self.percent else 0
        return gain, self.per_minute * WHOLE, self.per_minute * WHOLE + self.percent * 1000
