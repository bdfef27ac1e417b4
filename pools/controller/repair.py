"""Brings back desired state that the broker lost: flushed, or restored from an old dump."""

import structlog

from pools.broker.connection import get_broker
from pools.broker.desired import Desired, read_desired
from pools.controller.publisher import Publisher
from pools.models import ConfigVersion, Pool, PoolKind, RunCommand

log = structlog.get_logger(__name__)


class Repair:
    """Compares the broker with the database in one round trip, and sends again what is missing or older."""

    name = "repair"
    interval = 10.0

    def __init__(self, publisher: Publisher, alias: str = "default") -> None:
        self._publisher = publisher
        self._alias = alias

    def tick(self) -> bool:
        pools = {
            str(pool.uid): pool
            for pool in Pool.objects.filter(kind=PoolKind.MANAGED, broker=self._alias).order_by("pk")
        }
        for uid, there in read_desired(get_broker(self._alias), list(pools)).items():
            self._mend(pools[uid], there)
        return False

    def _mend(self, pool: Pool, there: Desired) -> None:
        if there.config < pool.published_number:
            log.info("repair.config", pool=pool.slug, version=pool.published_number, found=there.config)
            self._publisher.send_config(
                ConfigVersion.objects.select_related("pool").get(pool=pool, number=pool.published_number)
            )
        if there.generation < pool.generation:
            log.info("repair.run", pool=pool.slug, generation=pool.generation, found=there.generation)
            self._publisher.send_run(
                RunCommand.objects.select_related("pool").get(pool=pool, generation=pool.generation)
            )
