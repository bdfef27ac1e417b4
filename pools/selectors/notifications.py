"""Notification channels: what each tells whom, and what became of its messages."""

from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.functions import Concat
from django.http import Http404
from django.urls import reverse

from audit.actor import Actor
from pools.models import ChannelKind, Criticality, DeliveryState, NotificationChannel, NotificationDelivery, Occasion
from pools.selectors.attention import Action, Item
from pools.selectors.phrases import counted
from pools.selectors.pools import teams_of

MANAGE = "pools.change_notificationchannel"
RECENT = 50
SEVERAL = 3  # attempts after which a message is late
SAYS = {Occasion.NEW: "new groups", Occasion.REGRESSED: "regressions", Occasion.SPIKE: "spikes"}


@dataclass(frozen=True)
class ChannelRow:
    """``newest``: the message that was tried last; ``waiting``: notices that are not in a message yet."""

    channel: NotificationChannel
    newest: NotificationDelivery | None
    waiting: int

    @property
    def trouble(self) -> str:
        """Why the newest message has not arrived; empty when it has, or was not tried yet."""
        failed = self.newest is not None and self.newest.state != DeliveryState.DELIVERED
        return self.newest.last_error if failed and self.newest else ""

    @property
    def where(self) -> str:
        if self.channel.kind == ChannelKind.WEBHOOK:
            return self.channel.url
        first, *more = self.channel.recipients
        return f"{first} and {len(more)} more" if more else str(first)

    @property
    def tells(self) -> str:
        """ "New groups, spikes of payments"."""
        told = ", ".join(says for occasion, says in SAYS.items() if occasion in self.channel.occasions)
        return f"{told[:1].upper()}{told[1:]} of {self.channel.pool or 'all pools'}"

    @property
    def limits(self) -> list[str]:
        channel = self.channel
        found = [f"{counted(channel.per_hour, 'message')} an hour"]
        if channel.min_criticality != Criticality.INTERNAL:
            found.append(f"criticality {channel.get_min_criticality_display()} and up")
        if channel.quiet_from and channel.quiet_to:
            found.append(f"quiet {channel.quiet_from:%H:%M} to {channel.quiet_to:%H:%M} {channel.quiet_zone}")
        return found


def visible_channels(actor: Actor) -> QuerySet[NotificationChannel]:
    """Those of the actor's teams: a role in a team is a right to see all its pools, of which its channels tell."""
    return NotificationChannel.objects.filter(team__in=teams_of(actor)).select_related("team", "pool")


def channel_of(actor: Actor, name: str) -> NotificationChannel:
    """Raises Http404."""
    channel = visible_channels(actor).filter(name=name).first()
    if channel is None:
        raise Http404("no such notification channel")
    return channel


def visible_deliveries(actor: Actor) -> QuerySet[NotificationDelivery]:
    return NotificationDelivery.objects.filter(channel__in=visible_channels(actor)).select_related("channel")


def channel_rows(actor: Actor) -> list[ChannelRow]:
    """By name, in two queries."""
    tried = NotificationDelivery.objects.filter(channel=OuterRef("pk"), attempts__gt=0).order_by("-pk")
    channels = list(
        visible_channels(actor).annotate(
            newest=Subquery(tried.values("pk")[:1]),
            waiting=Count("notices", filter=Q(notices__delivery=None)),
        )
    )
    newest = NotificationDelivery.objects.in_bulk([row.newest for row in channels if row.newest])
    return [ChannelRow(row, newest.get(row.newest), row.waiting) for row in channels]


def recent_deliveries(actor: Actor) -> list[NotificationDelivery]:
    """Newest first."""
    return list(visible_deliveries(actor)[:RECENT])


def undelivered() -> QuerySet[NotificationDelivery]:
    """Messages that were tried several times and have not arrived."""
    return NotificationDelivery.objects.filter(
        state=DeliveryState.WAITING, attempts__gte=SEVERAL, channel__enabled=True
    )


def not_arriving(actor: Actor) -> list[Item]:
    """For the overview: channels over which the actor's teams, or a system actor's all, believe that they would be
    told, in one query."""
    late = undelivered().select_related("channel")
    if actor.user:
        roles = actor.user.groups.filter(name__startswith=Concat(OuterRef("channel__team__slug"), Value(":")))
        late = late.filter(Exists(roles))
    oldest = {delivery.channel: delivery for delivery in late.order_by("-pk")}
    return [
        Item(
            key=f"channel-{channel.pk}",
            severity="warn",
            icon="bell",
            icon_label="Not arriving",
            title=f"Messages over {channel} do not arrive",
            since=delivery.created_at,
            since_label="The oldest is from",
            detail=f"{delivery.last_error}.",
            actions=(Action("See notifications", reverse("notifications")),),
        )
        for channel, delivery in oldest.items()
    ]
