"""Which pools have breakers, limits or payload versions to look at."""

from pools.broker.gates import Watched
from pools.models import ConfigVersion, Pool, PoolKind
from pools.selectors.config import spec_of


class WatchedGates:
    """By the pools' published configs; a version is read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], Watched] = {}

    def of(self, alias: str) -> list[Watched]:
        """Those that have any, of one broker."""
        pools = Pool.objects.filter(broker=alias, kind=PoolKind.MANAGED, published_number__gt=0)
        current = set(pools.values_list("pk", "published_number"))
        for pool_id, number in current - self._known.keys():
            version = ConfigVersion.objects.select_related("pool").get(pool=pool_id, number=number)
            spec = spec_of(version)
            self._known[pool_id, number] = Watched(
                str(version.pool.uid),
                spec.breakers,
                spec.limits,
                any(policy.schema_versions for policy in spec.policies),
            )
        self._known = {key: self._known[key] for key in sorted(current)}
        return [watched for watched in self._known.values() if watched.any]
