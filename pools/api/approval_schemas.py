"""What the API gives of an operation's approval."""

from datetime import datetime

from ninja import Schema
from pydantic import Field

from pools.models import Approval, Operation


class NeedOut(Schema):
    pool: str
    jobs: int
    lately: int = Field(description="of other operations of the same person's in the last hour that nobody approved")
    limit: int


class ApprovalOut(Schema):
    """Why an operation needs a second person, and what that person said."""

    needed: list[NeedOut]
    lapses_at: datetime = Field(description="it is cancelled then, unless somebody has decided")
    decision: str = Field(description="approved, declined, withdrawn, lapsed; empty while it waits")
    decided_by: str
    reason: str
    decided_at: datetime | None


def approval_out(row: Operation) -> ApprovalOut | None:
    approval: Approval | None = getattr(row, "approval", None)
    if approval is None:
        return None
    return ApprovalOut(
        needed=[NeedOut(**need) for need in approval.needed],
        lapses_at=approval.lapses_at,
        decision=approval.decision,
        decided_by=approval.actor_name,
        reason=approval.reason,
        decided_at=approval.decided_at,
    )
