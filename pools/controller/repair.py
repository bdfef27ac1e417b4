"""Brings desired state back that the broker lost or that somebody altered there.

The database says what agents should find, byte for byte. What is missing or older (a flush, an old dump) is put back at
once; what is altered, in the second look that finds it so, an interval later: until then agents meet it, refuse it and
say why, and nobody has to guess afterwards what was tried.

One thing is left alone: a config that is newer than the database's and signed by our own key. Then it is the database
that was restored, and the broker holds the only copy (docs/runbooks/config-refused.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import structlog
from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from audit.target import Target
from pools.broker.connection import get_broker
from pools.broker.desired import Desired, Held, mend_desired, read_desired
from pools.controller.publisher import Publisher
from pools.models import ConfigVersion, Pool, PoolKind, RunCommand

log = structlog.get_logger(__name__)


class Repair:
    """Compares the broker with the database in one round trip."""

    name = "repair"
    interval = 10.0

    def __init__(self, publisher: Publisher, alias: str = "default") -> None:
        self._publisher = publisher
        self._alias = alias
        self._runs: dict[int, tuple[int, bytes]] = {}
        self._seen_altered: set[str] = set()
        self._said_ahead: set[tuple[str, int, int]] = set()

    def tick(self) -> bool:
        wanted = self._wanted()
        found = read_desired(get_broker(self._alias), list(wanted))
        differing = [uid for uid, desired in wanted.items() if found[uid].desired != desired]
        # A message may have been sent meanwhile. It is in the database before it is on the broker, so look there again.
        now = self._wanted(differing) if differing else {}
        altered = {uid for uid, desired in now.items() if self._mend(uid, found[uid], desired)}
        self._seen_altered = altered
        return False

    def _mend(self, uid: str, held: Held, desired: Desired) -> bool:
        """Put back what is not as it should be. True when that waits for a second look."""
        there = held.desired
        if there == desired:
            return False
        if self._is_ahead(uid, there, desired):
            return False
        altered = _altered(there, desired)
        if altered and uid not in self._seen_altered:
            return True
        if not self._put_back(uid, held, desired, altered=altered):
            return altered
        log.info("repair.mended", pool=desired.pool, config=desired.config, altered=altered)
        return False

    def _put_back(self, uid: str, held: Held, desired: Desired, *, altered: bool) -> bool:
        """True when it is done. What was altered is put back only once that is recorded, and both or neither stay."""
        if not altered:
            return mend_desired(get_broker(self._alias), uid, held, desired)
        with transaction.atomic():
            self._record(uid, held.desired, desired)
            mended = mend_desired(get_broker(self._alias), uid, held, desired)
            transaction.set_rollback(not mended)
        return mended

    def _is_ahead(self, uid: str, there: Desired, desired: Desired) -> bool:
        version = self._publisher.version_in(there.config_envelope, uid)
        generation = self._publisher.generation_in(there.run_envelope, uid)
        if version <= desired.config and generation <= desired.generation:
            return False
        if (uid, version, generation) not in self._said_ahead:
            self._said_ahead.add((uid, version, generation))
            log.error("repair.database_behind", pool=desired.pool, version=version, database=desired.config)
        return True

    def _wanted(self, uids: Sequence[str] | None = None) -> dict[str, Desired]:
        """Pool uid → what the broker should hold. Three queries."""
        pools = Pool.objects.filter(kind=PoolKind.MANAGED, broker=self._alias)
        if uids is not None:
            pools = pools.filter(uid__in=uids)
        wanted = {
            str(pool.uid): Desired(pool=pool.slug, config=pool.published_number, generation=pool.generation)
            for pool in pools
            if pool.published_number or pool.generation
        }
        # Of no other pools: one that was published first between two of the queries is the next look's.
        envelopes = ConfigVersion.objects.filter(pool__uid__in=wanted, number=F("pool__published_number"))
        for uid, number, envelope in envelopes.values_list("pool__uid", "number", "envelope"):
            wanted[str(uid)] = replace(wanted[str(uid)], config=number, config_envelope=bytes(envelope or b""))
        for command in _newest_commands(wanted):
            there = wanted[str(command.pool.uid)]
            envelope = self._run_envelope(command)
            wanted[str(command.pool.uid)] = replace(there, generation=command.generation, run_envelope=envelope)
        return wanted

    def _run_envelope(self, command: RunCommand) -> bytes:
        """Signing again gives the same bytes; it is done once a command."""
        known = self._runs.get(command.pool_id)
        if known is None or known[0] != command.generation:
            known = self._runs[command.pool_id] = (command.generation, self._publisher.run_envelope(command))
        return known[1]

    def _record(self, uid: str, there: Desired, desired: Desired) -> None:
        Pool.objects.filter(uid=uid).update(altered_at=timezone.now())
        record(
            actor=system_actor("controller"),
            action="config.altered",
            target=Target(kind="pool", id=uid, name=desired.pool, pool=desired.pool),
            detail={
                "version": desired.config,
                "generation": desired.generation,
                "found_version": there.config,
                "found_generation": there.generation,
                "config_differs": there.config_envelope != desired.config_envelope,
                "run_state_differs": there.run_envelope != desired.run_envelope,
            },
        )


def _newest_commands(uids: Iterable[str]) -> QuerySet[RunCommand]:
    newest = RunCommand.objects.filter(pool__uid__in=uids, generation=F("pool__generation"))
    return newest.select_related("pool")


def _altered(there: Desired, desired: Desired) -> bool:
    """Whether somebody wrote this. A flush leaves nothing, an old dump lower numbers beside what belongs to them."""
    if there.config > desired.config or there.generation > desired.generation:
        return True
    return (there.config == desired.config and there.config_envelope not in (b"", desired.config_envelope)) or (
        there.generation == desired.generation and there.run_envelope not in (b"", desired.run_envelope)
    )
