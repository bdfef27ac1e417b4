"""Pools and their config versions."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from pools import operations as verbs
from pools.api.auth import actor
from pools.api.bodies import ConfigIn, PoolChangeIn, PoolIn, ReasonIn, ScaleIn
from pools.api.idempotency import write
from pools.api.paging import Cursor, Limit, PageOut, by_key
from pools.api.schemas import ConfigDetail, ConfigOut, GatesOut, PoolOut, RunOut
from pools.models import ConfigVersion, Pool
from pools.operations.errors import Refused
from pools.permissions import visible_pools
from pools.selectors.config import running_spec, version_of
from pools.selectors.gates import Gates, gates_of
from pools.selectors.pools import pool_of, teams_of
from pools.spec import parse_spec

router = Router()
SEEN = "expected_version"
BREAKER_VERBS = {"open": verbs.breaker_open, "close": verbs.breaker_close}
RUN_VERBS = {"pause": verbs.pool_pause, "resume": verbs.pool_resume, "drain": verbs.pool_drain}


@router.get("", response=PageOut[PoolOut])
def list_pools(request: HttpRequest, cursor: Cursor = None, limit: Limit = 100) -> dict[str, Any]:
    """The pools that you may see, in the order in which they were made."""
    return by_key(visible_pools(actor(request)).select_related("team", "now"), "pk", cursor, limit)


@router.post("", response={201: PoolOut})
def create_pool(request: HttpRequest, data: PoolIn) -> HttpResponse:
    """Make a pool with its first config version."""
    team = teams_of(actor(request)).filter(slug=data.team).first()
    if team is None:
        raise Refused("team", f"You are in no team {data.team!r}. Nothing was changed.")
    spec, values = parse_spec(data.spec), data.model_dump(exclude={"team", "spec"})

    def work() -> PoolOut:
        return PoolOut.from_orm(verbs.pool_create(actor=actor(request), team=team, spec=spec, **values))

    return write(request, 201, work)


@router.get("/{slug:slug}", response=PoolOut)
def get_pool(request: HttpRequest, slug: str) -> Pool:
    """One pool with its figures of the newest sample."""
    return pool_of(actor(request), slug)


@router.post("/{slug:slug}/edit", response=PoolOut)
def change_pool(request: HttpRequest, slug: str, data: PoolChangeIn) -> HttpResponse:
    """Change what describes a pool, and how much one person may do there alone. What is left out stays."""
    pool = pool_of(actor(request), slug)
    values = {name: getattr(pool, name) for name in verbs.POOL_DESCRIPTION} | data.model_dump(exclude_unset=True)

    def work() -> PoolOut:
        return PoolOut.from_orm(verbs.pool_change(actor=actor(request), pool=pool, **({SEEN: None} | values)))

    return write(request, 200, work)


@router.get("/{slug:slug}/config", response=PageOut[ConfigOut])
def list_config(request: HttpRequest, slug: str, cursor: Cursor = None, limit: Limit = 50) -> dict[str, Any]:
    """The pool's config versions, newest first."""
    versions = ConfigVersion.objects.filter(pool=pool_of(actor(request), slug))
    return by_key(versions.select_related("pool").defer("spec", "envelope"), "number", cursor, limit, newest_first=True)


@router.get("/{slug:slug}/config/{int:number}", response=ConfigDetail)
def get_config(request: HttpRequest, slug: str, number: int) -> ConfigVersion:
    """One version with its spec, and its envelope once it is signed."""
    return version_of(pool_of(actor(request), slug), number)


@router.post("/{slug:slug}/config", response={201: ConfigOut})
def publish_config(request: HttpRequest, slug: str, data: ConfigIn) -> HttpResponse:
    """Publish the next config version. The controller signs it; agents verify and apply it."""
    pool, spec = pool_of(actor(request), slug), parse_spec(data.spec)

    def work() -> ConfigOut:
        version = verbs.config_publish(
            actor=actor(request), pool=pool, spec=spec, message=data.message, expected_version=data.expected_version
        )
        return ConfigOut.from_orm(version)

    return write(request, 201, work)


@router.post("/{slug:slug}/scale", response={201: ConfigOut})
def scale_pool(request: HttpRequest, slug: str, data: ScaleIn) -> HttpResponse:
    """Publish a config version that differs only in the number of workers per agent."""
    pool = pool_of(actor(request), slug)

    def work() -> ConfigOut:
        return ConfigOut.from_orm(verbs.pool_scale(actor=actor(request), pool=pool, **data.model_dump()))

    return write(request, 201, work)


@router.post("/{slug:slug}/pause", response=RunOut)
def pause_pool(request: HttpRequest, slug: str, data: ReasonIn) -> HttpResponse:
    """Workers stay and take no new job; running jobs finish."""
    return _run(request, slug, "pause", data)


@router.post("/{slug:slug}/resume", response=RunOut)
def resume_pool(request: HttpRequest, slug: str, data: ReasonIn) -> HttpResponse:
    """Workers take jobs again; those that left are started again."""
    return _run(request, slug, "resume", data)


@router.post("/{slug:slug}/drain", response=RunOut)
def drain_pool(request: HttpRequest, slug: str, data: ReasonIn) -> HttpResponse:
    """Running jobs finish, then the workers leave."""
    return _run(request, slug, "drain", data)


@router.get("/{slug:slug}/gates", response=GatesOut)
def get_gates(request: HttpRequest, slug: str) -> Gates:
    """What jobs may have to wait for: breakers, limits, and workers that know their payload's version."""
    pool = pool_of(actor(request), slug)
    return gates_of(pool, running_spec(pool))


@router.post("/{slug:slug}/breakers/{str:breaker}/open", response=RunOut)
def open_breaker(request: HttpRequest, slug: str, breaker: str, data: ReasonIn) -> HttpResponse:
    """Jobs of the breaker's tasks wait in their queues until a person closes it."""
    return _breaker(request, slug, breaker, "open", data)


@router.post("/{slug:slug}/breakers/{str:breaker}/close", response=RunOut)
def close_breaker(request: HttpRequest, slug: str, breaker: str, data: ReasonIn) -> HttpResponse:
    """Jobs of the breaker's tasks are taken again at once, whoever opened it; new failures open it again."""
    return _breaker(request, slug, breaker, "close", data)


def _breaker(request: HttpRequest, slug: str, breaker: str, verb: str, data: ReasonIn) -> HttpResponse:
    pool = pool_of(actor(request), slug)

    def work() -> RunOut:
        command = BREAKER_VERBS[verb](actor=actor(request), pool=pool, breaker=breaker, **data.model_dump())
        return RunOut.from_orm(command)

    return write(request, 200, work)


def _run(request: HttpRequest, slug: str, verb: str, data: ReasonIn) -> HttpResponse:
    pool = pool_of(actor(request), slug)

    def work() -> RunOut:
        return RunOut.from_orm(RUN_VERBS[verb](actor=actor(request), pool=pool, **data.model_dump()))

    return write(request, 200, work)
