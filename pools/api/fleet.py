"""Queues, workers and agents of the pools that the caller may see."""

from typing import Any

from django.db.models import Prefetch
from django.http import HttpRequest
from ninja import Router

from pools.api.auth import actor
from pools.api.paging import Cursor, Limit, PageOut, by_key
from pools.api.schemas import AgentOut, QueueOut, WorkerOut
from pools.models import Agent, AgentPool, QueueState, Worker
from pools.permissions import visible_pools

router = Router()


@router.get("queues", response=PageOut[QueueOut])
def list_queues(request: HttpRequest, pool: str = "", cursor: Cursor = "", limit: Limit = 100) -> dict[str, Any]:
    rows = QueueState.objects.filter(pool__in=visible_pools(actor(request))).select_related("pool")
    return by_key(rows.filter(pool__slug=pool) if pool else rows, "name", cursor, limit)


@router.get("workers", response=PageOut[WorkerOut])
def list_workers(request: HttpRequest, pool: str = "", cursor: Cursor = "", limit: Limit = 100) -> dict[str, Any]:
    rows = Worker.objects.filter(pool__in=visible_pools(actor(request))).select_related("pool", "agent")
    return by_key(rows.filter(pool__slug=pool) if pool else rows, "name", cursor, limit)


@router.get("agents", response=PageOut[AgentOut])
def list_agents(request: HttpRequest, cursor: Cursor = "", limit: Limit = 100) -> dict[str, Any]:
    """Agents that serve a pool the caller may see, with those pools alone."""
    pools = visible_pools(actor(request))
    shown = AgentPool.objects.filter(pool__in=pools).select_related("pool").order_by("pool__slug")
    rows = Agent.objects.filter(pools__pool__in=pools).distinct()
    return by_key(rows.prefetch_related(Prefetch("pools", shown, to_attr="shown_pools")), "name", cursor, limit)
