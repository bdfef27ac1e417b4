"""Jobs of hosts that died, decided by a controller as agents do it for each other: the same look, the same script.

Whoever looks holds one lease on the broker, an agent or a controller, and what they find is re-checked there before
anything is touched.
"""

import time
from collections.abc import Mapping

from pools.broker.connection import Broker, BrokerUnavailable
from pools.runtime.reaper import reap
from pools.runtime.watch import Silent, Watch


class Listener:
    """Remembers who gave which sign of life when. ``holder`` is its name in the lease."""

    def __init__(self, broker: Broker, holder: str) -> None:
        self._broker = broker
        self._watch = Watch(broker.keys, holder)

    def look(self) -> list[Silent]:
        """Call it about once a second. The workers whose silence has just become too long; none while another looks.

        Raises BrokerUnavailable; then, and after a pause, silence is counted anew.
        """
        try:
            with self._broker.use() as client:
                return self._watch.look(client, time.monotonic())
        except BrokerUnavailable:
            self._watch.forget()
            raise

    def decide(self, silent: Silent, failure_ttl: int, signature: Mapping[str, object]) -> dict[str, str]:
        """Put the worker's claimed job back and decide what it ran: job id → ``again``, ``unknown`` or ``too_often``.

        Empty when it held none, or has shown life since. ``failure_ttl`` in seconds, of dead letters without their
        own. Raises BrokerUnavailable; then the worker is found again, and may be decided again.
        """
        try:
            with self._broker.use() as client:
                return reap(client, self._broker.keys, silent.last_will(failure_ttl), signature) or {}
        except BrokerUnavailable:
            self._watch.forget()
            raise
