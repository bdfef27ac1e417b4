"""Where notes to people go. No field takes a secret: a webhook's key is in the controller's environment."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import time
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils import timezone

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.models import (
    ChannelKind,
    Criticality,
    DeliveryState,
    Notice,
    NotificationChannel,
    NotificationDelivery,
    Occasion,
    Pool,
    Team,
)
from pools.operations.base import clean_reason, expect
from pools.operations.errors import Refused
from pools.permissions import require_for_team, visible_pools
from pools.selectors.messages import sample_message

MANAGE = "pools.change_notificationchannel"
MOST_RECIPIENTS = 20
LONGEST_ADDRESS = 254
MOST_PER_HOUR = 60
LOCALHOST = {"localhost", "127.0.0.1", "::1"}
# The variable of a webhook's key is made of it, so no two names may make the same.
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PRINTABLE = re.compile(r"[!-~]{1,500}")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a channel shall be, but for its name and team, which stay. ``pool``: only this one of the team's."""

    kind: str
    url: str = ""
    recipients: Sequence[str] = ()
    pool: Pool | None = None
    occasions: Sequence[str] = tuple(Occasion.values)
    min_criticality: str = Criticality.LOW.value
    quiet_from: time | None = None
    quiet_to: time | None = None
    quiet_zone: str = "UTC"
    per_hour: int = 12
    enabled: bool = True


@operation("notification.channel_created")
def channel_create(*, actor: Actor, name: str, team: Team, wanted: Wanted) -> NotificationChannel:
    """From now on it tells what happens. Raises ``Denied``, ``Refused``."""
    require_for_team(actor, MANAGE, team)
    if not _NAME.fullmatch(name) or len(name) > 50:
        raise Refused("name", "A name is at most 50 small letters, digits and single hyphens. Nothing was changed.")
    if NotificationChannel.objects.filter(name=name).exists():
        raise Refused("name", f"There is a channel {name} already. Nothing was changed.")
    channel = NotificationChannel(name=name, team=team, **_checked(actor, team, wanted))
    channel.save()
    record(actor=actor, action="notification.channel_created", target=channel.target, after=_facts(channel))
    return channel


@operation("notification.channel_changed")
def channel_change(
    *, actor: Actor, channel: NotificationChannel, wanted: Wanted, expected_version: int | None = None
) -> NotificationChannel:
    """Messages that wait go where it points now. One that is switched off forgets what it has not told yet."""
    channel = _locked(actor, channel)
    expect(channel.revision, expected_version, channel.name)
    before, values = _facts(channel), _checked(actor, channel.team, wanted)
    changed = [name for name, value in values.items() if getattr(channel, name) != value]
    if not changed:
        return channel
    for name in changed:
        setattr(channel, name, values[name])
    channel.revision += 1
    channel.save()
    if not channel.enabled:
        Notice.objects.filter(channel=channel, delivery=None).delete()
    record(
        actor=actor,
        action="notification.channel_changed",
        target=channel.target,
        before=before,
        after=_facts(channel),
        detail={"changed": ", ".join(changed)},
    )
    return channel


@operation("notification.channel_removed")
def channel_remove(*, actor: Actor, channel: NotificationChannel, reason: str) -> None:
    """What it has not delivered is not delivered any more."""
    channel = _locked(actor, channel)
    reason = clean_reason(reason)
    record(
        actor=actor,
        action="notification.channel_removed",
        target=channel.target,
        before=_facts(channel),
        reason=reason,
    )
    channel.delete()


@operation("notification.test_requested")
def channel_test(*, actor: Actor, channel: NotificationChannel) -> NotificationDelivery:
    """The controller sends it within seconds, quiet hours or not. It counts as one of the messages of this hour."""
    channel, now = _locked(actor, channel), timezone.now()
    if not channel.enabled:
        raise Refused("", f"{channel.name} is switched off. Nothing was changed.")
    if channel.messages_left(now) <= 0:
        raise Refused("", f"{channel.name} has sent its {channel.per_hour} messages of this hour. Nothing was changed.")
    if channel.deliveries.filter(state=DeliveryState.WAITING, payload__type="test").exists():
        raise Refused("", f"A test message of {channel.name} is on its way already. Nothing was changed.")
    payload = sample_message(channel, actor.label, now)
    delivery = NotificationDelivery.objects.create(channel=channel, payload=payload)
    record(actor=actor, action="notification.test_requested", target=channel.target)
    return delivery


def _locked(actor: Actor, channel: NotificationChannel) -> NotificationChannel:
    rows = NotificationChannel.objects.select_for_update(of=("self",)).select_related("team", "pool")
    channel = rows.get(pk=channel.pk)
    require_for_team(actor, MANAGE, channel.team)
    return channel


def _checked(actor: Actor, team: Team, wanted: Wanted) -> dict[str, Any]:
    """The columns. Raises ``Refused`` with the field to mend."""
    values = {field.name: getattr(wanted, field.name) for field in fields(wanted)}
    if wanted.kind not in ChannelKind.values:
        raise Refused("kind", f"A channel is {' or '.join(ChannelKind.values)}. Nothing was changed.")
    is_webhook = wanted.kind == ChannelKind.WEBHOOK
    values["url"] = check_url(wanted.url) if is_webhook else ""
    values["recipients"] = [] if is_webhook else check_recipients(wanted.recipients)
    if wanted.pool is not None and not visible_pools(actor).filter(pk=wanted.pool.pk, team=team).exists():
        raise Refused("pool", f"{team.slug} has no such pool. Nothing was changed.")
    values["occasions"] = [occasion for occasion in Occasion.values if occasion in wanted.occasions]
    if not values["occasions"] or not set(wanted.occasions) <= set(Occasion.values):
        raise Refused("occasions", f"Choose at least one of {', '.join(Occasion.values)}. Nothing was changed.")
    if wanted.min_criticality not in Criticality.values:
        raise Refused("min_criticality", f"It is one of {', '.join(Criticality.values)}. Nothing was changed.")
    if (wanted.quiet_from is None) != (wanted.quiet_to is None) or (
        wanted.quiet_from is not None and wanted.quiet_from == wanted.quiet_to
    ):
        raise Refused("quiet_to", "Quiet hours have a beginning and another end, or neither. Nothing was changed.")
    _check_zone(wanted.quiet_zone)
    if not 1 <= wanted.per_hour <= MOST_PER_HOUR:
        raise Refused("per_hour", f"From 1 to {MOST_PER_HOUR} messages an hour. Nothing was changed.")
    return values


def check_url(url: str) -> str:
    """The address as it will be used. Where its name leads is looked at when a message is sent: it may change."""
    url = url.strip()
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not _PRINTABLE.fullmatch(url) or not host or port == 0 or parts.scheme not in ("http", "https"):
        raise Refused("url", "Give a whole https address, in ASCII, of at most 500 characters. Nothing was changed.")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise Refused("url", "It is kept in plain: no password, query or fragment. Nothing was changed.")
    if parts.scheme == "http" and not (settings.POOLWARDEN_WEBHOOK_PRIVATE and host in LOCALHOST):
        raise Refused("url", "It must begin with https://. Nothing was changed.")
    return url


def check_recipients(recipients: Sequence[str]) -> list[str]:
    """Mail addresses, each once."""
    found = list(dict.fromkeys(address.strip() for address in recipients if address.strip()))
    if not 1 <= len(found) <= MOST_RECIPIENTS:
        raise Refused("recipients", f"Give 1 to {MOST_RECIPIENTS} mail addresses. Nothing was changed.")
    for address in found:
        try:
            validate_email(address)
        except ValidationError as error:
            raise Refused("recipients", f"{address[:60]!r} is no mail address. Nothing was changed.") from error
        if not address.isascii() or len(address) > LONGEST_ADDRESS or not address.isprintable():
            raise Refused("recipients", f"{address[:60]!r} cannot be sent to. Nothing was changed.")
    return found


def _check_zone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        message = "A time zone has a name such as Europe/Berlin or UTC. Nothing was changed."
        raise Refused("quiet_zone", message) from error


def _facts(channel: NotificationChannel) -> dict[str, Any]:
    """As an event holds them: the log forgets nothing, so of people's addresses only how many and where."""
    quiet = ""
    if channel.quiet_from and channel.quiet_to:
        quiet = f"{channel.quiet_from:%H:%M} to {channel.quiet_to:%H:%M} {channel.quiet_zone}"
    return {
        "kind": channel.kind,
        "team": channel.team.slug,
        "url": channel.url,
        "recipients": len(channel.recipients),
        "mail_domains": sorted({address.rpartition("@")[2].lower() for address in channel.recipients}),
        "occasions": channel.occasions,
        "min_criticality": channel.min_criticality,
        "quiet_hours": quiet,
        "per_hour": channel.per_hour,
        "enabled": channel.enabled,
    }
