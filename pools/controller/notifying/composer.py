"""Makes messages of notices: those of one channel that come together are one message."""

from datetime import datetime, timedelta

from django.db.models import Min, Q, QuerySet
from django.utils import timezone

from pools.controller.lease import LeaderLease
from pools.models import BrokerState, Criticality, GroupState, Held, Notice, NotificationChannel, NotificationDelivery
from pools.selectors.messages import failures_message

TOGETHER = timedelta(seconds=60)
"""From the first notice to its message: what comes meanwhile is in it."""
MOST = 10_000
"""Notices in a message."""


class Composer:
    """One tick makes at most one message a channel.

    A notice that the limit or quiet hours hold back stays, is marked, and becomes part of the next message. Before the
    first whole look at the broker nothing is told: failures from before the installation are one message.
    """

    name = "composer"
    interval = 5.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias

    def tick(self) -> bool:
        if not BrokerState.objects.filter(alias=self._alias, scanned_at__isnull=False).exists():
            return False
        waiting = Notice.objects.filter(delivery=None).values("channel")
        for channel in NotificationChannel.objects.filter(enabled=True, pk__in=waiting):
            with self._lease.fenced():
                _compose(channel, timezone.now())
        return False


def _compose(channel: NotificationChannel, now: datetime) -> None:
    due = Notice.objects.filter(channel=channel, delivery=None)
    if channel.is_quiet(now):
        critical = Q(group__pool__criticality=Criticality.CRITICAL)
        _hold(due.exclude(critical), Held.QUIET_HOURS)
        due = due.filter(critical)
    oldest = due.aggregate(at=Min("at"))["at"]
    if oldest is None or oldest > now - TOGETHER:
        return
    if channel.messages_left(now) <= 0:
        _hold(due, Held.CAP)
        return
    found = list(due.select_related("group__pool", "group__owner").order_by("pk")[:MOST])
    told = [notice for notice in found if _is_worth_telling(channel, notice)]
    if told:
        delivery = NotificationDelivery.objects.create(channel=channel, payload=failures_message(channel, told, now))
        Notice.objects.filter(pk__in=[notice.pk for notice in told]).update(delivery=delivery)
    Notice.objects.filter(pk__in=[notice.pk for notice in found], delivery=None).delete()


def _hold(notices: QuerySet[Notice], by: Held) -> None:
    notices.filter(held=Held.NOTHING).update(held=by)


def _is_worth_telling(channel: NotificationChannel, notice: Notice) -> bool:
    """It still is: nobody snoozed or resolved it, it has failures of its own, and its pool is one of the channel's."""
    group = notice.group
    is_left = group.is_snoozed or group.state == GroupState.RESOLVED
    return not is_left and group.total_count > 0 and channel.covers(group.pool)
