"""Pools and their config versions."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from pools import operations as verbs
from pools.api.auth import actor
from pools.api.idempotency import write
from pools.api.paging import Cursor, Limit, PageOut, by_key
from pools.api.schemas import ConfigDetail, ConfigIn, ConfigOut, PoolIn, PoolOut, ReasonIn, RunOut, ScaleIn
from pools.models import ConfigVersion, Pool, Team
from pools.operations.errors import Refused
from pools.permissions import visible_pools
from pools.spec import parse_spec

router = Router()
RUN_VERBS = {"pause": verbs.pool_pause, "resume": verbs.pool_resume, "drain": verbs.pool_drain}


def find_pool(request: HttpRequest, slug: str) -> Pool:
    return visible_pools(actor(request)).select_related("team", "now").get(slug=slug)


@router.get("", response=PageOut[PoolOut])
def list_pools(request: HttpRequest, cursor: Cursor = "", limit: Limit = 100) -> dict[str, Any]:
    return by_key(visible_pools(actor(request)).select_related("team", "now"), "slug", cursor, limit)


@router.post("", response={201: PoolOut})
def create_pool(request: HttpRequest, data: PoolIn) -> HttpResponse:
    team = Team.objects.filter(slug=data.team).first()
    if team is None:
        raise Refused("team", f"There is no team {data.team!r}. Nothing was changed.")
    values = data.model_dump(exclude={"team", "spec"})
    spec = parse_spec(data.spec)

    def work() -> PoolOut:
        return PoolOut.from_orm(verbs.pool_create(actor=actor(request), team=team, spec=spec, **values))

    return write(request, 201, work)


@router.get("/{slug}", response=PoolOut)
def get_pool(request: HttpRequest, slug: str) -> Pool:
    return find_pool(request, slug)


@router.get("/{slug}/config", response=PageOut[ConfigOut])
def list_config(request: HttpRequest, slug: str, cursor: Cursor = "", limit: Limit = 50) -> dict[str, Any]:
    versions = ConfigVersion.objects.filter(pool=find_pool(request, slug)).select_related("pool")
    return by_key(versions, "number", cursor, limit, newest_first=True)


@router.get("/{slug}/config/{number}", response=ConfigDetail)
def get_config(request: HttpRequest, slug: str, number: int) -> ConfigVersion:
    return ConfigVersion.objects.select_related("pool").get(pool=find_pool(request, slug), number=number)


@router.post("/{slug}/config", response={201: ConfigOut})
def publish_config(request: HttpRequest, slug: str, data: ConfigIn) -> HttpResponse:
    pool, spec = find_pool(request, slug), parse_spec(data.spec)

    def work() -> ConfigOut:
        version = verbs.config_publish(
            actor=actor(request), pool=pool, spec=spec, message=data.message, expected_version=data.expected_version
        )
        return ConfigOut.from_orm(version)

    return write(request, 201, work)


@router.post("/{slug}/scale", response={201: ConfigOut})
def scale_pool(request: HttpRequest, slug: str, data: ScaleIn) -> HttpResponse:
    pool = find_pool(request, slug)

    def work() -> ConfigOut:
        return ConfigOut.from_orm(verbs.pool_scale(actor=actor(request), pool=pool, **data.model_dump()))

    return write(request, 201, work)


def _run(request: HttpRequest, slug: str, verb: str, data: ReasonIn) -> HttpResponse:
    pool = find_pool(request, slug)

    def work() -> RunOut:
        command = RUN_VERBS[verb](
            actor=actor(request), pool=pool, reason=data.reason, expected_version=data.expected_version
        )
        return RunOut.from_orm(command)

    return write(request, 200, work)


@router.post("/{slug}/pause", response=RunOut)
def pause_pool(request: HttpRequest, slug: str, data: ReasonIn) -> HttpResponse:
    return _run(request, slug, "pause", data)


@router.post("/{slug}/resume", response=RunOut)
def resume_pool(request: HttpRequest, slug: str, data: ReasonIn) -> HttpResponse:
    return _run(request, slug, "resume", data)


@router.post("/{slug}/drain", response=RunOut)
def drain_pool(request: HttpRequest, slug: str, data: ReasonIn) -> HttpResponse:
    return _run(request, slug, "drain", data)
