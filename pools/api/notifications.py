"""Notification channels and their messages."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from audit.actor import Actor
from pools import operations as verbs
from pools.api.auth import actor
from pools.api.bodies import WhyIn
from pools.api.idempotency import write
from pools.api.notification_bodies import ChannelChangeIn, ChannelIn, ChannelValues
from pools.api.notification_schemas import ChannelOut, DeliveryOut
from pools.api.paging import Cursor, Limit, PageOut, by_key
from pools.models import NotificationChannel, Team
from pools.operations import Wanted
from pools.operations.errors import Refused
from pools.permissions import visible_pools
from pools.selectors.notifications import channel_of, visible_channels, visible_deliveries
from pools.selectors.pools import teams_of

router = Router()


@router.get("", response=PageOut[ChannelOut])
def list_notification_channels(request: HttpRequest, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """The channels of the teams whose pools you may see."""
    return by_key(visible_channels(actor(request)), "pk", cursor, limit)


@router.post("", response={201: ChannelOut})
def create_notification_channel(request: HttpRequest, data: ChannelIn) -> HttpResponse:
    """Add a channel. It tells what happens from now on."""
    team = teams_of(actor(request)).filter(slug=data.team).first()
    if team is None:
        raise Refused("team", f"You are in no team {data.team!r}. Nothing was changed.")
    wanted = _wanted(actor(request), team, data)

    def work() -> ChannelOut:
        return ChannelOut.from_orm(verbs.channel_create(actor=actor(request), name=data.name, team=team, wanted=wanted))

    return write(request, 201, work)


@router.get("/{slug:name}", response=ChannelOut)
def get_notification_channel(request: HttpRequest, name: str) -> NotificationChannel:
    """One channel."""
    return channel_of(actor(request), name)


@router.post("/{slug:name}", response=ChannelOut)
def change_notification_channel(request: HttpRequest, name: str, data: ChannelChangeIn) -> HttpResponse:
    """Change a channel: what you leave out is as in a new one. Name and team stay."""
    channel = channel_of(actor(request), name)
    wanted = _wanted(actor(request), channel.team, data)

    def work() -> ChannelOut:
        changed = verbs.channel_change(
            actor=actor(request), channel=channel, wanted=wanted, expected_version=data.expected_version
        )
        return ChannelOut.from_orm(changed)

    return write(request, 200, work)


@router.post("/{slug:name}/remove", response=ChannelOut)
def remove_notification_channel(request: HttpRequest, name: str, data: WhyIn) -> HttpResponse:
    """Remove a channel and its messages; the answer is what it was."""
    channel = channel_of(actor(request), name)

    def work() -> ChannelOut:
        verbs.channel_remove(actor=actor(request), channel=channel, reason=data.reason)
        return ChannelOut.from_orm(channel)

    return write(request, 200, work)


@router.post("/{slug:name}/test", response={201: DeliveryOut})
def test_notification_channel(request: HttpRequest, name: str) -> HttpResponse:
    """Send a test message. `list_notification_deliveries` says what became of it."""
    channel = channel_of(actor(request), name)

    def work() -> DeliveryOut:
        return DeliveryOut.from_orm(verbs.channel_test(actor=actor(request), channel=channel))

    return write(request, 201, work)


@router.get("/{slug:name}/deliveries", response=PageOut[DeliveryOut])
def list_notification_deliveries(
    request: HttpRequest, name: str, cursor: Cursor = None, limit: Limit = 50
) -> dict[str, Any]:
    """The channel's messages of the last 30 days, newest first."""
    rows = visible_deliveries(actor(request)).filter(channel=channel_of(actor(request), name))
    return by_key(rows, "pk", cursor, limit, newest_first=True)


def _wanted(who: Actor, team: Team, data: ChannelValues) -> Wanted:
    """Raises Refused for a pool that is not there, or not for this caller."""
    values = data.model_dump(exclude={"name", "team", "expected_version", "pool"})
    if not data.pool:
        return Wanted(**values)
    pool = visible_pools(who).filter(slug=data.pool, team=team).first()
    if pool is None:
        raise Refused("pool", f"{team.slug} has no such pool. Nothing was changed.")
    return Wanted(pool=pool, **values)
