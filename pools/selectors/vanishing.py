"""Dead letters that RQ will soon delete, because their failure TTL ends. ``expires:<24h`` lists the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min, Q
from django.urls import reverse
from django.utils import timezone

from controlplane.wording import count
from pools.models import DeadLetter, DeadLetterState, Pool
from pools.models.failure import VANISHING_SOON
from pools.selectors.attention import Action, Item

HOURS = int(VANISHING_SOON.total_seconds() // 3600)


@dataclass(frozen=True)
class Vanishing:
    """What of a pool vanishes within a day, and when the first does."""

    pool: str
    count: int
    first: datetime

    @property
    def url(self) -> str:
        return f"{reverse('dead-letters')}?pool={self.pool}&expires=%3C{HOURS}h"


def vanishing(pools: Sequence[Pool]) -> list[Vanishing]:
    """By pool, the first to lose one first. One query."""
    found = DeadLetter.objects.filter(_soon(), pool__in=pools).order_by().values("pool__slug")
    rows = found.annotate(n=Count("pk"), first=Min("expires_at")).values_list("pool__slug", "n", "first")
    return sorted((Vanishing(*row) for row in rows), key=lambda each: each.first)


def vanishing_of(groups: Sequence[int]) -> dict[int, int]:
    """How many of each group vanish within a day; groups without any are left out."""
    found = DeadLetter.objects.filter(_soon(), group__in=groups).order_by()
    return dict(found.values_list("group").annotate(n=Count("pk")))


def vanishing_items(pools: Sequence[Pool]) -> list[Item]:
    return [
        Item(
            key=f"vanishing-{each.pool}",
            severity="warn",
            icon="hourglass",
            icon_label="Vanishing",
            title=f"{count(each.count)} dead letter{'' if each.count == 1 else 's'} of {each.pool} "
            f"vanish{'es' if each.count == 1 else ''} within {HOURS} h",
            since=each.first,
            since_label="The first goes",
            detail="RQ deletes a failed job when its failure TTL ends.",
            actions=(Action("See what vanishes", each.url),),
        )
        for each in vanishing(pools)
    ]


def _soon() -> Q:
    return Q(state=DeadLetterState.OPEN, expires_at__lt=timezone.now() + VANISHING_SOON)
