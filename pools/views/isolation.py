"""What keeps a pool's jobs apart on each host."""

from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from controlplane.actors import actor_of
from pools.broker.connection import BrokerUnavailable, get_broker
from pools.broker.isolation import Control, controls_of
from pools.models import AgentPool, Pool
from pools.selectors.config import running_spec
from pools.selectors.pool_page import row_of
from pools.selectors.pools import pool_of


@dataclass(frozen=True)
class Host:
    serving: AgentPool
    controls: list[Control]


@require_safe
def isolation(request: HttpRequest, slug: str) -> HttpResponse:
    """What the config asks for, and what each live agent's workers attest. Asks the broker."""
    found = pool_of(actor_of(request), slug)
    controls, problem = attested(found)
    live = row_of(found).presence.live
    context = {
        "pool": found,
        "spec": running_spec(found),
        "hosts": [Host(serving, controls.get(serving.agent.name, [])) for serving in live],
        "problem": problem,
    }
    return render(request, "pools/isolation.html", context)


def attested(pool: Pool) -> tuple[dict[str, list[Control]], str]:
    """What workers of the pool found in force, by their agent's name; and why the broker could not be asked, or ""."""
    try:
        return controls_of(get_broker(pool.broker), str(pool.uid)), ""
    except BrokerUnavailable as error:
        return {}, error.why
