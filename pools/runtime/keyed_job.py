"""An rq job that may have an idempotency key: what it does when that was answered, and what its end tells the key."""

from base64 import b64decode
from typing import TYPE_CHECKING, Any

from rq.results import Result

from pools.runtime import delivery, idempotency
from pools.runtime.admitted_job import AdmittedJob
from pools.runtime.identity import Identity
from pools.runtime.keys import Keys
from pools.runtime.refusals import JobRefused

if TYPE_CHECKING:
    from pools.runtime.job import Failure, Policy


class KeyedJob(AdmittedJob):
    """The part of PoolJob that knows its key. ``answer``: what the key said when the job was claimed."""

    keys: Keys
    identity: Identity
    policy: "Policy"
    failure: "Failure"
    answer: idempotency.Answer | None = None
    _digest: str | None = None

    def restore(self, raw_data: Any) -> None:
        super().restore(raw_data)
        digest = raw_data.get(idempotency.DIGEST.encode())
        self._digest = None if digest is None else digest.decode()
        self.answer = idempotency.Answer.read(raw_data) if digest else None

    @property
    def keyed(self) -> bool:
        return bool(self._digest)

    def check_key(self, rule: delivery.DeliveryRule) -> None:
        """Raise JobRefused or UnknownOutcome when its task must not be called."""
        if rule.idempotency_key and self._digest is None:
            raise JobRefused("its idempotency key cannot be read: its payload hides the task")
        if rule.idempotency_key and self.answer:
            self.answer.check()

    def perform(self) -> Any:
        """As rq's, unless the job's key was answered: then it returns that, and its task is not called."""
        if self.answer is None or not self._keeps():
            return super().perform()
        raw = self.answer.result
        self._result = self.serializer.loads(b64decode(raw)) if raw else None
        return self._result

    def of_key(self, end: str) -> list[tuple[Any, ...]]:
        """The writes that tell the job's idempotency key of its ``end``: success, retry or failure."""
        keep = self._keeps()
        if not keep or not self._digest:
            return []
        key = f"{self.keys.once(self.identity.pool_uid)}:{self._digest}"
        if self.answer:
            unknown = idempotency.may_run(key, self.id, keep) if self.answer.result is None else []
            return [*unknown, ("HDEL", self.key, idempotency.BY, idempotency.RESULT)]
        if end == "success":
            kind, value = Result.Type.SUCCESSFUL, self._result
            result = Result(self.id, kind, self.connection, return_value=value, serializer=self.serializer)
            return idempotency.succeeded(key, self.id, result.serialize().get("return_value"), keep)
        if end == "failure" and not self.failure.names and not self.should_retry:
            return idempotency.lost(key, self.id, keep)
        return idempotency.failed(key)

    def _keeps(self) -> int:
        """For how long the result answers others, in seconds; 0 when the task's jobs have no idempotency key."""
        if self._digest is None:
            return 0
        rule = delivery.rule_for(self.policy.deliveries, self._task())
        return rule.idempotency_keep if rule.idempotency_key else 0

    def _task(self) -> str:
        raise NotImplementedError
