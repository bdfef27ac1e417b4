"""``python -m tests.audit.crash_run ROUNDS SEED``: kill -9 writers and sequencers, in rounds, on an own database.

Each round forks two writers and two sequencers, waits until a writer has reported a random number of commits, and kills
all four in the middle of whatever they do. Then one sequencer finishes the work. Prints JSON: the events that writers
reported as committed and as rolled back, errors, and what the database holds.
"""

import itertools
import json
import os
import random
import signal
import sys
from collections.abc import Callable

import django
from django.core.management import call_command
from django.db import OperationalError, connection, transaction

TOLD = {"committed": "+", "rolled_back": "-", "errors": "!"}


class RolledBack(Exception):
    """What a writer raises to undo its action."""


def write(report: int) -> None:
    """Commit one event after another; every fifth action fails. Reports ``+uid`` after a commit, else ``-uid``."""
    from tests.audit.cast import happened

    for number in itertools.count(1):
        try:
            with transaction.atomic():
                uid = happened(reason=f"{os.getpid()}/{number}").uid
                if number % 5 == 0:
                    raise RolledBack
        except RolledBack:
            os.write(report, f"-{uid}\n".encode())
        else:
            os.write(report, f"+{uid}\n".encode())


def sequence(report: int) -> None:
    from audit.sequencer import Sequencer

    sequencer = Sequencer()
    while True:
        try:
            sequencer.tick()
        except OperationalError as error:
            os.write(report, f"!{error}\n".encode())


def start(work: Callable[[int], None], report: int) -> int:
    pid = os.fork()
    if not pid:
        try:
            work(report)
        finally:
            os._exit(1)
    return pid


def play(dice: random.Random) -> list[str]:
    """One round; returns what its processes reported."""
    reader, writer = os.pipe()
    pids = [start(work, writer) for work in (write, write, sequence, sequence)]
    os.close(writer)
    enough = dice.randint(3, 40)
    lines = b""
    while lines.count(b"\n") < enough:
        lines += os.read(reader, 65536)
    for pid in dice.sample(pids, len(pids)):
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    while more := os.read(reader, 65536):
        lines += more
    return lines.decode().splitlines()


def contents() -> dict[str, object]:
    from audit.models import Event, Leaf, Pending

    leaves = Leaf.objects.select_related("event").order_by("index")
    return {
        "events": Event.objects.count(),
        "pending": Pending.objects.count(),
        "leaves": [[leaf.index, bytes(leaf.hash).hex(), bytes(leaf.event.leaf).decode()] for leaf in leaves],
    }


def main() -> None:
    django.setup()
    call_command("migrate", verbosity=0)
    connection.close()
    dice = random.Random(sys.argv[2])
    lines = [line for _ in range(int(sys.argv[1])) for line in play(dice)]
    told = {name: [line[1:] for line in lines if line[0] == sign] for name, sign in TOLD.items()}

    from audit.sequencer import Sequencer

    before = contents()
    Sequencer().tick()
    sys.stdout.write(json.dumps(told | {"left_pending": before["pending"]} | contents()))


if __name__ == "__main__":
    main()
