"""Which jobs a worker does not run, and why, in words that a person reads and that group what is alike.

A refused job is a failure of one kind, ``poolwarden.JobRefused``, of which the console makes a quarantine. The worker
looks at the record and at JSON; only a horse loads pickles, and looks again at what it loaded.
"""

import contextlib
import io
import json
import pickle
import traceback
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from rq.serializers import DefaultSerializer

CALLBACKS = ("success", "failure", "stopped")
# How each serializer's payloads begin: a list, and what pickle protocols before 2 or from 2 on begin with.
BEGINNINGS = {"json": (b"[",), "pickle": (b"(", b"\x80")}
NAME_LIMIT = 200
YEARS = 100 * 365 * 86_400

PLAIN = {"builtins": "bool bytearray bytes complex dict float frozenset int list range set slice str tuple"}
PLAIN |= {"datetime": "date datetime time timedelta timezone", "decimal": "Decimal", "uuid": "UUID"}
PLAIN |= {"collections": "OrderedDict deque"}
VALUES = frozenset(f"{module}.{name}" for module, names in PLAIN.items() for name in names.split())
"""What a pickle may be made of in any case: Python's own values, which do nothing when they are made."""


class JobRefused(Exception):
    """``str`` is the reason, as a clause."""

    __module__ = "poolwarden"  # as it is printed: where it is defined is nobody's concern


@dataclass(frozen=True)
class Admission:
    """The part ``admission`` of the signed spec, whose docs say what each field means."""

    tasks: Sequence[str] = ()
    types: Sequence[str] = ()
    callbacks: str = "allow"
    webhooks: str = "allow"
    job_kib: int = 16_384

    def lists(self, name: str) -> bool:
        return not self.tasks or any(fnmatchcase(name, pattern) for pattern in self.tasks)

    def check_size(self, size: int) -> None:
        """Raises JobRefused, as all checks do."""
        if size > self.job_kib * 1024:
            raise JobRefused(f"its record takes {size:,} bytes and may take {self.job_kib:,} KiB")

    def check_packed(self, data: bytes) -> None:
        """That there is a payload, and no more of it than may be: rq unpacks it whole, and 50 kB can hold 50 MB."""
        if not data:
            raise JobRefused("its record holds no payload")
        most = self.job_kib * 1024
        with contextlib.suppress(zlib.error):  # as rq: it was never packed
            if len(zlib.decompressobj().decompress(data, most + 1)) > most:
                raise JobRefused(f"its payload takes more than {self.job_kib:,} KiB when it is unpacked")

    def check_record(self, raw: Mapping[bytes, bytes], payload: bytes, serializer: str) -> None:
        """What a job's hash says outside of its payload, and how the payload begins."""
        if not payload.startswith(BEGINNINGS[serializer]):
            raise JobRefused(f"its payload is not written as {serializer}, which the pool reads")
        for kind in CALLBACKS:
            self.check_callback(kind, _text(raw.get(f"{kind}_callback_name".encode())))
        if self.webhooks == "refuse" and raw.get(b"webhooks", b"") not in (b"", b"[]"):
            raise JobRefused("it has a webhook, which the pool does not allow")

    def check_callback(self, kind: str, name: str) -> None:
        if name and self.callbacks == "refuse":
            raise JobRefused(f"it has a {kind} callback, which the pool does not allow: {_named(name)}")
        if name and not self.lists(name):
            raise JobRefused(f"its {kind} callback {_named(name)} is not on the pool's list of tasks")

    def check_task(self, name: Any) -> None:
        if not isinstance(name, str) or not name:
            raise JobRefused("its payload names no task")
        if not self.lists(name):
            raise JobRefused(f"task {_named(name)} is not on the pool's list of tasks")

    def check_found(self, what: str, name: str, function: Any) -> None:
        """A pattern is for what a module defines. What it only imported is found under its name, too."""
        if not self.tasks or name in self.tasks:
            return
        own = f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', '?')}"
        if own != name and not self.lists(own):
            raise JobRefused(f"{what} {_named(name)} is {_named(own)}, which is not on the pool's list of tasks")


DEFAULTS = Admission()


class ListedPickle(DefaultSerializer):
    """rq's pickle, which makes nothing but ``VALUES`` and the types that the spec lists. A class, as rq names it."""

    listed = VALUES

    @classmethod
    def loads(cls, data: bytes) -> Any:  # type: ignore[override]
        return _Unpickler(io.BytesIO(data), cls.listed).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, listed: frozenset[str]) -> None:
        super().__init__(file)
        self._listed = listed

    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in self._listed:
            raise JobRefused(f"its payload would load {_named(f'{module}.{name}')}, which is not on the pool's list")
        return super().find_class(module, name)


def serializer_for(admission: Admission, serializer: str) -> Any:
    """What rq is given to read and write payloads with. Without a list of tasks, pickles load whatever they name."""
    if serializer == "json" or not admission.tasks:
        return serializer
    return type("ListedPickle", (ListedPickle,), {"listed": VALUES.union(admission.types)})


def check_numbers(what: str, values: Any) -> None:
    """That rq can reckon with them when the job has ended, which may be in a worker: seconds, none too far off."""
    fits = values and _is_list(values, lambda value: isinstance(value, int | float) and 0 <= value < YEARS)
    if values is not None and not fits:
        raise JobRefused(f"its {what} are not a list of seconds")


def check_texts(what: str, values: Any) -> None:
    if not _is_list(values, lambda value: isinstance(value, str)):
        raise JobRefused(f"its {what} are not a list of ids")


def _is_list(values: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(values, list) and all(map(fits, values))


def as_refusal(what: str, error: BaseException | None) -> JobRefused:
    """An error in reading ``what``. Its text is quoted, so that what was read makes no group of its own."""
    if isinstance(error, JobRefused):
        return error
    said = json.dumps(str(error)[:NAME_LIMIT]) if str(error) else _place(error)
    return JobRefused(f"its {what} cannot be read: {type(error).__name__} {said}")


def _place(error: BaseException | None) -> str:
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    return f"in {frames[-1].name}" if frames else ""


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")


def _named(name: str) -> str:
    """A name as it can stand in a sentence: somebody else wrote it."""
    return name if name.isprintable() and len(name) <= NAME_LIMIT else json.dumps(name[:NAME_LIMIT])
