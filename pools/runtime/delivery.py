"""What becomes of a run that was lost with its worker, by the pool's signed policy. Pure; lua/reap.lua acts on it."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

# In a job's hash, beside rq's fields: at how many lost runs it becomes a dead letter; absent or 0: at the first.
FIELD = "pw_redeliver"


@dataclass(frozen=True)
class DeliveryRule:
    """One policy of the signed spec. ``losses``: the lost run after which an at_least_once job is a dead letter;
    ``deadline``: seconds after it is enqueued in which a job may begin, 0 for no such. ``idempotency_key``: the path of
    the argument that is its jobs' key, ``job`` for their ids, "" for none; ``idempotency_keep`` seconds.
    ``schema_versions``: of the payload that these workers know; none: they ask nobody. ``failure_ttl``: seconds that a
    dead letter is kept, 0: as the pool's. ``fallback``: the task that runs in place of one that has finally failed.
    """

    task: str
    delivery: str
    losses: int
    deadline: int = 0
    idempotency_key: str = ""
    idempotency_keep: int = 0
    schema_versions: Sequence[int] = ()
    failure_ttl: int = 0
    fallback: str = ""
    fallback_queue: str = ""

    @property
    def weighs(self) -> bool:
        """Whether a claim has to know of it."""
        return bool(self.idempotency_key or self.schema_versions)

    def knows(self, version: str) -> bool:
        """Whether these workers may run a payload of this version; "" is one that is not marked."""
        return not (version and self.schema_versions) or version in map(str, self.schema_versions)

    @property
    def redeliver(self) -> int:
        """What ``FIELD`` holds for a job."""
        return self.losses if self.delivery == "at_least_once" else 0


def rule_for(rules: Sequence[DeliveryRule], task: str) -> DeliveryRule:
    """The first rule that matches the task decides, and no other; without one it is at_most_once."""
    return next((rule for rule in rules if fnmatchcase(task, rule.task)), NONE)


NONE = DeliveryRule("", "at_most_once", 1)
