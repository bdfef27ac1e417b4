"""What the API takes of a notification channel."""

import re
from datetime import time
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from pools.api.bodies import Body, Seen, Text
from pools.models import Criticality

EXAMPLE: dict[str, Any] = {
    "kind": "webhook",
    "url": "https://hooks.example.com/poolwarden",
    "occasions": ["new", "regressed"],
    "min_criticality": "standard",
    "quiet_from": "22:00",
    "quiet_to": "07:00",
    "quiet_zone": "Europe/Berlin",
}


CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")


def _clock(value: object) -> object:
    """Hours and minutes as text, and nothing else that pydantic would take for a time."""
    if value is None:
        return None
    if not isinstance(value, str) or not CLOCK.fullmatch(value):
        raise ValueError("must be a time of the day such as 22:00")
    return time.fromisoformat(value)


Clock = Annotated[time | None, BeforeValidator(_clock)]


class ChannelValues(Body):
    kind: Literal["webhook", "email"]
    url: Text = Field("", max_length=500, description="of a webhook: https, without a password or a query")
    recipients: list[Annotated[Text, Field(max_length=254)]] = Field(
        [], max_length=20, description="of e-mail: up to 20 addresses"
    )
    pool: Text = Field("", max_length=60, description="only of this pool of the team; empty: of all of them")
    occasions: list[Literal["new", "regressed", "spike"]] = Field(
        ["new", "regressed", "spike"], description="new failure groups, resolved ones that fail again, spikes"
    )
    min_criticality: str = Field(
        Criticality.LOW.value,
        json_schema_extra={"enum": list(Criticality.values)},
        description="pools that are less critical are left out",
    )
    quiet_from: Clock = Field(None, description="in quiet hours only critical pools get through; the rest waits")
    quiet_to: Clock = None
    quiet_zone: Text = Field("UTC", max_length=100, description="an IANA time zone")
    per_hour: int = Field(12, description="messages an hour at most, 1 to 60; the rest waits")
    enabled: bool = True


class ChannelIn(ChannelValues):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "payments-hook", "team": "demo"} | EXAMPLE,
                {"name": "oncall", "team": "demo", "kind": "email", "recipients": ["oncall@example.com"]},
            ]
        }
    )

    name: Text = Field(max_length=50, description="small letters, digits and -; unique, and never changes")
    team: Text = Field(max_length=50, description="slug of a team of yours")


class ChannelChangeIn(ChannelValues):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE | {"expected_version": 1}]})

    expected_version: Seen = Field(None, description="the channel's `revision` that you saw; 409 if it has changed")
