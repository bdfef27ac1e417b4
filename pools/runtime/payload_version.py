"""The version of its task's payload that a job is of: its producer's ``meta["schema"]``, read without loading."""

import json
from typing import Any

from pools.broker.payload_pickle import disassemble
from pools.runtime.refusals import JobRefused
from pools.runtime.task_name import LARGEST_PAYLOAD, LONGEST_VALUE

# In a job's hash, beside rq's fields: the version that a worker read and did not know.
FIELD = "pw_schema"
MARK = "schema"


def version(meta: bytes) -> str:
    """The number or text that rq's packed ``meta`` has as ``schema``; "" when it is not marked.

    Raises JobRefused for what cannot be read: who does not know the version must not run it.
    """
    if not meta:
        return ""
    if len(meta) > LARGEST_PAYLOAD:
        raise JobRefused(f"its version cannot be read: its meta takes more than {LARGEST_PAYLOAD:,} bytes")
    found = _json(meta) if meta.lstrip().startswith((b"{", b"n")) else _pickled(meta)
    return found[:LONGEST_VALUE].encode(errors="replace").decode()


def _json(meta: bytes) -> str:
    try:
        told: Any = json.loads(meta)
    except (ValueError, RecursionError):
        raise JobRefused("its version cannot be read: its meta is not JSON") from None
    mark = told.get(MARK) if isinstance(told, dict) else None
    return "" if mark is None else str(mark)


def _pickled(meta: bytes) -> str:
    found = disassemble(meta)
    if found.root is None:
        raise JobRefused(f"its version cannot be read: of its meta, {found.problem}")
    mark = dict(found.root.items).get(MARK) if found.root.kind == "dict" else None
    return "" if mark is None or mark.text == "None" else mark.text or f"a {mark.kind}"
