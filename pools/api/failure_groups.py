"""One failure group, and what is decided about it."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router

from pools import operations as verbs
from pools.api.auth import actor
from pools.api.bodies import Body
from pools.api.group_bodies import AssignIn, DecideIn, NoteIn, ResolveIn, RunbookIn, SnoozeIn
from pools.api.group_schemas import GroupDetail, group_detail
from pools.api.idempotency import write
from pools.models import FailureGroup
from pools.selectors.dead_letters import find_group
from pools.selectors.group_life import notes_of

router = Router()
NO_REASON = DecideIn()


@router.get("/{int:id}", response=GroupDetail)
def get_group(request: HttpRequest, id: int) -> dict[str, Any]:
    """One failure group with the newest of its notes and decisions. `count` are its open dead letters."""
    return _detail(request, id)


@router.post("/{int:id}/acknowledge", response=GroupDetail)
def acknowledge_group(request: HttpRequest, id: int, data: DecideIn = NO_REASON) -> HttpResponse:
    """Say that somebody knows about it. A snooze ends."""
    return _decide(request, id, verbs.group_acknowledge, data)


@router.post("/{int:id}/snooze", response=GroupDetail)
def snooze_group(request: HttpRequest, id: int, data: SnoozeIn) -> HttpResponse:
    """Keep it off the overview until a time, for so many more failures, or until the next config version."""
    return _decide(request, id, verbs.group_snooze, data)


@router.post("/{int:id}/unsnooze", response=GroupDetail)
def unsnooze_group(request: HttpRequest, id: int, data: DecideIn = NO_REASON) -> HttpResponse:
    """End a snooze: the group is what it was before."""
    return _decide(request, id, verbs.group_unsnooze, data)


@router.post("/{int:id}/resolve", response=GroupDetail)
def resolve_group(request: HttpRequest, id: int, data: ResolveIn) -> HttpResponse:
    """Say that the cause is gone. Its dead letters stay; the next failure makes it `regressed`."""
    return _decide(request, id, verbs.group_resolve, data)


@router.post("/{int:id}/reopen", response=GroupDetail)
def reopen_group(request: HttpRequest, id: int, data: DecideIn = NO_REASON) -> HttpResponse:
    """It was not resolved after all: `acknowledged` again."""
    return _decide(request, id, verbs.group_reopen, data)


@router.post("/{int:id}/assign", response=GroupDetail)
def assign_group(request: HttpRequest, id: int, data: AssignIn) -> HttpResponse:
    """Give it to somebody who may see its pool, or to nobody."""
    return _decide(request, id, verbs.group_assign, data)


@router.post("/{int:id}/notes", response={201: GroupDetail})
def add_note(request: HttpRequest, id: int, data: NoteIn) -> HttpResponse:
    """Write something down beside the group."""
    return _decide(request, id, verbs.group_note, data, status=201)


@router.post("/{int:id}/runbook", response=GroupDetail)
def set_runbook(request: HttpRequest, id: int, data: RunbookIn) -> HttpResponse:
    """Say where it stands what to do about this cause."""
    return _decide(request, id, verbs.group_set_runbook, data)


def _decide(
    request: HttpRequest, pk: int, run: Callable[..., list[FailureGroup]], data: Body, *, status: int = 200
) -> HttpResponse:
    group = find_group(actor(request), pk)

    def work() -> GroupDetail:
        run(actor=actor(request), ids=[group.pk], **data.model_dump())
        return GroupDetail(**_detail(request, pk))

    return write(request, status, work)


def _detail(request: HttpRequest, pk: int) -> dict[str, Any]:
    group = find_group(actor(request), pk)
    return group_detail(group, notes_of(group))
