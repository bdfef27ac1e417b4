"""An rq job whose task may fail in its own way: for how long it is a dead letter, and what runs in its place."""

from typing import Any

from rq.executions import Execution
from rq.job import Job

from pools.runtime import delivery, fallback
from pools.runtime.keyed_job import KeyedJob

# In a job's hash, beside rq's fields, while it runs: seconds that it is kept as a dead letter, should it be lost.
TTL = "pw_failure_ttl"
FIELDS = (TTL, fallback.FIELD, fallback.DATA)


class BackedJob(KeyedJob):
    """The part of PoolJob that knows what its policy does about a final failure."""

    raw: dict[bytes, bytes]
    _is_fallback = False

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        self._is_fallback = fallback.OF.encode() in raw_data

    def at_start(self, execution: Execution) -> dict[Any, Any]:
        """Fields that the job has while it runs, so that whoever finds its worker dead needs no payload."""
        rule = self._backing()
        told: dict[Any, Any] = {TTL: rule.failure_ttl} if rule.failure_ttl else {}
        if rule.fallback and not self._is_fallback:
            told |= fallback.kept(self._made(rule, execution, fallback.LOST), self.id)
        return told

    def stale(self) -> list[str]:
        """Of those fields what an earlier run left."""
        return [field for field in FIELDS if field.encode() in self.raw]

    def replacement(self, end: str, execution: Execution) -> Job | None:
        """The fallback that this ``end`` (success, retry, failure) calls for. A refused job has none: it never ran."""
        rule = self._backing()
        final = end == "failure" and not self.should_retry and not self.refused
        if not (final and rule.fallback) or self._is_fallback:
            return None
        return self._made(rule, execution, self.failure.kind or fallback.LOST)

    def at_end(self, end: str, made: Job | None) -> list[tuple[Any, ...]]:
        """Our writes with rq's of this ``end``: those of its key, of its fallback, and what the run alone had."""
        writes, rule = self.of_key(end), self._backing()
        if rule.failure_ttl or rule.fallback:
            writes.append(("HDEL", self.key, *FIELDS))
        return writes + (fallback.enqueued(made, self.id, self.keys.rq_prefix) if made else [])

    def _made(self, rule: delivery.DeliveryRule, execution: Execution, error: str) -> Job:
        return fallback.job_for(self, rule, execution.id, error, self._task(), self.policy.job_timeout)

    @property
    def kept_failed(self) -> int:
        """For how many seconds this job is a dead letter."""
        own: int | None = self.failure_ttl
        return (self._backing().failure_ttl or self.policy.failure_ttl) if own is None else own

    def _backing(self) -> delivery.DeliveryRule:
        if not any(rule.failure_ttl or rule.fallback for rule in self.policy.deliveries):
            return delivery.NONE  # the task need not be known
        return delivery.rule_for(self.policy.deliveries, self._task())
