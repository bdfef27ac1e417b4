"""Agents as an actor may see them: those that serve a pool they see; idle ones for whoever can make pools."""

from dataclasses import dataclass

from django.db.models import Count, Prefetch, Q, QuerySet

from audit.actor import Actor
from pools.models import Agent, AgentPool, PoolKind, Worker
from pools.permissions import can_globally, visible_pools
from pools.selectors.refusals import refusal_sentence


@dataclass(frozen=True)
class Number:
    """A config version number of one agent: told, verified or running; None for none yet."""

    label: str
    value: int | None
    is_newest: bool


@dataclass(frozen=True)
class Serving:
    """An agent's word on one pool. ``newest``: what the console published."""

    state: AgentPool

    @property
    def newest(self) -> int:
        return self.state.pool.published_number

    @property
    def numbers(self) -> list[Number]:
        states = (("Told", self.state.told), ("Verified", self.state.verified), ("Running", self.state.running))
        return [Number(label, value, value == self.newest) for label, value in states]

    @property
    def is_behind(self) -> bool:
        return not all(number.is_newest for number in self.numbers)

    @property
    def why_refused(self) -> str:
        return refusal_sentence(self.state.refused_code)


@dataclass(frozen=True)
class AgentRow:
    agent: Agent
    serving: list[Serving]
    workers: int

    @property
    def is_gone(self) -> bool:
        return self.agent.gone_at is not None

    @property
    def refuses(self) -> bool:
        return any(one.state.refused_at for one in self.serving)

    @property
    def cannot_start(self) -> bool:
        return any(one.state.boot_failure for one in self.serving)

    @property
    def is_in_trouble(self) -> bool:
        return self.is_gone or self.refuses or self.cannot_start


def visible_agents(actor: Actor) -> QuerySet[Agent]:
    """Each with ``seen_pools``: its word on the managed pools that the actor may see."""
    pools = visible_pools(actor).filter(kind=PoolKind.MANAGED)
    seen = Q(pools__pool__in=pools)
    if can_globally(actor, "pools.add_pool"):
        seen |= Q(pools=None)
    serving = AgentPool.objects.filter(pool__in=pools).select_related("pool").order_by("pool__slug")
    return Agent.objects.filter(seen).distinct().prefetch_related(Prefetch("pools", serving, to_attr="seen_pools"))


def agents(actor: Actor) -> list[AgentRow]:
    """Those in trouble first, then by name. Pools that the actor may not see are left out of each row."""
    found, workers = visible_agents(actor), _workers(actor)
    rows = [AgentRow(agent, [Serving(state) for state in _seen(agent)], workers.get(agent.pk, 0)) for agent in found]
    return sorted(rows, key=lambda row: (not row.is_in_trouble, row.agent.name))


def _seen(agent: Agent) -> list[AgentPool]:
    seen: list[AgentPool] = getattr(agent, "seen_pools")  # noqa: B009 - the prefetch sets it, the type does not know
    return seen


def _workers(actor: Actor) -> dict[int, int]:
    """Live workers by agent, of visible pools."""
    live = Worker.objects.filter(gone_at=None, agent__isnull=False, pool__in=visible_pools(actor)).order_by()
    counted = live.values_list("agent_id").annotate(count=Count("pk"))
    return {agent_id: count for agent_id, count in counted if agent_id is not None}
