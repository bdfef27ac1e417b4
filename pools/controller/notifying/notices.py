"""What is to be told, noted where it happens."""

from collections.abc import Iterable
from datetime import datetime

from pools.models import FailureGroup, Notice, NotificationChannel, Occasion


def channels_for(occasion: Occasion) -> list[NotificationChannel]:
    """The channels that tell of it."""
    return [channel for channel in NotificationChannel.objects.filter(enabled=True) if occasion in channel.occasions]


def note(occasion: Occasion, groups: Iterable[FailureGroup], told_since: datetime | None = None) -> None:
    """Leave a notice of each group for each channel that wants it, in the transaction in which it happened.

    The groups come with their pools. ``told_since``: but not where the channel was told anything about the group then
    or later. What waits to be told already is not noted again.
    """
    groups = list(groups)
    channels = channels_for(occasion) if groups else []
    told = set[tuple[int, int]]()
    if told_since is not None:
        recent = Notice.objects.filter(group__in=groups, at__gte=told_since)
        told = set(recent.values_list("channel_id", "group_id"))
    Notice.objects.bulk_create(
        [
            Notice(channel=channel, group=group, occasion=occasion)
            for channel in channels
            for group in groups
            if channel.covers(group.pool) and (channel.pk, group.pk) not in told
        ],
        ignore_conflicts=True,
    )
