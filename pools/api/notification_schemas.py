"""What the API gives of notification channels. Field names are part of the public surface."""

from datetime import datetime, time
from typing import Any

from ninja import Schema
from pydantic import Field

from pools.models import NotificationChannel, NotificationDelivery


class ChannelOut(Schema):
    name: str
    team: str
    pool: str | None = Field(description="null: all pools of the team")
    kind: str
    url: str
    recipients: list[str]
    occasions: list[str]
    min_criticality: str
    quiet_from: str | None
    quiet_to: str | None
    quiet_zone: str
    per_hour: int
    enabled: bool
    revision: int

    @staticmethod
    def resolve_team(row: NotificationChannel) -> str:
        return row.team.slug

    @staticmethod
    def resolve_pool(row: NotificationChannel) -> str | None:
        return row.pool.slug if row.pool else None

    @staticmethod
    def resolve_quiet_from(row: NotificationChannel) -> str | None:
        return _clock(row.quiet_from)

    @staticmethod
    def resolve_quiet_to(row: NotificationChannel) -> str | None:
        return _clock(row.quiet_to)


class DeliveryOut(Schema):
    id: str = Field(description="goes with each attempt: `webhook-id`, and in the Message-ID of an e-mail")
    state: str = Field(description="waiting, delivered or given_up")
    created_at: datetime
    ended_at: datetime | None
    attempts: int
    next_attempt_at: datetime
    last_error: str
    message: dict[str, Any] = Field(description="what it says")

    @staticmethod
    def resolve_id(row: NotificationDelivery) -> str:
        return row.message_id

    @staticmethod
    def resolve_message(row: NotificationDelivery) -> Any:
        return row.payload


def _clock(value: time | None) -> str | None:
    return f"{value:%H:%M}" if value else None
