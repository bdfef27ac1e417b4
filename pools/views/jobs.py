"""One job, and its payload: masked, or open to this visitor for a while."""

from functools import partial
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from audit.actor import Actor
from controlplane.actors import actor_of
from pools.broker.attempts import attempts_of
from pools.broker.payload_reveal import revealed
from pools.forms.verbs import ReasonForm
from pools.models import DeadLetter, DeadLetterState
from pools.operations import payload_hide, payload_reveal
from pools.permissions import DISCARD, REQUEUE, REVEAL
from pools.selectors.jobs import PASSING, KnownJob, find_job, job_story, open_reveal
from pools.selectors.queues import pool_having
from pools.selectors.rights import pool_rights
from pools.views._acting import act, ask
from pools.views.handling import offers


class JobIdConverter:
    """Whatever RQ takes as an id, quoted: also slashes, spaces and line ends."""

    regex = r"[\s\S]+"

    def to_python(self, value: str) -> str:
        return value

    def to_url(self, value: str) -> str:
        return value


@require_safe
def job(request: HttpRequest, job_id: str) -> HttpResponse:
    """A job's story, from the read model. Redis tells its attempts, and a payload that is open to the visitor."""
    actor = actor_of(request)
    try:
        story = job_story(actor, job_id, request.GET.get("broker", "default"))
    except DeadLetter.DoesNotExist:
        return _passing(request, actor, job_id)
    letter, pool = story.job.letter, story.job.pool
    rights = pool_rights(actor, pool, REQUEUE, DISCARD, REVEAL)
    reveal = open_reveal(actor, story.job)
    context = about(request, story.job) | {"story": story, "right": rights[REVEAL], "open": reveal}
    context["attempts"] = attempts_of(story.job.broker, job_id)
    context |= {"edit_right": rights[REQUEUE], "is_dead": letter is not None and letter.state == DeadLetterState.OPEN}
    if reveal:
        context["payload"] = revealed(story.job.broker, job_id)
    if letter and (letter.state == DeadLetterState.OPEN or letter.is_restorable):
        context["offers"] = offers(rights, state=letter.state)
    response = render(request, "jobs/job.html", context)
    if reveal:
        add_never_cache_headers(response)
    return response


def _passing(request: HttpRequest, actor: Actor, job_id: str) -> HttpResponse:
    """A job of which only the broker knows: one that waits, or that ended well since somebody saw it run."""
    broker = request.GET.get("broker", "default")
    attempts = attempts_of(broker, job_id)
    pool = pool_having(actor, broker, attempts.queue)
    if pool is None:
        return render(request, "jobs/unknown.html", {"job_id": job_id, "attempts": attempts}, status=404)
    known = KnownJob(job_id, broker, pool, letter=None, worker=None)
    state = PASSING.get(attempts.status, ("", attempts.status or "Unknown", "circle-minus"))
    return render(request, "jobs/passing.html", {"job": known, "attempts": attempts, "state": state})


@require_http_methods(["GET", "HEAD", "POST"])
def reveal_payload(request: HttpRequest, job_id: str) -> HttpResponse:
    """Open the payload to the visitor, with a reason."""
    actor = actor_of(request)
    found = find(actor, request, job_id)
    form = ReasonForm(request.POST or None)
    page = about(request, found) | {"form": form, "right": pool_rights(actor, found.pool, REVEAL)[REVEAL]}
    return ask(
        request,
        form,
        "jobs/reveal.html",
        page,
        lambda data: payload_reveal(actor=actor, job_id=job_id, broker=found.broker, reason=data["reason"]),
        done=lambda row: f"The payload is open to you until {row.expires_at:%H:%M:%S} UTC.",
        to=lambda row: page["job_url"] + "#payload",
    )


@require_POST
def hide_payload(request: HttpRequest, job_id: str) -> HttpResponse:
    """Close it again before its time."""
    actor = actor_of(request)
    found = find(actor, request, job_id)
    page = about(request, found) | {"right": pool_rights(actor, found.pool, REVEAL)[REVEAL]}
    return act(
        request,
        forms.Form(request.POST),
        lambda data: payload_hide(actor=actor, job_id=job_id, broker=found.broker),
        done=lambda was_open: "The payload is hidden." if was_open else "The payload was hidden already.",
        to=lambda was_open: page["job_url"],
        otherwise=partial(render, request, "jobs/reveal.html", page),
    )


def find(actor: Actor, request: HttpRequest, job_id: str) -> KnownJob:
    try:
        return find_job(actor, job_id, request.GET.get("broker", "default"))
    except DeadLetter.DoesNotExist as missing:
        raise Http404 from missing


def about(request: HttpRequest, found: KnownJob) -> dict[str, Any]:
    """The job, and where its pages are."""
    query = "?" + request.GET.urlencode() if "broker" in request.GET else ""
    urls = {f"{name.replace('-', '_')}_url": reverse(name, args=[found.job_id]) + query for name in PAGES}
    return {"job": found, "letter": found.letter, "worker": found.worker} | urls


PAGES = ("job", "payload-reveal", "payload-hide", "payload-edit")
