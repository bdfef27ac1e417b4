"""What a filter asks of arguments: only in pools where the actor may see them, for a match tells a value."""

from collections.abc import Iterable
from typing import Any

from django.db.models import Q, QuerySet

from audit.actor import Actor
from pools.arguments import digest
from pools.models import Pool, SearchableArgument
from pools.permissions import REVEAL, pools_with, visible_pools, who_can_grant
from pools.selectors.filter_values import FilterError, read_arguments


def searched_pools(actor: Actor, args: str, among: Q, line: str) -> QuerySet[Pool]:
    """The pools of ``among`` that name all paths of ``args`` and whose payloads the actor may reveal.

    Raises ``FilterError`` when there is none, with the place in ``line``, which the filter is as a whole.
    """
    paths = list(read_arguments(args))
    seen = list(visible_pools(actor).filter(among))
    may = set(pools_with(actor, REVEAL).values_list("pk", flat=True))
    found = [pool.pk for pool in seen if pool.pk in may and set(paths).issubset(pool.searchable_arguments)]
    if found:
        return Pool.objects.filter(pk__in=found)
    path, message = _problem(paths, seen, [pool for pool in seen if pool.pk in may])
    start = line.index(f"args.{path}:")
    raise FilterError("args", message, start, start + len(f"args.{path}:"), line)


def searchable_paths(actor: Actor) -> list[str]:
    """What the actor may ask for in some pool."""
    pools = visible_pools(actor).filter(pk__in=pools_with(actor, REVEAL).values("pk"))
    return sorted({path for pool in pools for path in pool.searchable_arguments})


def letters_with(args: str) -> QuerySet[SearchableArgument, Any] | None:
    """The primary keys of the dead letters that have all arguments asked for; None when none is asked for.

    Where values are left out, the others must be known: a job whose arguments nobody read is never among them.
    """
    found: QuerySet[SearchableArgument, Any] | None = None
    for path, values in read_arguments(args).items():
        rows: QuerySet[SearchableArgument, Any] = SearchableArgument.objects.filter(path=path)
        if values.wanted:
            rows = rows.filter(digest__in=[digest(path, value) for value in values.wanted])
        if values.unwanted:
            rows = rows.exclude(digest__in=[digest(path, value) for value in values.unwanted])
        rows = rows.values("dead_letter_id")
        found = rows if found is None else rows.filter(dead_letter__in=found)
    return found


def _problem(paths: Iterable[str], seen: Iterable[Pool], allowed: Iterable[Pool]) -> tuple[str, str]:
    """The path that stands in the way, and why."""
    path = ""
    for path in paths:
        if any(path in pool.searchable_arguments for pool in allowed):
            continue
        locked = sorted(pool.slug for pool in seen if path in pool.searchable_arguments)
        if locked or not allowed:
            where = ", ".join(locked) or "a pool"
            return (
                path,
                f"args.{path}: needs the permission pools.{REVEAL} on {where}. {who_can_grant().removesuffix('.')}",
            )
        known = sorted({path for pool in allowed for path in pool.searchable_arguments})
        offered = f"those are {', '.join(known)}" if known else "there is none; the page that edits a pool sets them"
        return path, f"args.{path}: is not among the searchable arguments of these pools: {offered}"
    return path, "no pool has all these arguments among its searchable ones"
