"""The groups of the inbox: what awaits a decision first, with its history, its owner and its state."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count
from django.utils import timezone

from audit.actor import Actor
from pools.models import FailureGroup, FailureHour
from pools.selectors.dead_letters import ME, DeadLetterFilter, matching_groups
from pools.selectors.group_life import NOBODY, Badge, badge, urgency
from pools.selectors.vanishing import vanishing_of

GROUPS_SHOWN = 50


@dataclass(frozen=True)
class GroupRow:
    """A failure group with the number of its dead letters that match the filter; ``spark``: its failures an hour;
    ``vanishing``: how many of its dead letters RQ deletes within a day."""

    group: FailureGroup
    count: int
    spark: list[int]
    vanishing: int = 0

    @property
    def error(self) -> str:
        return self.group.error

    @property
    def cause(self) -> str:
        """The rest of the group's title."""
        return self.group.title.removeprefix(self.error).lstrip(": ")

    @property
    def badge(self) -> Badge:
        return badge(self.group)

    @property
    def spark_label(self) -> str:
        return f"{self.error} in {self.group.func}: failures an hour over the last 24 hours, now {self.spark[-1]:,}"


def group_rows(counts: Mapping[int, int], limit: int = GROUPS_SHOWN) -> list[GroupRow]:
    """The groups of ``group_counts``: those that await a decision first, then by the number of dead letters."""
    ranks = FailureGroup.objects.filter(pk__among=counts).order_by().values_list("pk", urgency(), "last_seen")
    ordered = sorted(ranks, key=lambda row: (row[1], -counts[row[0]], -row[2].timestamp()))
    shown = [pk for pk, _, _ in ordered[:limit]]
    groups = FailureGroup.objects.select_related("pool", "owner").in_bulk(shown)
    sparks, soon = _sparks(shown), vanishing_of(shown)
    return [GroupRow(groups[pk], counts[pk], sparks[pk], soon.get(pk, 0)) for pk in shown]


def owner_counts(actor: Actor) -> dict[str, int]:
    """How many groups with dead letters are the actor's, and how many are nobody's."""
    groups = matching_groups(actor, DeadLetterFilter()).order_by().values_list("owner")
    owners: dict[int | None, int] = dict(groups.annotate(n=Count("pk")))
    return {ME: owners.get(actor.user.pk, 0) if actor.user else 0, NOBODY: owners.get(None, 0)}


def _sparks(groups: list[int]) -> dict[int, list[int]]:
    """Failures an hour over the last 24 hours, oldest first."""
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    sparks = {group: [0] * 24 for group in groups}
    recent = FailureHour.objects.filter(group__in=groups, hour__gt=now - timedelta(hours=24))
    for group, hour, count in recent.values_list("group_id", "hour", "count"):
        age = int((now - hour).total_seconds() // 3600)
        if 0 <= age < 24:
            sparks[group][23 - age] = count
    return sparks
