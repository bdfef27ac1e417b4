"""Reconciles dead letters with RQ's failed registries: they are the truth, and hold stock workers' failures too."""

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from django.db.models import Max, Q
from django.utils import timezone

from pools.broker import failed_registry
from pools.broker.connection import Broker, get_broker
from pools.broker.failed_registry import Sign, Span
from pools.controller.books import CHUNK, Books, Letter
from pools.controller.differences import differences
from pools.controller.lease import LeaderLease
from pools.controller.reader import Reader
from pools.models import BrokerState, QueueState

TURN = 100_000
"""Jobs that are indexed in one tick, about: then the queues and the clock are looked at anew."""
FULL_EVERY = 60.0
UNFINISHED = Sign(-1, None)


@dataclass
class Look:
    """The last whole look at a queue: when it began, and the registry's sign then."""

    at: float
    sign: Sign | None


class Scanner:
    """Looks for differences in a queue when its registry shows a new sign, or when the last look is a minute old.

    Beside that each tick compares a thousand entries and a thousand letters, in turn, for what left the counts equal.
    """

    name = "scanner"
    interval = 2.0

    def __init__(self, lease: LeaderLease, alias: str = "default") -> None:
        self._lease = lease
        self._alias = alias
        self._looks: dict[str, Look] = {}
        self._queues: list[str] = []
        self._queues_at = -FULL_EVERY
        self._entries: Iterator[tuple[str, list[str]]] = iter(())
        self._letters_at = 0
        self._reader: Reader | None = None

    def tick(self) -> bool:
        broker, more = get_broker(self._alias), False
        self._reader = self._reader or Reader(broker)
        try:
            more = self._scan(broker, Books(self._lease, broker, self._reader))
        finally:
            if not more:  # at its end, or at an error: an answer may be on its way
                self._reader.close()
        return more

    def _scan(self, broker: Broker, books: Books) -> bool:
        queues = self._known_queues(books)
        signs = failed_registry.signs(broker, queues)
        room, looks = TURN, dict[str, Look]()
        for queue in queues:
            began = time.monotonic()
            if room > 0 and self._is_due(queue, signs.get(queue)):
                room = self._look(broker, books, queue, room)
                looks[queue] = Look(began, signs.get(queue) if room > 0 else UNFINISHED)
        self._compare_entries(broker, books, list(signs))
        books.flush()
        self._looks |= looks
        if room <= 0:
            return True
        self._compare_letters(broker, books)
        BrokerState.objects.filter(alias=self._alias).update(scanned_at=timezone.now())
        return False

    def _known_queues(self, books: Books) -> list[str]:
        """Those that the sampler saw, and those with open letters, which are asked for once a minute."""
        if time.monotonic() - self._queues_at >= FULL_EVERY:
            self._queues = list(books.open().order_by().values_list("queue", flat=True).distinct())
            self._queues_at = time.monotonic()
        sampled = QueueState.objects.filter(broker=self._alias).values_list("name", flat=True)
        return sorted({*self._queues, *sampled})

    def _is_due(self, queue: str, sign: Sign | None) -> bool:
        last = self._looks.get(queue)
        return last is None or sign != last.sign or time.monotonic() - last.at >= FULL_EVERY

    def _look(self, broker: Broker, books: Books, queue: str, room: int) -> int:
        """Enter what the broker has more, then close what it has no longer. Returns what is left of ``room``: nothing,
        when it did not come to its end."""
        now = failed_registry.now(broker)
        letters, gone = books.open(queue=queue), dict[str, Letter]()
        live = failed_registry.live_spans(now)
        newest = letters.aggregate(newest=Max("score"))["newest"]
        if newest is not None and newest > live[-1].low:
            live[-1:] = live[-1].cut([newest])  # what is new expires last, as a rule: then all else is counted once
        for span, entries, count in differences(broker, queue, live, lambda span: letters.filter(_in(span)).count()):
            known = books.letters(letters.filter(_in(span))) if count else {}
            for offset in range(0, entries, CHUNK):
                found = failed_registry.entries_in(broker, queue, span, offset, CHUNK)
                new = _unknown(found, known)
                books.enter(queue, new)
                room -= len(new)
                if room <= 0:
                    return 0
            gone |= known
        gone |= books.letters(letters.filter(score__gte=0, score__lte=now)[:TURN])
        books.settle(queue, gone)
        return room

    def _compare_entries(self, broker: Broker, books: Books, queues: Sequence[str]) -> None:
        """Whether the next entries of the registries, one registry after the other, are open letters."""
        queue, ids = next(self._entries, ("", []))
        if not ids:
            self._entries = ((queue, ids) for queue in queues for ids in failed_registry.ids(broker, queue, CHUNK))
            return
        known = set(books.open(queue=queue, job_id__in=ids).values_list("job_id", flat=True))
        books.enter(queue, [job_id for job_id in ids if job_id not in known])

    def _compare_letters(self, broker: Broker, books: Books) -> None:
        """Whether the next open letters are entries."""
        page = books.open(pk__gt=self._letters_at).order_by("pk")[:CHUNK]
        rows = list(page.values_list("queue", "job_id", "pk", "failed_at", "score"))
        self._letters_at = rows[-1][2] if len(rows) == CHUNK else 0
        scores = failed_registry.scores_of(broker, [row[:2] for row in rows])
        lost: dict[str, dict[str, Letter]] = defaultdict(dict)
        for (queue, job_id, pk, failed_at, score), there in zip(rows, scores, strict=True):
            if there is None:
                lost[queue][job_id] = Letter(pk, failed_at, score)
        for queue, letters in lost.items():
            books.settle(queue, letters)


def _unknown(found: Mapping[str, float], known: dict[str, Letter]) -> list[str]:
    """Entries without a letter, or with one that says another score: they failed again. All others leave ``known``."""
    unknown = []
    for job_id, score in found.items():
        letter = known.pop(job_id, None)
        if letter is None or letter.score != score:
            unknown.append(job_id)
    return unknown


def _in(span: Span) -> Q:
    return Q(score__gte=span.low, score__lte=span.high)
