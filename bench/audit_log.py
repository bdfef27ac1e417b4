"""The log at growing sizes: integrating, appending, proving, paging, exporting, verifying.

    python -m bench.audit_log [--sizes 10000,100000,1000000]
    python -m tests.support.postgres python -m bench.audit_log

On SQLite in a temporary folder, or in the PostgreSQL database that POOLWARDEN_DATABASE_URL names. Every figure at the
largest size stands beside the one at the smallest, as a ratio: what does not grow with the log stays near 1.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import django

BATCH = 5_000
RUNS = 30
ACTORS, POOLS = 40, 25
# The verifier as a person runs it, and the most memory that it ever had, in kB.
VERIFY = """
import runpy, sys
try:
    runpy.run_module("audit.verify", run_name="__main__", alter_sys=True)
finally:
    print(open("/proc/self/status").read())
"""
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    with tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as folder:
        os.environ |= {"POOLWARDEN_HOME": folder, "POOLWARDEN_LOG_LEVEL": "ERROR", "POOLWARDEN_ENV": "bench"}
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "controlplane.settings")
        django.setup()
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        print(f"{connection.vendor}, {os.cpu_count()} cores")
        figures = [measured(size, Path(folder)) for size in sizes]
        report(sizes, figures)


def report(sizes: list[int], figures: list[dict[str, float]]) -> None:
    print(f"{'':34}" + "".join(f"{size:>14,}" for size in sizes) + f"{'last / first':>14}")
    for name in figures[-1]:
        found = [figure[name] for figure in figures]
        print(f"{name:34}" + "".join(f"{value:>14,.2f}" for value in found) + f"{found[-1] / found[0]:>14.2f}")


def measured(size: int, folder: Path) -> dict[str, float]:
    """Fill the log up to ``size`` events and measure there."""
    figures = {"integrated, leaves/s": grown(size)}
    figures["recorded in a transaction, ms"] = append()
    figures |= proofs(size) | pages(size) | offline(folder)
    return figures


def grown(size: int) -> float:
    """Leaves a second of the sequencer over what is missing up to ``size``."""
    from audit.models import Leaf, Pending
    from audit.sequencer import Sequencer

    fill(size - Leaf.objects.count())
    waiting, sequencer, began = Pending.objects.count(), Sequencer(), time.perf_counter()
    while sequencer.tick():
        pass
    return waiting / (time.perf_counter() - began)


def fill(count: int) -> None:
    from django.db import transaction

    from audit.models import Event

    chance, made = random.Random(count), 0
    while made < count:
        batch = [event(chance) for _ in range(min(BATCH, count - made))]
        with transaction.atomic():
            Event.objects.bulk_create(batch, batch_size=500)
        made += len(batch)


def event(chance: random.Random) -> Any:
    """An event as ``record`` makes it, of one of a few actors, pools and actions."""
    from audit.models import Event
    from audit.recorder import leaf_bytes

    pool = f"pool-{chance.randrange(POOLS):02d}"
    made = Event(
        uid=uuid.UUID(int=chance.getrandbits(128), version=4),
        schema_version=2,
        at=BEGAN + timedelta(seconds=chance.randrange(25_000_000)),
        actor_kind="user",
        actor_id=str(actor := int(chance.paretovariate(1)) % ACTORS),
        actor_name=f"person-{actor:02d}",
        action=chance.choice(["pool.paused", "pool.resumed", "config.signed", "secret.resolved", "secret.resolved"]),
        target_kind="pool",
        target_id=pool,
        target_name=pool,
        pool=pool,
        outcome="done",
        reason=chance.choice(["", "month-end freeze", "the payment gateway is down", "ticket 48213"]),
        request_id=f"{chance.getrandbits(128):032x}",
        before={"state": "running"},
        after={"state": "paused"},
        detail={"version": chance.randrange(90)},
    )
    made.leaf = leaf_bytes(made, {"address": f"{chance.getrandbits(256):064x}"})
    return made


def append() -> float:
    from django.db import transaction

    from audit.actor import Actor
    from audit.recorder import record
    from audit.sequencer import Sequencer
    from audit.target import Target

    actor = Actor(kind="user", id="7", name="person-07", request_id="0123456789abcdef", address="10.0.0.1")

    def one() -> None:
        with transaction.atomic():
            record(actor=actor, action="pool.paused", target=Target("pool", "1", "pool-01", "pool-01"), reason="b")

    taken = typical(one)
    Sequencer().tick()
    return taken


def proofs(size: int) -> dict[str, float]:
    from audit import merkle, tree

    chance = random.Random(size)
    return {
        "inclusion proof, ms": typical(lambda: merkle.inclusion_proof(chance.randrange(size), size, tree.read)),
        "consistency proof, ms": typical(lambda: merkle.consistency_proof(chance.randrange(1, size), size, tree.read)),
        "root, ms": typical(lambda: tree.root(size)),
    }


def pages(size: int) -> dict[str, float]:
    """Pages of the timeline as the view asks for them: the first, a deep one, and filtered ones."""
    from audit.actor import system_actor
    from audit.selectors import Filters, events

    reader = system_actor("bench")
    wanted = {
        "all": Filters(),
        "actor, one in two": Filters(actor="person-01"),
        "actor, one in 600": Filters(actor="person-25"),
        "action": Filters(action="config"),
        "pool and outcome": Filters(pool="pool-07", outcome="done"),
        "target and action": Filters(target="pool-07", action="pool.paused"),
        "nobody": Filters(actor="nobody"),
        "one day": Filters(since=BEGAN + timedelta(days=200), until=BEGAN + timedelta(days=201)),
        "text": Filters(q="48213"),
    }
    figures = {f"page: {name}, ms": typical(lambda f=f: events(reader, f)) for name, f in wanted.items()}  # type: ignore[misc]
    middle = events(reader, Filters(), size=1).events[0].placed.index // 2
    figures["page: all, half way down, ms"] = typical(lambda: events(reader, Filters(), before=middle))
    return figures


def offline(folder: Path) -> dict[str, float]:
    """Write the whole log as a bundle and verify it in a process of its own."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from django.core.management import call_command
    from django.utils import timezone

    from audit import tree
    from audit.checkpoint import Checkpoint, SignerKey, sign_note
    from audit.models import Checkpoint as Row
    from audit.models import Leaf

    signer = SignerKey("poolwarden/bench", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    (folder / "log.vkey").write_text(f"{signer.verifier}\n")
    size = Leaf.objects.count()
    root = tree.root(size)
    note = sign_note(Checkpoint("poolwarden/bench", size, root).text, [signer])
    Row.objects.create(size=size, root=root, note=note, at=timezone.now())
    out = folder / "bundle"
    began = time.perf_counter()
    call_command("audit_export", "--out", str(out), verbosity=0)
    exported = time.perf_counter() - began
    began = time.perf_counter()
    command = [sys.executable, "-c", VERIFY, str(out), "--key", str(folder / "log.vkey"), "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    verified = time.perf_counter() - began
    assert done.returncode == 0, f"the bundle does not verify: {done.stdout}"
    out.unlink()
    peak = int(done.stdout.rpartition("VmHWM:")[2].split()[0])
    return {
        "exported, events/s": size / exported,
        "verified, events/s": size / verified,
        "verifier's memory, MB": peak / 1024,
    }


def typical(action: Callable[[], object]) -> float:
    """The median of ``RUNS`` runs, in ms."""
    action()
    return median(times(action))


def times(action: Callable[[], object]) -> Iterator[float]:
    for _ in range(RUNS):
        began = time.perf_counter()
        action()
        yield (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
