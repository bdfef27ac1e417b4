"""``manage.py controller``: lead, or stand by to lead."""

import signal
import sys
import threading
from typing import Any, NoReturn

import structlog
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import DatabaseError, InterfaceError, transaction

from audit.actor import system_actor
from audit.recorder import record
from audit.target import Target
from pools.controller.assembly import all_loops
from pools.controller.keyring import Keyring, KeyringError, open_keyring
from pools.controller.lease import LeaderLease
from pools.controller.log_checkpoints import write_verifier_keys
from pools.controller.loop import Loop
from pools.controller.runner import Runner, run_once
from pools.controller.trust_root import write_trust_root
from pools.models import Operation, Pool
from pools.operations import config_renew, guard_quarantine, operation_lapse
from pools.operations.errors import OperationError
from pools.signing import TrustRoot

STOP_WITHIN = 3.5
RELEASE_WITHIN = 1.0
LOOK_EVERY = 0.2
UNUSABLE = 2

log = structlog.get_logger(__name__)


class Command(BaseCommand):
    help = "Run the controller: publish, sample, ingest, keep the log. Several may run; one of them leads."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--once", action="store_true", help="one tick of every loop, then end")

    def handle(self, *args: Any, **options: Any) -> None:
        keyring = _prepare()
        lease = LeaderLease()
        loops = _loops(keyring, lease)
        if options["once"]:
            sys.exit(_once(loops, lease))
        _serve(Runner(loops, lease), lease)


def _prepare() -> Keyring:
    """Keys and trust root; ends the process with one line when they cannot be used."""
    home = settings.POOLWARDEN_HOME
    try:
        keyring = open_keyring(home, _announce_key)
        write_trust_root(home / "trust-root.json", settings.POOLWARDEN_ENV, keyring.config, _announce_root)
    except KeyringError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"cannot write {home / 'trust-root.json'}: {error.strerror}")
    except (DatabaseError, InterfaceError) as error:
        _refuse(f"cannot use the database: {str(error).strip().splitlines()[0]}")
    return keyring


def _loops(keyring: Keyring, lease: LeaderLease) -> list[Loop]:
    """The loops; ends the process with one line when what the log needs cannot be used."""
    path = settings.POOLWARDEN_HOME / "log.vkey"
    try:
        write_verifier_keys(path, keyring)
        return all_loops(lease, keyring, _renew, _lapse, guard_quarantine)
    except KeyringError as error:
        _refuse(str(error))
    except OSError as error:
        _refuse(f"cannot write {path}: {error.strerror}")


def _refuse(why: str) -> NoReturn:
    print(f"poolwarden controller: {why}", file=sys.stderr)
    sys.exit(UNUSABLE)


def _announce_key(name: str, keyid: str) -> None:
    with transaction.atomic():
        record(
            actor=system_actor("controller"),
            action="key.created",
            target=Target(kind="key", id=keyid, name=f"{name} {keyid[:12]}"),
            after={"keyid": keyid, "keytype": "ed25519", "role": name},
        )


def _announce_root(root: TrustRoot) -> None:
    (keyid,) = root.roles["config"].keys
    with transaction.atomic():
        record(
            actor=system_actor("controller"),
            action="key.trusted",
            target=Target(kind="key", id=keyid, name=f"config {keyid[:12]}"),
            after={"version": root.version, "env": root.env, "expires": root.expires},
        )


def _renew(pool: Pool) -> None:
    try:
        config_renew(actor=system_actor("controller"), pool=pool)
    except OperationError as error:
        log.error("config.not_renewed", pool=pool.slug, why=str(error))


def _lapse(row: Operation) -> None:
    try:
        operation_lapse(actor=system_actor("controller"), operation=row)
    except OperationError as error:  # somebody decided a moment ago
        log.info("operation.not_lapsed", operation=row.pk, why=str(error))


def _once(loops: list[Loop], lease: LeaderLease) -> int:
    if not lease.renew():
        print("poolwarden controller: another controller leads", file=sys.stderr)
        return 1
    try:
        return 0 if run_once(loops, lease) else 1
    finally:
        lease.release()


def _serve(runner: Runner, lease: LeaderLease) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    runner.start()
    leading = False
    while not stop.wait(LOOK_EVERY):
        if lease.held() and not leading:
            print(f"poolwarden controller: leading as {lease.holder}", flush=True)
        leading = lease.held()
    late = runner.stop(STOP_WITHIN)
    if late:
        log.warning("controller.ended_mid_tick", loops=late)
    # Beside us, for a database that hangs must not keep the process: the lease ends by itself.
    releasing = threading.Thread(target=_release, args=[lease], daemon=True)
    releasing.start()
    releasing.join(RELEASE_WITHIN)


def _release(lease: LeaderLease) -> None:
    try:
        lease.release()
    except (DatabaseError, InterfaceError) as error:
        log.warning("controller.lease_not_released", error=str(error).strip())
