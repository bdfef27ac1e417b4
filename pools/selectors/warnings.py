"""What to know before the click, not after it."""

from collections.abc import Iterable

from pools.models import OperationKind, Pool, RunState
from pools.models.operation import RUN_AGAIN
from pools.selectors.approvals import Asked
from pools.selectors.phrases import jobs, names
from pools.selectors.triage import Preview


def warnings(kind: OperationKind, preview: Preview, wait: Asked | None, *, named: bool = False) -> list[str]:
    """About a set and where it lies. ``named``: the jobs were chosen one by one."""
    said = [wait.sentence] if wait else []
    if kind in RUN_AGAIN and preview.poison:
        then = "you named them, so they are requeued all the same" if named else "they are skipped"
        said.append(f"{jobs(preview.poison)} came back from as many requeues as their pool allows: {then}.")
    stay = kind in RUN_AGAIN and kind != OperationKind.MOVE
    if stay and preview.paused:
        said.append(_take_no_jobs(preview.paused, "sent"))
    if stay and preview.breakers:
        several = len(preview.breakers) > 1
        said.append(
            f"{'Breakers' if several else 'Breaker'} {names(preview.breakers)} {'are' if several else 'is'} open: "
            "jobs of its tasks wait in their queues until it closes."
        )
    if kind != OperationKind.DISCARD and preview.damaged:
        said.append(f"{jobs(preview.damaged)} could not be read in full; those that RQ could not run are skipped.")
    if preview.expired:
        said.append(f"{jobs(preview.expired)} outlived their failure TTL; those that the broker dropped are skipped.")
    return said


def warnings_elsewhere(preview: Preview, pools: Iterable[Pool]) -> list[str]:
    """About pools to whose queues the set may be moved: who would have to be asked, and where it would wait."""
    here, found = {pool.pk for pool, _ in preview.by_pool}, set(pools)
    limits = {pool.slug: pool.approved_above for pool in found if pool.pk not in here}
    asking = sorted(slug for slug, limit in limits.items() if limit is not None and preview.count > limit)
    said = [f"Moving so many to a queue of {names(asking)} needs a second person's approval."] if asking else []
    paused = sorted(pool.slug for pool in found if pool.run_state != RunState.RUNNING)
    return said + ([_take_no_jobs(paused, "moved")] if paused else [])


def _take_no_jobs(slugs: list[str], what: str) -> str:
    return f"{names(slugs)} {'take' if len(slugs) > 1 else 'takes'} no jobs now: what is {what} there waits."
