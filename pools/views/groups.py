"""Deciding about failure groups, one or several: acknowledge, snooze, resolve, assign, write down.

Only by POST. ``group`` are their numbers, or ``all_matching`` takes those of the filter in the query string. Without
``do`` nothing is done: the answer is the verb's form, a page or what a dialog shows of it. So it is for all that
match, whose number the visitor has not seen beside this verb; the form then names each.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from audit.actor import Actor
from controlplane.actors import actor_of
from controlplane.http import safe_next
from pools.forms.dead_letters import chosen
from pools.forms.failure_groups import AssignForm, GroupForm, NoteForm, PlainForm, ResolveForm, RunbookForm, SnoozeForm
from pools.models import FailureGroup
from pools.operations import (
    group_acknowledge,
    group_assign,
    group_note,
    group_reopen,
    group_resolve,
    group_set_runbook,
    group_snooze,
    group_unsnooze,
)
from pools.operations.errors import Refused
from pools.operations.failure_groups import MAX_GROUPS
from pools.selectors.dead_letters import DeadLetterFilter, FilterError, group_counts
from pools.selectors.group_verbs import find_groups, named, owners_of, right_on, says
from pools.selectors.phrases import names
from pools.views._acting import act
from pools.views.handling import only_by_post

SHOWN = 5
TEMPLATE = "dead_letters/group_verb.html"


@dataclass(frozen=True)
class GroupVerb:
    """``at_once``: its button acts without asking anything."""

    key: str
    name: str
    done: str
    run: Callable[..., list[FailureGroup]]
    form: type[GroupForm]
    icon: str
    letter: str = ""
    at_once: bool = False


VERBS = {
    verb.key: verb
    for verb in (
        GroupVerb(
            "acknowledge", "Acknowledge", "Acknowledged", group_acknowledge, PlainForm, "check", "e", at_once=True
        ),
        GroupVerb("snooze", "Snooze", "Snoozed", group_snooze, SnoozeForm, "zzz", "s"),
        GroupVerb(
            "unsnooze", "End the snooze", "Ended the snooze of", group_unsnooze, PlainForm, "alarm", at_once=True
        ),
        GroupVerb("resolve", "Resolve", "Resolved", group_resolve, ResolveForm, "circle-check"),
        GroupVerb("reopen", "Reopen", "Reopened", group_reopen, PlainForm, "arrow-back-up", at_once=True),
        GroupVerb("assign", "Assign", "Assigned", group_assign, AssignForm, "user-check", "a"),
        GroupVerb("note", "Add a note", "Added a note to", group_note, NoteForm, "note"),
        GroupVerb("runbook", "Set the runbook", "Set the runbook of", group_set_runbook, RunbookForm, "book"),
    )
}


@dataclass(frozen=True)
class GroupOffer:
    """A verb on a page, and where its button leads."""

    verb: GroupVerb
    url: str


def group_offers(verbs: Iterable[str], query: str = "") -> list[GroupOffer]:
    """``query`` is the filter of the list that the buttons stand below."""
    suffix = f"?{query}" if query else ""
    return [GroupOffer(VERBS[key], reverse(f"failure-groups-{key}") + suffix) for key in verbs]


def decide(request: HttpRequest, verb: str) -> HttpResponse:
    """Show the verb's form for the selected groups; with ``do``, run it."""
    actor, doing = actor_of(request), VERBS[verb]
    if request.method != "POST":
        page = {"verb": doing, "problem": "Select failure groups first. Nothing was changed."}
        return only_by_post(request, TEMPLATE, page)
    template = f"{TEMPLATE}#form" if request.htmx else TEMPLATE  # type: ignore[attr-defined]
    try:
        ids, back = _selected(request, actor)
        groups = find_groups(actor, ids)
    except (FilterError, Refused) as problem:
        return render(request, template, {"verb": doing, "problem": problem.message}, status=422)
    except FailureGroup.DoesNotExist as missing:
        raise Http404 from missing
    asked = "do" in request.POST and "all_matching" not in request.POST
    form = doing.form(request.POST if asked else None, owners=owners_of(groups), initial=_initial(actor, groups))
    show = partial(render, request, template, _context(request, actor, doing, groups, form, back))
    if not asked:
        return show()
    return act(
        request,
        form,
        lambda data: doing.run(actor=actor, ids=ids, **data),
        done=lambda decided: f"{doing.done} {named(decided)}.",
        to=lambda decided: back,
        otherwise=show,
    )


def _selected(request: HttpRequest, actor: Actor) -> tuple[list[int], str]:
    """The numbers of the groups, and the page to go back to. Raises ``FilterError``, ``Refused``."""
    wanted = DeadLetterFilter.from_query(request.GET.dict())
    back = reverse("dead-letters") + (f"?{urlencode(query)}" if (query := wanted.as_query()) else "")
    if request.POST.get("all_matching"):
        ids = sorted(group_counts(actor, wanted))
    else:
        ids = list(chosen(request.POST.getlist("group")))
    if not ids:
        raise Refused("group", "Nothing is selected: tick at least one failure group. Nothing was changed.")
    if len(ids) > MAX_GROUPS:
        raise Refused("group", f"More than {MAX_GROUPS:,} failure groups: narrow the filter. Nothing was changed.")
    return ids, reverse("failure-group", args=ids) if len(ids) == 1 else back


def _initial(actor: Actor, groups: Sequence[FailureGroup]) -> dict[str, Any]:
    """What is true of a single group; whoever assigns what is nobody's mostly takes it."""
    group = groups[0]
    owner = group.owner.get_username() if group.owner else actor.user.get_username()
    return {"owner": owner, "url": group.runbook_url} if len(groups) == 1 else {"owner": actor.user.get_username()}


def _context(
    request: HttpRequest, actor: Actor, verb: GroupVerb, groups: Sequence[FailureGroup], form: GroupForm, back: str
) -> dict[str, Any]:
    right, without = right_on(actor, groups)
    return {
        "verb": verb,
        "form": form,
        "groups": groups[:SHOWN],
        "ids": [group.pk for group in groups],
        "others": len(groups) - SHOWN,
        "title": f"{verb.name} {named(groups)}" if verb.key not in ("note", "runbook") else verb.name,
        "says": says(verb.key, groups),
        "version": sum(group.revision for group in groups),
        "url": reverse(f"failure-groups-{verb.key}"),
        "right": right,
        "lacking": names(without),
        "next": safe_next(request, ""),
        "back": safe_next(request, back),
    }
