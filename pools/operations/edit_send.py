"""What the console's worker does with an edited payload."""

from datetime import datetime
from hashlib import sha256

from pools.broker.connection import get_broker
from pools.broker.moves import Change, edit
from pools.broker.payload_reveal import Unreadable, stored_payload
from pools.models import Operation, Outcome, SealedPayload
from pools.operations.edits import KEPT_FOR
from pools.operations.sealing import Unsealable, unseal

DIGEST_LENGTH = 64


def send_edit(
    row: Operation, job: tuple[str, str], at: datetime, receipt: str, score: float | None
) -> dict[str, Outcome]:
    """What became of the job (its id and queue), by its id. Raises ``BrokerUnavailable``: it stays on its way then.

    Whoever sends it once more asks the script all the same, also when the payload is gone by now: the receipt knows
    whether the job was moved before.
    """
    job_id, _ = job
    change = _change(row, job_id)
    (result,) = edit(get_broker(row.broker), job, change, at, receipt, score)
    outcome = Outcome(result.outcome)
    late = outcome == Outcome.CHANGED and not change.data
    return {job_id: Outcome.EXPIRED if late else outcome}


def _change(row: Operation, job_id: str) -> Change:
    """The new payload, and the stored one if that is what the editor saw: the script compares it byte for byte."""
    sealed = SealedPayload.objects.filter(operation=row).first()
    if sealed is None:
        return Change(b"", b"")
    try:
        plain = unseal(bytes(sealed.sealed), int(KEPT_FOR.total_seconds()))
    except Unsealable:
        return Change(b"", b"")
    seen, data = plain[:DIGEST_LENGTH].decode(), plain[DIGEST_LENGTH:]
    try:
        stored = stored_payload(get_broker(row.broker), job_id)
    except Unreadable:
        return Change(b"", data)
    return Change(stored if sha256(stored).hexdigest() == seen else b"", data)
