"""Puts the controller together: which loops there are, and what each is given."""

from collections.abc import Callable

from pools.controller.acknowledger import Acknowledger
from pools.controller.argument_indexer import ArgumentIndexer
from pools.controller.console_jobs import enqueue_operation
from pools.controller.cron_slots import CronEnds
from pools.controller.effects import Effects
from pools.controller.ingester import Ingester
from pools.controller.keyring import Keyring
from pools.controller.lapser import Lapser
from pools.controller.lease import LeaderLease
from pools.controller.log_checkpoints import LogCheckpoints
from pools.controller.log_exports import LogExports
from pools.controller.log_protection import LogProtection
from pools.controller.log_scrubber import LogScrubber
from pools.controller.log_sequencer import LogSequencer
from pools.controller.loop import Loop
from pools.controller.notifying.composer import Composer
from pools.controller.notifying.deliverer import Deliverer
from pools.controller.notifying.spikes import Spikes
from pools.controller.publisher import Publisher
from pools.controller.quarantine import QuarantineGuard
from pools.controller.reaper import Reaper
from pools.controller.regrouping import Regrouping
from pools.controller.rehoming import Rehoming
from pools.controller.relay import Relay
from pools.controller.renewal import Renewal
from pools.controller.repair import Repair
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.controller.sweeper import Resumer, Sweeper, Waker
from pools.models import Operation, Pool


def all_loops(
    lease: LeaderLease,
    keyring: Keyring,
    renew: Callable[[Pool], None],
    lapse: Callable[[Operation], None],
    quarantine: Callable[[Pool], object],
) -> list[Loop]:
    """Every loop, in the order in which one tick of each leaves nothing behind (``--once``)."""
    publisher = Publisher(keyring.config, lease)
    relay = Relay(
        lease,
        {"config": publisher.deliver_config, "run": publisher.deliver_run, "operation": enqueue_operation},
    )
    return [
        Sampler(lease),
        Renewal(renew),
        Lapser(lapse),
        QuarantineGuard(lease, quarantine),
        Resumer(lease),
        Waker(lease),
        relay,
        Acknowledger(lease),
        Repair(publisher),
        Regrouping(lease),
        Reaper(lease),
        Ingester(lease),
        Scanner(lease),
        Rehoming(lease),
        ArgumentIndexer(lease),
        Effects(lease),
        CronEnds(lease),
        Spikes(lease),
        Composer(lease),
        Deliverer(lease),
        LogProtection(),
        LogSequencer(),
        LogCheckpoints(keyring),
        LogScrubber(),
        LogExports(),
        Sweeper(lease),
    ]
