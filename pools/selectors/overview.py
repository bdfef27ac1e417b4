"""The first page: what needs a person, then every pool. A fixed number of queries; figures come from ``PoolNow``."""

from dataclasses import dataclass

from django.db.models import Exists, QuerySet
from django.urls import reverse
from django.utils import timezone

from audit.actor import Actor
from audit.health import log_health
from pools.models import BrokerState, ControllerLease, Pool, PoolNow
from pools.permissions import visible_pools
from pools.selectors.approvals import awaiting
from pools.selectors.attention import Action, Item, attention, by_severity
from pools.selectors.failing import failing
from pools.selectors.fleet import presences, sparks
from pools.selectors.notifications import not_arriving
from pools.selectors.pools import is_critical
from pools.selectors.rows import STALE, PoolRow, rows_of
from pools.selectors.unfinished import unfinished
from pools.selectors.vanishing import vanishing_items


@dataclass(frozen=True)
class Totals:
    """Sums over the pools that are seen."""

    workers: int = 0
    busy: int = 0
    waiting: int = 0
    done_per_minute: int = 0
    failed_last_hour: int = 0
    dead_letters: int = 0

    @classmethod
    def of(cls, pools: list[PoolNow]) -> "Totals":
        return cls(**{name: sum(getattr(now, name) for now in pools) for name in cls.__dataclass_fields__})


@dataclass(frozen=True)
class Overview:
    totals: Totals
    urgent: list[Item]
    quiet: list[Item]
    rows: list[PoolRow]
    counts: dict[str, int]

    @property
    def is_failing(self) -> bool:
        return any(row.failed_tone for row in self.rows)

    def shown(self, which: str) -> list[PoolRow]:
        return [row for row in self.rows if is_critical(row.pool)] if which == "critical" else self.rows


def overview(actor: Actor) -> Overview:
    """Attention list, totals and rows of all pools that the actor may see."""
    pools = list(visible_pools(actor).select_related("team", "now"))
    known = presences(pools)
    rows = rows_of(known, sparks(pools))
    trouble = _sampling({pool.broker for pool in pools}) + _log() + attention(known) + failing(known)
    people = not_arriving(actor) + awaiting(actor) + unfinished(actor) + vanishing_items(pools)
    items = by_severity(trouble + people)
    return Overview(
        totals=Totals.of([row.now for row in rows if row.now is not None]),
        urgent=[item for item in items if item.severity != "info"],
        quiet=[item for item in items if item.severity == "info"],
        rows=rows,
        counts={"all": len(rows), "critical": sum(is_critical(row.pool) for row in rows)},
    )


def pool_rows(actor: Actor, pools: QuerySet[Pool]) -> list[PoolRow]:
    """Rows of some visible pools, those in trouble first."""
    found = list(pools.select_related("team", "now"))
    return rows_of(presences(found), sparks(found))


def _sampling(brokers: set[str]) -> list[Item]:
    """Whether the figures can be believed: nothing on this page is worth more than its age."""
    items = []
    leader = ControllerLease.objects.filter(expires_at__gt=timezone.now()).exclude(holder="")
    for state in BrokerState.objects.filter(alias__in=brokers).annotate(has_leader=Exists(leader)):
        if not state.reachable:
            items.append(_unreachable(state))
        elif state.sampled_at is None or timezone.now() - state.sampled_at > STALE:
            items.append(_stale(state, has_leader=state.has_leader))
    return items


def _unreachable(state: BrokerState) -> Item:
    return Item(
        key=f"broker-{state.alias}",
        severity="bad",
        icon="plug-connected-x",
        icon_label="Unreachable",
        title=f"The broker {state.alias} cannot be reached: these figures are old",
        since=state.sampled_at,
        since_label="Last sampled",
        detail=f"{state.error} Workers and agents go on by themselves where they still reach it.".strip(),
        actions=(Action("See agents", reverse("agents")),),
    )


def _stale(state: BrokerState, *, has_leader: bool) -> Item:
    return Item(
        key=f"stale-{state.alias}",
        severity="bad",
        icon="clock-pause",
        icon_label="Stale",
        title=f"The figures of {state.alias} are old",
        since=state.sampled_at,
        since_label="Last sampled",
        detail="A controller runs, but its sampler is late."
        if has_leader
        else "No controller runs: nothing is sampled, signed or published until one does. Agents and workers go on.",
    )


def _log() -> list[Item]:
    """Whether the audit log can be relied on."""
    health, items = log_health(), []
    see = (Action("See the audit log", reverse("audit:timeline")),)
    if health.unsigned:
        items.append(
            Item(
                key="log-signing",
                severity="bad",
                icon="alert-octagon",
                icon_label="Not signed",
                title="The audit log is not signed any more",
                since=health.unsigned_since,
                since_label="Stopped",
                detail=health.unsigned,
                actions=see,
            )
        )
    if health.is_late:
        items.append(
            Item(
                key="log-lag",
                severity="warn",
                icon="clock-pause",
                icon_label="Late",
                title="The audit log is late",
                since=health.late_since,
                since_label="The oldest event without its place is from",
                detail="An open transaction keeps an event back."
                if health.unfinished > health.pending
                else "Nothing is lost: events wait for the controller.",
                actions=see,
            )
        )
    return items
