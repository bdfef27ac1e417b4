"""Desired state for agents: the signed envelope and, in the same step, the hint that it is there."""

from collections.abc import Sequence

from pools.broker import fields
from pools.broker.connection import Broker
from pools.broker.scripts import script


def publish_config(broker: Broker, pool_uid: str, pool: str, version: int, generation: int, envelope: bytes) -> bool:
    """Make ``envelope`` the newest config of a pool. False, and nothing changed, when a newer version is there.

    The same version may be published again: that repairs an envelope that somebody changed on the broker.
    ``generation`` is the newest run state's, 0 when there is none. Raises BrokerUnavailable.
    """
    return _publish(broker, "config", broker.keys.config(pool_uid), pool_uid, pool, version, generation, envelope)


def publish_run(broker: Broker, pool_uid: str, pool: str, version: int, generation: int, envelope: bytes) -> bool:
    """Make ``envelope`` the newest run state of a pool; as ``publish_config``, but it is ``generation`` that counts.

    ``version`` is the newest published config's, 0 when there is none.
    """
    return _publish(broker, "generation", broker.keys.run(pool_uid), pool_uid, pool, version, generation, envelope)


def _publish(
    broker: Broker, counts: str, key: str, pool_uid: str, pool: str, version: int, generation: int, envelope: bytes
) -> bool:
    with broker.use() as client:
        publish = script(client, "publish")
        args: list[str | int | bytes] = [counts, pool_uid, pool, version, generation, envelope]
        return bool(publish(keys=[key, broker.keys.desired], args=args))


def queue_lengths(broker: Broker, queues: Sequence[str]) -> dict[str, int]:
    """How many jobs wait in each queue, in one round trip. Raises BrokerUnavailable."""
    with broker.use() as client:
        pipeline = client.pipeline(transaction=False)
        for queue in queues:
            pipeline.llen(broker.rq.queue(queue))
        lengths = pipeline.execute(raise_on_error=False)
    return dict(zip(queues, map(fields.count, lengths), strict=True))
