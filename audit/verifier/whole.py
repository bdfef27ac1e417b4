"""A bundle of the whole log: every event from index 0, a checkpoint after each event that completed one."""

from audit.bundle import HINT_SIZE, HINTS
from audit.merkle import Frontier, leaf_hash
from audit.verifier.lines import Bad, Lines, other
from audit.verifier.trust import Older, Trust


def read_log(lines: Lines, trust: Trust, older: Older, size: int) -> bytes:
    """Check all events. Returns the last line. Raises Bad."""
    lines.gapless = True
    whole = _Whole(lines, trust, older)
    edge, recent, leaf, due = whole.edge, whole.recent, b"", older.due
    for line in lines:
        kind = line[:2]
        if kind == b"L ":
            leaf = line
            hashed = leaf_hash(line[2:-1])
            edge.append(hashed)
            recent.append(hashed[:HINT_SIZE])
            lines.events = edge.size
            if edge.size == due:
                whole.compare()
                due = older.due
            if len(recent) == 2 * HINTS:
                lines.refuse("comes too long after the last line N")
        elif kind == b"N ":
            whole.check_hints(line)
        elif kind == b"C ":
            whole.check_checkpoint(line)
        elif kind == b"E ":
            break
        else:
            other(lines, line, leaf, edge.size - 1)
    whole.check_end(size)
    return line


class _Whole:
    """``edge`` is the tree so far, ``recent`` the beginnings of the leaf hashes since the last hints. Events below
    ``_good`` are proven."""

    def __init__(self, lines: Lines, trust: Trust, older: Older) -> None:
        self.edge = Frontier()
        self.recent: list[bytes] = []
        self._lines = lines
        self._trust = trust
        self._older = older
        self._good = 0
        self._late: Bad | None = None

    def compare(self) -> None:
        """With the kept checkpoints of this size. Hints may say more exactly what is wrong, so they come first."""
        size = self.edge.size
        if self._older.compare(size, self.edge.root()):
            self._good = max(self._good, size if not self._late else 0)
        elif self._late is None:
            what = f"The log does not continue the kept checkpoint over {size:,} events"
            self._late = Bad(f"{what}: {self._suspects(size)} was changed since then.", self._good, size - 1)

    def check_hints(self, line: bytes) -> None:
        """Hints are what the log's tables hold as hashes. They prove nothing, but tell which event was changed."""
        try:
            given = bytes.fromhex(line[2:-1].decode())
        except ValueError:
            given = b""
        if not given or len(given) % HINT_SIZE or len(given) > HINTS * HINT_SIZE:
            self._lines.refuse("is not a line of hints")
        stored = [given[at : at + HINT_SIZE] for at in range(0, len(given), HINT_SIZE)]
        if stored != self.recent:
            raise _explained(self.edge.size - len(self.recent), self.recent, stored)
        self.recent.clear()
        self._raise_late()

    def check_checkpoint(self, line: bytes) -> None:
        size, good = self.edge.size, self._good
        checkpoint = self._trust.read(line, good, size - 1)
        if checkpoint.size != size:
            where = min(size, checkpoint.size)
            raise Bad(
                f"A checkpoint over {checkpoint.size:,} events stands after {size:,}: "
                f"{'events were taken out' if checkpoint.size > size else 'events were put in, or it was moved'}.",
                min(good, where),
                where,
            )
        if checkpoint.size <= self._trust.newest.size:
            self._lines.refuse(f"is a second checkpoint over {size:,} events")
        if checkpoint.root != self.edge.root():
            self._raise_late()
            what = f"The events do not lead to the root that was signed over {size:,} events"
            raise Bad(f"{what}: {self._suspects(size)} is not as it was recorded.", good, size - 1)
        if self.recent:
            self._lines.refuse("is a checkpoint without the hints before it")
        self._trust.accept(checkpoint)
        self._good = size

    def check_end(self, size: int) -> None:
        proven, here = self._trust.newest.size, self.edge.size
        if not proven:
            raise Bad("There is no checkpoint in it, so nothing is proven.", 0)
        if proven < here:
            raise Bad(f"Events from {proven} on stand after the last checkpoint: nothing proves them.", proven)
        if proven != size:
            raise Bad(f"Its head says {size:,} events, its last checkpoint {proven:,}: the end was cut off.", proven)

    def _raise_late(self) -> None:
        if self._late:
            raise self._late

    def _suspects(self, size: int) -> str:
        first, last = self._good, size - 1
        return f"event {first}" if first == last else f"one of the events {first} to {last}"


def _explained(start: int, found: list[bytes], stored: list[bytes]) -> Bad:
    """Why the leaf hashes found from index ``start`` on are not those that the log stored, as far as can be told."""
    same = (at for at, (one, two) in enumerate(zip(found, stored, strict=False)) if one != two)
    at = next(same, min(len(found), len(stored)))
    index = start + at
    if len(found) < len(stored) and found[at:] == stored[at + len(stored) - len(found) :]:
        return Bad(f"Event {index} is missing: what stands in its place belongs further on.", index)
    if len(found) > len(stored) and found[at + len(found) - len(stored) :] == stored[at:]:
        return Bad(f"Event {index} was put in: the log stored no such event there.", index)
    if found[at : at + 1] and found[at] in stored:
        place = start + stored.index(found[at])
        return Bad(f"Events were moved: at index {index} stands the event that belongs at {place}.", index)
    return Bad(f"Event {index} was changed: its bytes do not have the hash that the log stored for it.", index)
