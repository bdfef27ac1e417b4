"""Which run commands have arrived."""

from collections.abc import Iterable, Sequence

from pools.models import AgentPool, Pool, RunCommand


def acknowledged(pools: Sequence[Pool], reports: Iterable[AgentPool]) -> list[int]:
    """Ids of the open commands that every living agent of their pool reports to have applied, and at least one does.

    A later command settles the earlier ones: the generation counts.
    """
    applied: dict[int, int] = {}
    for report in reports:
        applied[report.pool_id] = min(applied.get(report.pool_id, report.generation), report.generation)
    waiting = RunCommand.objects.filter(pool__in=applied, acknowledged_at=None).values_list("pk", "pool", "generation")
    return [pk for pk, pool_id, generation in waiting if applied[pool_id] >= generation]
