"""``manage.py audit_rotate_key --reason TEXT``: give the audit log a new signing key. No controller may run then."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from audit.actor import system_actor
from audit.recorder import AuditError, record
from audit.target import Target
from pools.controller.keyring import KeyringError, rotate_log_key
from pools.controller.lease import LeaderLease, LeaseLost
from pools.controller.log_checkpoints import write_verifier_keys
from pools.operations.base import clean_reason
from pools.operations.errors import Refused
from pools.signing.keys import CryptoSigner


class Command(BaseCommand):
    help = "Give the audit log a new signing key; the old one vouches for it in the next checkpoint."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--reason", required=True, help="why; it goes into the audit log")

    def handle(self, *args: Any, **options: Any) -> None:
        lease, home = LeaderLease(), settings.POOLWARDEN_HOME
        if not lease.renew():
            raise CommandError("A controller leads: stop every controller first. Nothing was changed.")
        try:
            reason = clean_reason(options["reason"])
            keyring = rotate_log_key(home, lambda old, new: _announce(lease, old, new, reason))
            keys = write_verifier_keys(home / "log.vkey", keyring)
        except Refused as refused:
            raise CommandError(f"--reason: {refused.message}") from refused
        except (KeyringError, AuditError, LeaseLost, OSError) as error:
            raise CommandError(str(error)) from error
        finally:
            lease.release()
        self.stdout.write(f"{keys[0]}\n")
        self.stderr.write("Give this key to every witness and verifier, then start the controllers again.\n")


def _announce(lease: LeaderLease, old: CryptoSigner, new: CryptoSigner, reason: str) -> None:
    before, after = (signer.public_key for signer in (old, new))
    with lease.fenced():
        record(
            actor=system_actor("command-line"),
            action="key.rotated",
            target=Target(kind="key", id=before.keyid, name=f"log {before.keyid[:12]}"),
            before={"keyid": before.keyid, "public": before.keyval["public"]},
            after={"keyid": after.keyid, "public": after.keyval["public"]},
            reason=reason,
            detail={"key": f"log {after.keyid[:12]}", "role": "log"},
        )
