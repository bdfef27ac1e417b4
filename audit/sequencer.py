"""Gives pending events their place in the log: gapless indexes in the order of their ids."""

from django.db import connection, transaction
from django.db.models import Max

from audit.merkle import Frontier, leaf_hash
from audit.models import Event, Leaf, Node, Pending
from audit.tree import frontier, kept

BATCH = 1000
BATCHES_A_TICK = 20
# Any number that no other advisory lock of this database uses; the letters spell it out: "audt".
LOCK = 0x61756474
_MARKED = Pending.objects.order_by("event_id").values_list("event_id", flat=True)


class Sequencer:
    """Runs in the controller. A second one beside it is harmless: a lock makes them take turns, batch by batch.

    A batch is one transaction that writes leaves and removes their pending rows, so a kill at any moment leaves it
    wholly done or wholly to do.
    """

    def tick(self) -> int:
        """Integrate what is pending, at most ``BATCH * BATCHES_A_TICK`` events; returns how many."""
        integrated = 0
        for _ in range(BATCHES_A_TICK):
            # Asked before the lock is taken: an idle tick must not queue with writers.
            done = self._batch() if Pending.objects.exists() else 0
            integrated += done
            if done < BATCH:
                break
        return integrated

    @transaction.atomic
    def _batch(self) -> int:
        self._lock()
        placed, events = self._waiting()
        edge = self._edge()
        leaves: list[tuple[int, int, bytes]] = []
        nodes: list[Node] = []
        for event_id, leaf in events:
            hashed = leaf_hash(bytes(leaf))
            leaves.append((edge.size, event_id, hashed))
            nodes += kept(edge.append(hashed))
        if leaves:
            _insert(leaves)
        Node.objects.bulk_create(nodes)
        Pending.objects.filter(pk__in=[*placed, *(event_id for event_id, _ in events)]).delete()
        return len(leaves)

    def _waiting(self) -> tuple[list[int], list[tuple[int, bytes | memoryview]]]:
        """The oldest that wait: ids of those that have a place already, ids and bytes of those that need one.

        Somebody may have marked an event again: it keeps the place that it has. What he marked that is no event is
        passed over. Each query names its rows, for one that may read a whole table takes longer with each batch.
        """
        ids = list(_MARKED[:BATCH])
        while ids:
            placed = list(Leaf.objects.filter(event__in=ids).values_list("event", flat=True))
            events = Event.objects.filter(pk__in=ids).exclude(pk__in=placed).order_by("pk")
            found = list(events.values_list("pk", "leaf"))
            if placed or found:
                return placed, found
            ids = list(_MARKED.filter(event_id__gt=ids[-1])[:BATCH])
        return [], []  # another sequencer was first

    def _edge(self) -> Frontier:
        """Read anew for each batch: another sequencer may have been at work, and memory proves nothing."""
        newest = Leaf.objects.aggregate(newest=Max("index"))["newest"]
        return frontier(0 if newest is None else newest + 1)

    def _lock(self) -> None:
        """Held to the end of the transaction. SQLite needs none: its write transactions begin IMMEDIATE."""
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def _insert(leaves: list[tuple[int, int, bytes]]) -> None:
    """Index, event, hash. In plain SQL: making and taking apart a thousand objects takes longer than storing them."""
    columns = 'INSERT INTO audit_leaf ("index", event_id, hash)'
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            rows = "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bytea[])"
            cursor.execute(f"{columns} {rows}", [list(column) for column in zip(*leaves, strict=True)])
        else:
            cursor.executemany(f"{columns} VALUES (%s, %s, %s)", leaves)
