"""One job."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.models import DeadLetterState
from pools.permissions import DISCARD, REQUEUE
from pools.selectors.jobs import job_story
from pools.selectors.rights import pool_rights
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
    """A job's story. Without JavaScript or Redis: everything comes from the read model."""
    actor = actor_of(request)
    story = job_story(actor, job_id, request.GET.get("broker", "default"))
    if story is None:
        return render(request, "jobs/unknown.html", {"job_id": job_id}, status=404)
    context: dict[str, Any] = {"story": story, "letter": story.letter, "worker": story.worker}
    if story.letter and story.letter.state == DeadLetterState.OPEN:
        context["offers"] = offers(pool_rights(actor, story.letter.pool, REQUEUE, DISCARD))
    return render(request, "jobs/job.html", context)
