"""One worker's page."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.models import Worker
from pools.selectors.workers import worker_story
from pools.views.isolation import attested


@require_safe
def worker(request: HttpRequest, name: str) -> HttpResponse:
    """What it is, what it does now, what its config holds it to, and its neighbours. Asks the broker what holds on its
    host, where its jobs are isolated."""
    try:
        story = worker_story(actor_of(request), name, request.GET.get("broker", "default"))
    except Worker.DoesNotExist:
        return render(request, "workers/unknown.html", {"name": name}, status=404)
    found, context = story.worker, {"story": story, "worker": story.worker, "pool": story.worker.pool}
    if found.agent and not found.gone_at and story.spec and story.spec.isolation.profile != "none":
        controls, problem = attested(found.pool)
        context |= {"controls": controls.get(found.agent.name, []), "problem": problem, "enclosed": True}
    return render(request, "workers/worker.html", context)
