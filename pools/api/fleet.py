"""Queues, cron slots, workers and agents of the pools that the caller may see, in the order in which they came up."""

from typing import Any

from django.http import HttpRequest
from ninja import Router

from pools.api.auth import actor
from pools.api.paging import Cursor, Limit, PageOut, Slug, by_key
from pools.api.schemas import AgentOut, CronSlotOut, QueueOut, WorkerOut
from pools.models import CronSlot, QueueState, Worker
from pools.permissions import visible_pools
from pools.selectors.agents import visible_agents

router = Router()


@router.get("queues", response=PageOut[QueueOut])
def list_queues(request: HttpRequest, pool: Slug = "", cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """Queues as last sampled; counts are jobs."""
    rows = QueueState.objects.filter(pool__in=visible_pools(actor(request))).select_related("pool")
    return by_key(rows.filter(pool__slug=pool) if pool else rows, "pk", cursor, limit)


@router.get("cron-slots", response=PageOut[CronSlotOut])
def list_cron_slots(request: HttpRequest, pool: Slug = "", cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """What became of the slots of cron entries, of the last seven days and each entry's last."""
    rows = CronSlot.objects.filter(pool__in=visible_pools(actor(request))).select_related("pool")
    return by_key(rows.filter(pool__slug=pool) if pool else rows, "pk", cursor, limit)


@router.get("workers", response=PageOut[WorkerOut])
def list_workers(request: HttpRequest, pool: Slug = "", cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """Workers as last seen; `gone_at` is null while a worker is there."""
    rows = Worker.objects.filter(pool__in=visible_pools(actor(request))).select_related("pool", "agent")
    return by_key(rows.filter(pool__slug=pool) if pool else rows, "pk", cursor, limit)


@router.get("agents", response=PageOut[AgentOut])
def list_agents(request: HttpRequest, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """Agents with what each says it was told, verified and runs for the pools that you may see."""
    return by_key(visible_agents(actor(request)), "pk", cursor, limit)
