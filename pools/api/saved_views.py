"""Saved views of the inbox: a filter under a name."""

from typing import Any
from urllib.parse import parse_qsl

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from pydantic import ConfigDict, Field

from pools import operations as verbs
from pools.api.auth import actor
from pools.api.bodies import Body, FilterIn, Text
from pools.api.idempotency import write
from pools.api.paging import PageOut
from pools.models import SavedView
from pools.operations.errors import Refused
from pools.operations.saved_views import NAME_LIMIT
from pools.selectors.dead_letters import DeadLetterFilter, FilterError
from pools.selectors.saved_views import View, saved_views, sharing_teams

router = Router()


class ViewOut(Schema):
    id: int
    name: str
    owner: str
    team: str | None = Field(description="slug of the team that it is shared with")
    filter: dict[str, str] | None = Field(description="as `list_dead_letters` takes it; null: can no longer be read")
    mine: bool = Field(description="you may rename and remove it")
    default: bool = Field(description="your inbox begins with it")


class NameIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Night shift"}]})

    name: Text = Field(max_length=NAME_LIMIT)


class ViewIn(NameIn):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Night shift", "filter": {"pool": "payments", "since": "12h"}, "team": "demo"}]
        }
    )

    filter: FilterIn
    team: Text = Field("", max_length=50, description="slug of a team in whose pools you may requeue; empty: nobody")


class DefaultIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"default": True}]})

    default: bool


@router.get("", response=PageOut[ViewOut])
def list_saved_views(request: HttpRequest) -> dict[str, Any]:
    """Your own, then those that were shared with a team of yours: all on one page."""
    return {"items": [_out(view) for view in saved_views(actor(request))]}


@router.post("", response={201: ViewOut})
def save_view(request: HttpRequest, data: ViewIn) -> HttpResponse:
    """Keep a filter under a name. The same name again replaces it."""

    def work() -> ViewOut:
        who = actor(request)
        team = sharing_teams(who).filter(slug=data.team).first() if data.team else None
        if data.team and team is None:
            raise Refused("team", f"You may not share with a team {data.team!r}. Nothing was changed.")
        view = verbs.view_save(actor=who, name=data.name, wanted=_filter(data.filter), team=team)
        return _one(request, view.pk)

    return write(request, 201, work)


@router.post("/{int:id}/rename", response=ViewOut)
def rename_view(request: HttpRequest, id: int, data: NameIn) -> HttpResponse:
    """Give a view of yours another name."""

    def work() -> ViewOut:
        return _one(request, verbs.view_rename(actor=actor(request), pk=id, name=data.name).pk)

    return write(request, 200, work)


@router.post("/{int:id}/remove", response=ViewOut)
def remove_view(request: HttpRequest, id: int) -> HttpResponse:
    """Forget a view of yours, for those as well with whom it was shared; the answer is what it was."""

    def work() -> ViewOut:
        was = _one(request, id)
        verbs.view_remove(actor=actor(request), pk=id)
        return was

    return write(request, 200, work)


@router.post("/{int:id}/default", response=ViewOut)
def set_default_view(request: HttpRequest, id: int, data: DefaultIn) -> HttpResponse:
    """Let your inbox begin with a view, or no longer with it."""

    def work() -> ViewOut:
        return _one(request, verbs.view_set_default(actor=actor(request), pk=id, default=data.default).pk)

    return write(request, 200, work)


def _one(request: HttpRequest, pk: int) -> ViewOut:
    """Raises ``SavedView.DoesNotExist``."""
    for view in saved_views(actor(request)):
        if view.row.pk == pk:
            return _out(view)
    raise SavedView.DoesNotExist


def _out(view: View) -> ViewOut:
    return ViewOut(
        id=view.row.pk,
        name=view.row.name,
        owner=view.row.owner_name,
        team=view.row.team.slug if view.row.team else None,
        filter=dict(parse_qsl(view.row.query)) if view.wanted else None,
        mine=view.mine,
        default=view.is_default,
    )


def _filter(data: FilterIn) -> DeadLetterFilter:
    try:
        return DeadLetterFilter.from_query(data.model_dump())
    except FilterError as error:
        raise Refused(f"filter.{error.field}", f"{error.message}. Nothing was changed.") from error
