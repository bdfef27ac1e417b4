"""What becomes of a run that was lost with its worker, by the pool's signed policy. Pure; lua/reap.lua acts on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

# In a job's hash, beside rq's fields: at how many lost runs it becomes a dead letter; absent or 0: at the first.
FIELD = "pw_redeliver"


@dataclass(frozen=True)
class DeliveryRule:
    """One policy of the signed spec. ``losses``: the lost run after which an at_least_once job is a dead letter."""

    task: str
    delivery: str
    losses: int


def redeliver(rules: Sequence[DeliveryRule], task: str) -> int:
    """What ``FIELD`` holds for a job of this task. The first rule that matches decides, and no other."""
    rule = next((rule for rule in rules if fnmatchcase(task, rule.task)), None)
    return rule.losses if rule is not None and rule.delivery == "at_least_once" else 0
