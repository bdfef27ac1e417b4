"""Kill -9 at random points, under load, on an empty database.

``python -m tests.audit.chaos rounds COUNT [SEED]``: each round forks two writers, two sequencers, two checkpointers and
a witness, waits until they have reported a random number of commits, and now and then a signature, and kills all of
them, in any order, in the middle of whatever they do. Files and database stay as the dead left them. At the end one of
each finishes the work.

``python -m tests.audit.chaos hold SECONDS``: a transaction that has recorded an event stays open that long, while
others write.

Prints JSON: ``faults``, sentences about what does not hold, and figures. Exit 1 with a fault.
"""

import atexit
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

if "POOLWARDEN_DATABASE_URL" not in os.environ:
    folder = tempfile.mkdtemp(prefix="poolwarden-chaos-")
    atexit.register(shutil.rmtree, folder)
    os.environ["POOLWARDEN_DATABASE_URL"] = f"sqlite:///{folder}/log.sqlite3"
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
os.environ.setdefault("POOLWARDEN_LOG_LEVEL", "CRITICAL")

import django

django.setup()

from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction

from audit.anchors import FileAnchor, WitnessClient
from audit.checkpoint import Checkpoint, Note, NoteError, open_checkpoint
from audit.checkpointer import Checkpointer
from audit.health import log_health
from audit.merkle import Frontier, leaf_hash
from audit.models import Checkpoint as Stored
from audit.models import Event, Leaf, Pending
from audit.sequencer import Sequencer
from audit.witness.__main__ import main as run_witness
from audit.witness.key import open_key
from tests.audit.cast import LOG_KEY, happened
from tests.support.valkey import free_port
from tests.support.waiting import wait_for

type Work = Callable[["World", int], object]


class RolledBack(Exception):
    """What a writer raises to undo its action."""


class World:
    """What outlives the killed, besides the database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.anchor = FileAnchor(folder / "checkpoints")
        self.port = free_port()
        self.witness = open_key(folder / "witness.pem", "witness.example/w").verifier

    def checkpointer(self) -> Checkpointer:
        """As a controller has it that has just been started."""
        witness = WitnessClient(f"http://127.0.0.1:{self.port}", str(self.witness), timeout=5)
        return Checkpointer(LOG_KEY, [self.anchor], [witness], interval=0)


def write(world: World, report: int) -> None:
    """Commit one event after another; every fifth action fails. Reports ``+uid`` after a commit, else ``-uid``."""
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


def sequence(world: World, report: int) -> None:
    sequencer = Sequencer()
    while True:
        try:
            sequencer.tick()
        except DatabaseError as error:
            os.write(report, f"!sequencer: {error}\n".encode())


def sign(world: World, report: int) -> None:
    turns = world.checkpointer()
    while not turns.stopped:
        try:
            if size := turns.tick():
                os.write(report, f"*{size}\n".encode())
        except IntegrityError:
            continue  # the other one signed the same
        except DatabaseError as error:
            os.write(report, f"!checkpointer: {error}\n".encode())
    os.write(report, f"!checkpointer stopped: {turns.stopped}\n".encode())


def witness(world: World, report: int) -> None:
    arguments = ["--state", str(world.folder / "witness"), "--key", str(world.folder / "witness.pem")]
    arguments += ["--name", world.witness.name, "--log", str(LOG_KEY.verifier), "--listen", f"127.0.0.1:{world.port}"]
    for descriptor in (1, 2):
        os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    os.write(report, f"!the witness ended: {run_witness(arguments)}\n".encode())


def start(work: Work, world: World, report: int) -> int:
    connection.close()
    pid = os.fork()
    if not pid:
        try:
            work(world, report)
        finally:
            os._exit(1)
    return pid


def play(world: World, dice: random.Random) -> list[str]:
    """One round; returns what its processes reported."""
    reader, writer = os.pipe()
    pids = [start(work, world, writer) for work in (witness, write, write, sequence, sequence, sign, sign)]
    os.close(writer)
    enough, signed, lines = dice.randint(3, 40), dice.randint(0, 1), b""
    while lines.count(b"+") < enough or (lines.count(b"*") < signed and b"!" not in lines):
        lines += os.read(reader, 65536)
    for pid in dice.sample(pids, len(pids)):
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        os.waitpid(pid, 0)
    while more := os.read(reader, 65536):
        lines += more
    os.close(reader)
    return lines.decode().splitlines()


def finish(world: World) -> list[str]:
    """What those who are started again say when all is done."""
    reader, writer = os.pipe()
    pid = start(witness, world, writer)
    try:
        Sequencer().tick()
        turns = world.checkpointer()
        wait_for(lambda: turns.stopped or (turns.tick() == 0 and _is_cosigned()), timeout=30)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(writer)
        os.close(reader)
    return [f"signing stopped: {turns.stopped}"] if turns.stopped else []


def _is_cosigned() -> bool:
    newest = Stored.objects.order_by("-size").first()
    return newest is not None and newest.cosignatures.exists()


def rounds(count: int, seed: str) -> dict[str, Any]:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="poolwarden-chaos-") as folder:
        world = World(Path(folder))
        lines = [line for _ in range(count) for line in play(world, dice)]
        left = Pending.objects.count()
        faults = [line[1:] for line in lines if line[0] == "!"] + finish(world)
        committed = {line[1:] for line in lines if line[0] == "+"}
        rolled_back = {line[1:] for line in lines if line[0] == "-"}
        faults += [*_leaves(committed, rolled_back), *_checkpoints(world)]
    return {
        "faults": faults,
        "rounds": count,
        "committed": len(committed),
        "rolled_back": len(rolled_back),
        "left_pending": left,
        "leaves": Leaf.objects.count(),
        "checkpoints": Stored.objects.count(),
        "cosigned": Stored.objects.filter(cosignatures__isnull=False).count(),
    }


def _leaves(committed: set[str], rolled_back: set[str]) -> list[str]:
    """Events committed = leaves, without a gap, and in each writer's order."""
    leaves = list(Leaf.objects.select_related("event").order_by("index"))
    events = [json.loads(bytes(leaf.event.leaf)) for leaf in leaves]
    uids = [event["id"] for event in events]
    faults = [f"{event['action']}: {event['detail']}" for event in events if event["action"] != "pool.paused"]
    if Pending.objects.exists() or Event.objects.count() != len(leaves):
        faults.append(f"{Event.objects.count()} events, {Pending.objects.count()} pending, {len(leaves)} leaves")
    if [leaf.index for leaf in leaves] != list(range(len(leaves))):
        faults.append("the indexes have gaps")
    if any(bytes(leaf.hash) != leaf_hash(bytes(leaf.event.leaf)) for leaf in leaves):
        faults.append("a leaf has another hash than its event")
    if len(set(uids)) != len(uids) or not committed <= set(uids) or rolled_back & set(uids):
        faults.append("what was committed is not what has leaves")
    steps = sorted((event["reason"].split("/")[0], place) for place, event in enumerate(events) if event["reason"])
    for writer, places in groupby(steps, key=lambda step: step[0]):
        numbers = [int(events[place]["reason"].split("/")[1]) for _, place in places]
        if numbers != sorted(numbers):
            faults.append(f"the events of writer {writer} are not in the order in which it committed them")
    return faults


def _checkpoints(world: World) -> list[str]:
    """Each one, in the database and outside, is over the leaves that are there; cosignatures verify."""
    edge, roots = Frontier(), {}
    for hashed in Leaf.objects.order_by("index").values_list("hash", flat=True):
        edge.append(bytes(hashed))
        roots[edge.size] = edge.root()
    kept = [json.loads(line).encode() for line in world.anchor.path.read_bytes().splitlines() if line.endswith(b'"')]
    stored = {row.size: bytes(row.note) for row in Stored.objects.all()}
    faults = []
    for note in [*stored.values(), *kept]:
        try:
            checkpoint = open_checkpoint(note, LOG_KEY.verifier)
        except NoteError as error:
            faults.append(str(error))
            continue
        if roots.get(checkpoint.size) != checkpoint.root:
            faults.append(f"the checkpoint over {checkpoint.size} events is not of this tree")
        if stored.get(checkpoint.size) != note:
            faults.append(f"the database does not have the checkpoint over {checkpoint.size} events that is outside")
    for row in Stored.objects.prefetch_related("cosignatures"):
        for cosignature in row.cosignatures.all():
            if not Note.parse(bytes(row.note) + cosignature.line.encode()).signed_by([world.witness]):
                faults.append(f"a cosignature over {row.size} events does not verify")
    newest = max(stored)
    if newest != edge.size or not _is_cosigned() or Checkpoint.parse(Note.parse(kept[-1]).text).size != newest:
        faults.append(f"the log has {edge.size} events; the newest checkpoint, {newest}, is not with everybody")
    return faults


def hold(seconds: float) -> dict[str, Any]:
    """A transaction that stays open loses nothing, and is an alert as soon as it is older than the threshold."""
    with transaction.atomic():
        happened(reason="before")
    reader, writer = os.pipe()
    release_reader, release = os.pipe()

    def slow(world: World, report: int) -> None:
        with transaction.atomic():
            uid = happened(reason="slow").uid
            os.write(report, b"open\n")
            os.read(release_reader, 1)
        os.write(report, f"+{uid}\n".encode())

    pid = start(slow, World.__new__(World), writer)
    os.read(reader, 16)
    faults, others = [], 0
    if connection.vendor == "postgresql":  # on SQLite nobody else can write, which shows as events that wait
        for _ in range(10):
            with transaction.atomic():
                happened(reason="quick")
            others += Sequencer().tick()
    wait_for(lambda: log_health().lag > seconds, timeout=seconds + 30, every=0.2)
    late = log_health()
    if not late.is_late:
        faults.append(f"no alert after {late.lag} s")
    os.write(release, b".")
    told = wait_for(lambda: os.read(reader, 128), timeout=30).decode()
    os.waitpid(pid, 0)
    Sequencer().tick()
    uid = told.strip()[1:]
    if not Leaf.objects.filter(event__uid=uid).exists() or Pending.objects.exists():
        faults.append("an event has no leaf")
    if log_health().lag > 1:
        faults.append("the alert stays on")
    return {"faults": faults, "held": late.lag, "others_meanwhile": others, "leaves": Leaf.objects.count()}


def main(arguments: list[str]) -> int:
    call_command("migrate", verbosity=0)
    connection.close()
    what, amount, *rest = arguments
    result = hold(float(amount)) if what == "hold" else rounds(int(amount), rest[0] if rest else "seed")
    sys.stdout.write(json.dumps(result) + "\n")
    return 1 if result["faults"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
