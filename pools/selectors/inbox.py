"""The groups of the inbox: what awaits a decision first, with its history, its owner and its state."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db.models import Count, Max, Min
from django.utils import timezone

from audit.actor import Actor
from pools.models import FailureGroup, FailureHour
from pools.selectors.dead_letters import ME, DeadLetterFilter, dead_letters, matching_groups
from pools.selectors.group_life import NOBODY, Badge, badge, urgency

GROUPS_SHOWN = 100


@dataclass(frozen=True)
class GroupRow:
    """A failure group with the number of dead letters that match the filter, and when these failed."""

    group: FailureGroup
    count: int
    first_seen: datetime
    last_seen: datetime
    spark: list[int]

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


def group_rows(actor: Actor, wanted: DeadLetterFilter, limit: int = GROUPS_SHOWN) -> list[GroupRow]:
    """Groups with at least one match: those that await a decision first, then by the number of dead letters."""
    if wanted.whole_groups:
        found = matching_groups(actor, wanted).order_by(urgency(), "-open_count", "-last_seen")[:limit]
        rows = [GroupRow(group, group.open_count, group.first_seen, group.last_seen, []) for group in found]
    else:
        rows = _rows_by_letter(actor, wanted, limit)
    sparks = _sparks([row.group.pk for row in rows])
    return [GroupRow(r.group, r.count, r.first_seen, r.last_seen, sparks[r.group.pk]) for r in rows]


def _rows_by_letter(actor: Actor, wanted: DeadLetterFilter, limit: int) -> list[GroupRow]:
    found = dead_letters(actor, wanted).order_by().values("group_id")
    counts = {
        row["group_id"]: row for row in found.annotate(n=Count("pk"), first=Min("failed_at"), last=Max("failed_at"))
    }
    ranks = FailureGroup.objects.filter(pk__in=counts).values_list("pk", urgency())
    chosen = [pk for pk, _ in sorted(ranks, key=lambda row: (row[1], -counts[row[0]]["n"]))[:limit]]
    groups = FailureGroup.objects.select_related("pool", "owner").in_bulk(chosen)
    return [GroupRow(groups[pk], counts[pk]["n"], counts[pk]["first"], counts[pk]["last"], []) for pk in chosen]


def group_ids(actor: Actor, wanted: DeadLetterFilter, limit: int) -> list[int]:
    """The numbers of groups with at least one match, at most ``limit``."""
    if wanted.whole_groups:
        return list(matching_groups(actor, wanted).order_by("pk").values_list("pk", flat=True)[:limit])
    found = dead_letters(actor, wanted).order_by("group_id").values_list("group_id", flat=True)
    return list(found.distinct()[:limit])


def owner_counts(actor: Actor, wanted: DeadLetterFilter) -> dict[str, int] | None:
    """How many groups match that are the actor's and nobody's; None for a filter that does not take whole groups."""
    if not wanted.whole_groups:
        return None
    return {owner: matching_groups(actor, replace(wanted, owner=owner)).count() for owner in (ME, NOBODY)}


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
