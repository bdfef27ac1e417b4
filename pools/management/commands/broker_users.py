"""``manage.py broker_users --passwords DIR``: what to tell Redis or Valkey, so that each role is a user of its own."""

import hashlib
import os
import secrets
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from pools.broker import access
from pools.broker.access import Place
from pools.models import Pool
from pools.models.pool import PoolKind
from pools.selectors.config import spec_at


class Command(BaseCommand):
    help = "Print the users of a broker: console, controller, agent, and for each managed pool a worker and a producer."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--broker", default="default", help="its alias in the settings; default: default")
        parser.add_argument("--pool", action="append", help="only the worker and the producer of this pool")
        parser.add_argument(
            "--passwords",
            metavar="DIR",
            type=Path,
            required=True,
            help="a file for each user, made where it is missing; its digest is printed, never itself",
        )
        parser.add_argument("--aclfile", action="store_true", help="print lines of an ACL file, not commands")

    def handle(self, *args: Any, **options: Any) -> None:
        alias, chosen = options["broker"], options["pool"]
        if alias not in settings.POOLWARDEN_BROKERS:
            raise CommandError(f"--broker: there is no broker {alias!r} in the settings.")
        place = Place(settings.POOLWARDEN_BROKERS[alias].get("prefix", "rq"))
        pools = Pool.objects.filter(broker=alias, kind=PoolKind.MANAGED).order_by("slug")
        if unknown := set(chosen or []) - set(pools.values_list("slug", flat=True)):
            raise CommandError(f"--pool: no managed pool of broker {alias!r} is called {sorted(unknown)[0]!r}.")
        users = {} if chosen else _of_all(place)
        for pool in pools.filter(slug__in=chosen) if chosen else pools:
            users |= _of_pool(place, pool)
        try:
            lines = [_line(name, rules, options["passwords"], options["aclfile"]) for name, rules in users.items()]
        except (OSError, ValueError) as error:
            raise CommandError(f"--passwords: {error}. Nothing is printed.") from error
        self.stdout.write("\n".join(lines))


def _of_all(place: Place) -> dict[str, list[str]]:
    return {"console": access.console(place), "controller": access.controller(place), "agent": access.agent(place)}


def _of_pool(place: Place, pool: Pool) -> dict[str, list[str]]:
    """By the queues of the version that runs and of the one that is to: a rollout needs both."""
    specs = [spec for number in {pool.published_number, pool.config_number} if (spec := spec_at(pool, number))]
    queues = sorted({queue for spec in specs for queue in spec.queues})
    return {
        f"worker-{pool.slug}": access.worker(place, str(pool.uid), queues),
        f"producer-{pool.slug}": access.producer(place, queues),
    }


def _line(name: str, rules: list[str], passwords: Path, aclfile: bool) -> str:
    """Ends with what a person looks for last: the digest of the password."""
    digest = f"#{hashlib.sha256(_password(passwords / name).encode()).hexdigest()}"
    if aclfile:
        return " ".join(["user", name, *rules[1:], digest])
    return " ".join(["ACL SETUSER", name, *rules, digest])


def _password(file: Path) -> str:
    """Raises OSError, and ValueError for a file that others may read or that holds no password."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as made:
            made.write(secrets.token_urlsafe(32) + "\n")
    if file.stat().st_mode & 0o077:
        raise ValueError(f"{file} can be read by others: chmod 600 {file}")
    password = file.read_text().strip()
    if not password:
        raise ValueError(f"{file} is empty")
    return password
