"""One worker: what it is, what it does, by which config, and who else of its pool runs, or ran, on its host."""

from dataclasses import dataclass
from datetime import timedelta

from django.utils import timezone

from audit.actor import Actor
from pools.models import Worker
from pools.permissions import visible_pools
from pools.selectors.config import spec_at
from pools.spec import PoolSpec

OTHERS = 25
LONG_GONE = timedelta(hours=1)


@dataclass(frozen=True)
class WorkerStory:
    """``spec`` is of the config version that it runs: None for a worker that no agent started. ``others``: those of its
    pool on its host, the ended ones last."""

    worker: Worker
    spec: PoolSpec | None
    others: list[Worker]

    @property
    def is_drifting(self) -> bool:
        """It lives, and runs another version than the pool's published one."""
        number = self.worker.config_number
        return self.worker.gone_at is None and number is not None and number != self.worker.pool.published_number


def worker_story(actor: Actor, name: str, broker: str = "default") -> WorkerStory:
    """Raises ``Worker.DoesNotExist``, also for a worker of a pool that the actor may not see."""
    if "\x00" in name + broker:
        raise Worker.DoesNotExist
    workers = Worker.objects.select_related("pool", "agent")
    worker = workers.get(name=name, broker=broker, pool__in=visible_pools(actor))
    spec = spec_at(worker.pool, worker.config_number or 0)
    beside = Worker.objects.filter(pool=worker.pool, host=worker.host).exclude(pk=worker.pk)
    living = beside.filter(gone_at=None).order_by("name")[:OTHERS]
    ended = beside.filter(gone_at__gte=timezone.now() - LONG_GONE).order_by("-gone_at")[:OTHERS]
    return WorkerStory(worker, spec, [*living, *ended])
