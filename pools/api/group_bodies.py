"""What the API takes to decide about a failure group."""

from datetime import datetime
from typing import Annotated

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from pydantic import BeforeValidator, ConfigDict, Field

from pools.api.bodies import Body, Reason, Seen, Text


def _moment(value: object) -> object:
    """RFC 3339 as text, and nothing else that pydantic would take for a time."""
    if value is None:
        return None
    found = parse_datetime(value) if isinstance(value, str) else None
    if found is None or timezone.is_naive(found):
        raise ValueError("must be a time such as 2026-11-24T09:00:00Z")
    return found


Moment = Annotated[datetime | None, BeforeValidator(_moment)]


class DecideIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Looking at it", "expected_version": 1}]})

    reason: Reason = ""
    expected_version: Seen = Field(None, description="the group's `revision` that you saw; 409 if it has changed")


class ResolveIn(DecideIn):
    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Fixed with config v43"}]})

    reason: Reason


class SnoozeIn(DecideIn):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"reason": "The gateway is down until the morning", "until": "2026-11-24T09:00:00Z"},
                {"reason": "A few are normal", "failures": 100},
                {"reason": "Fixed in the next version", "next_version": True},
            ]
        }
    )

    reason: Reason
    until: Moment = Field(None, description="a time within a year; or give one of the next two")
    failures: int | None = Field(None, description="that many more failures")
    next_version: bool = Field(False, description="until the pool's next config version is published")


class AssignIn(DecideIn):
    model_config = ConfigDict(json_schema_extra={"examples": [{"owner": "alice"}, {"owner": ""}]})

    owner: Text = Field(max_length=150, description="a username; empty for nobody")


class NoteIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"text": "The gateway's status page says 09:00 UTC"}]})

    text: Text
    expected_version: Seen = Field(None, description="the group's `revision` that you saw; 409 if it has changed")


class RunbookIn(DecideIn):
    model_config = ConfigDict(json_schema_extra={"examples": [{"url": "https://runbooks.example/card-gateway"}]})

    url: Text = Field(description="http or https; empty for that of the pool")
