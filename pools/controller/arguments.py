"""Digests of searchable arguments beside dead letters, written with each failure."""

from collections.abc import Collection, Mapping

from pools.controller import bulk
from pools.models import Pool, SearchableArgument


def write_digests(found: Mapping[int, Mapping[str, bytes]]) -> None:
    """By path, for each dead letter's primary key; in place of those that it had."""
    if not found:
        return
    SearchableArgument.objects.filter(dead_letter__in=list(found)).delete()
    rows = [(pk, path, digest) for pk, digests in found.items() for path, digest in digests.items()]
    bulk.write(SearchableArgument, ["dead_letter_id", "path", "digest"], rows)


def index_anew(pools: Collection[int]) -> None:
    """Of pools, by their primary keys, some dead letter is not indexed under the pool's paths."""
    if pools:
        Pool.objects.filter(pk__in=pools).update(indexed_arguments=None)
