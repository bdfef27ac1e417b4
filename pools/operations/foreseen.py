"""What of a set a requeue would skip, asked of the broker beforehand. Looking changes nothing."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db.models import QuerySet

from pools.broker.connection import BrokerUnavailable, get_broker
from pools.broker.moves import Outcome
from pools.broker.skipping import LIMIT, foresee
from pools.models import DeadLetter

POISON = "poison"
WHY: dict[str, str] = {
    Outcome.NOT_FAILED: "no longer in the failed registry: requeued or deleted by somebody",
    Outcome.GONE: "gone: the record has expired or was deleted",
    Outcome.DAMAGED: "damaged: RQ could not run it",
    POISON: "poison: came back from as many requeues as their pool allows",
}


@dataclass(frozen=True)
class Foreseen:
    """Of ``looked`` jobs, the oldest, how many would be skipped, by outcome; ``problem``: why nobody could look.

    ``orphans``: how many of those that can be requeued depend on a job that is gone.
    """

    looked: int
    skipped: Mapping[str, int] = field(default_factory=dict)
    problem: str = ""
    orphans: int = 0

    @property
    def requeued(self) -> int:
        return self.looked - sum(self.skipped.values())

    @property
    def reasons(self) -> list[tuple[str, int]]:
        """In words, with how many."""
        return [(WHY[outcome], number) for outcome, number in self.skipped.items()]


def foreseen(found: QuerySet[DeadLetter], *, named: bool) -> Foreseen:
    """``named``: one by one, then poison is not skipped."""
    columns = ("pool__broker", "job_id", "queue", "came_back", "pool__poison_after")
    oldest = list(found.order_by("failed_at", "pk").values_list(*columns)[:LIMIT])
    aliases = {alias for alias, *_ in oldest}
    if len(aliases) != 1:
        return Foreseen(0, problem="these jobs lie on several brokers: choose those of one" if aliases else "")
    jobs = [(job_id, queue) for _, job_id, queue, times, limit in oldest if named or not 0 < limit <= times]
    try:
        outcomes = foresee(get_broker(*aliases), jobs, orphans_stay=True)
    except BrokerUnavailable as error:
        return Foreseen(0, problem=error.why)
    counts = Counter[str](outcomes) + Counter({POISON: len(oldest) - len(jobs)})
    skipped = {outcome: counts[outcome] for outcome in WHY if counts[outcome]}
    return Foreseen(len(oldest), skipped, orphans=counts[Outcome.ORPHANED])
