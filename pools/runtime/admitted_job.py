"""An rq job that keeps to its pool's admission, whoever loads it: worker, horse or upkeep.

rq reads and runs whatever a job's hash says. Here a worker learns of a payload no more than JSON tells, a horse
examines it before anything that it names is imported, and callbacks and webhooks that the pool refuses never run.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rq.exceptions import DeserializationError
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.utils import utcparse

from pools.runtime.refusals import Admission, JobRefused, as_refusal, check_numbers, check_texts
from pools.runtime.task_name import task_name

# What rq would unpickle, or unpack without an end, as soon as it reads a record; the last two are of earlier runs.
UNREAD = (b"meta", b"result", b"exc_info")
DATES = (b"created_at", b"enqueued_at", b"started_at", b"ended_at", b"last_heartbeat")


def record(found: list[bytes] | int, admission: Admission) -> dict[bytes, bytes]:
    """A job's hash, as its claim answered it (record.lua); empty when there is none. Raises JobRefused: one that is too
    large stayed where it is.
    """
    if isinstance(found, list):
        return dict(zip(found[::2], found[1::2], strict=True))
    if found < 0:
        raise JobRefused("its key holds something other than a job")
    admission.check_size(found)
    return {}


def _date(raw: bytes) -> datetime:
    """As rq reads it, at a tenth of the cost. Raises ValueError."""
    text = raw.decode()
    return datetime.fromisoformat(text) if text.endswith("Z") and text[10:11] == "T" else utcparse(text)


class AdmittedJob(Job):
    """``refused``: its run ends in a refusal, of which nobody is told and which nothing retries.

    ``restored``: its record could be read. ``elsewhere``: it runs in a sandbox, so no code that it names runs here.
    """

    admission: Admission
    restored = False
    refused = False
    elsewhere = False
    _packed_meta: bytes | None = None
    _new_meta = b""

    def admit(self, raw: Mapping[bytes, bytes]) -> None:
        """In a worker, which loads no pickle: ``restore``, unless the record says why not.

        Raises JobRefused, and anything at all for a damaged record.
        """
        self.restore(raw)
        check_numbers("retry intervals", self.retry_intervals)
        check_numbers("repeat intervals", self.repeat_intervals)
        check_texts("dependencies", self._dependency_ids)
        reads = "json" if self.serializer is JSONSerializer else "pickle"
        self.admission.check_record(raw, self.data, reads)
        if reads == "json":
            self.examine()
        elif self.admission.tasks and "." in (name := task_name(self.data)):  # else an instance's method
            self.admission.check_task(name)

    def examine(self) -> None:
        """Look at the payload's task, of which nothing is imported yet. Raises JobRefused."""
        try:
            self.admission.check_task(self.full_name)
        except DeserializationError as error:
            raise as_refusal("payload", error.__cause__) from None

    def examine_all(self) -> None:
        """In the horse. With a list of tasks callbacks are imported here, and not when the job has done its work."""
        self.examine()
        if self.admission.tasks:
            for callback in ("success_callback", "failure_callback"):
                getattr(self, callback)

    def note_refusal(self, exc_info: Any) -> Any:
        """A refusal is told by its reason alone, so that it reads the same wherever it was noticed."""
        error = exc_info[1]
        if not isinstance(error, JobRefused):
            return exc_info
        self.refused, error.__cause__ = True, None
        return type(error), error, None

    @property
    def full_name(self) -> Any:
        """The task's dotted name, that of an instance's method with its class. Raises DeserializationError."""
        name = self.func_name
        if not self.instance:
            return name
        kind = type(self.instance)
        return f"{kind.__module__}.{kind.__qualname__}.{name}"

    @property
    def func(self) -> Any:
        function = super().func
        self.admission.check_found("task", self.full_name, function)
        return function

    @property
    def success_callback(self) -> Any:
        return self._admitted("success", self._success_callback_name, Job.success_callback)

    @property
    def failure_callback(self) -> Any:
        return self._admitted("failure", self._failure_callback_name, Job.failure_callback)

    @property
    def stopped_callback(self) -> Any:
        return self._admitted("stopped", self._stopped_callback_name, Job.stopped_callback)

    def _admitted(self, kind: str, name: str | None, found: Any) -> Any:
        if not name or self.refused or self.elsewhere:
            return None
        self.admission.check_callback(kind, name)
        function = found.fget(self)
        self.admission.check_found(f"its {kind} callback", name, function)
        return function

    def send_webhooks(self, *args: Any, **options: Any) -> None:
        if self.admission.webhooks == "allow" and not self.refused and not self.elsewhere:
            super().send_webhooks(*args, **options)

    # What a record holds beside its payload.

    def restore(self, raw_data: Any) -> None:
        self.admission.check_packed(raw_data.get(b"data", b""))
        told = dict(raw_data)
        for name in UNREAD:
            told.pop(name, None)
        dates = {name: _date(told.pop(name)) for name in DATES if told.get(name)}
        super().restore(told)
        for name, date in dates.items():
            setattr(self, name.decode(), date)
        self._packed_meta, self.restored = raw_data.get(b"meta") or None, True

    @property
    def meta(self) -> Any:
        """As rq's, but loaded when it is asked for: a worker never does."""
        if self._packed_meta is not None:
            packed, self._packed_meta = self._packed_meta, None
            try:
                self._meta = self.serializer.loads(packed)
            except Exception:  # as rq: depends on the serializer
                self._meta, self._unreadable_meta = {"unserialized": packed}, packed
        return self._meta

    @meta.setter
    def meta(self, value: Any) -> None:
        self._meta, self._packed_meta = value, None

    def take_meta(self, packed: bytes) -> None:
        """What a run of it elsewhere has made of its meta, to be stored as it is with the rest."""
        self._packed_meta = self._new_meta = packed

    def to_dict(self, include_meta: bool = True, include_result: bool = True) -> dict[str, Any]:
        """Meta that nobody has loaded stays on the broker as it is."""
        packed, self._packed_meta = self._packed_meta, None
        try:
            told = super().to_dict(include_meta, include_result)
        finally:
            self._packed_meta = packed
        return told | {"meta": self._new_meta} if self._new_meta and include_meta else told
