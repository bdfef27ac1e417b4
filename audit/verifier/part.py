"""A bundle of chosen events, each with its proof of inclusion under one checkpoint."""

from audit.merkle import ProofError, leaf_hash, verify_consistency, verify_inclusion
from audit.verifier.lines import Bad, Lines, hashes_in, other
from audit.verifier.trust import Older, Trust


def read_part(lines: Lines, trust: Trust, older: Older, size: int) -> bytes:
    """Check each event's proof. Returns the last line. Raises Bad."""
    checkpoint = trust.read(next(lines), 0, size - 1)
    if checkpoint.size != size:
        raise Bad(f"The head says {size:,} events, the checkpoint {checkpoint.size:,}.")
    trust.accept(checkpoint)
    index, leaf, old = -1, b"", 0
    for line in lines:
        kind = line[:2]
        if kind == b"I ":
            before, (index, proof) = index, hashes_in(line, b"I ", "index")
            leaf = next(lines)
            if leaf[:2] != b"L ":
                other(lines, leaf, b"", index)
            if index <= before:
                raise Bad(f"Event {index} stands after event {before}.", index)
            try:
                verify_inclusion(index, size, leaf_hash(leaf[2:-1]), proof, checkpoint.root)
            except ProofError as error:
                raise Bad(f"Event {index} is not as it was recorded. {error}", index) from None
            lines.events += 1
        elif kind == b"K " and index < 0:
            old = _check_consistency(line, old, trust, older)
        elif kind == b"E ":
            break
        else:
            other(lines, line, leaf, index)
    if not older.compare(size, checkpoint.root):
        raise Bad(f"Another tree of {size:,} events was signed in the kept checkpoint: the log was rewritten.", 0)
    if older.given and not trust.since and not older.due:
        raise Bad("There is no proof in it from the kept checkpoint: ask for one, or for the whole log.")
    return line


def _check_consistency(line: bytes, before: int, trust: Trust, older: Older) -> int:
    """Compare with the kept checkpoint of that size, if there is one. Returns the size."""
    size, proof = hashes_in(line, b"K ", "from")
    if not before < size <= trust.newest.size:
        raise Bad(f"A proof from {size:,} events to {trust.newest.size:,} has no place after one from {before:,}.")
    kept = older.at(size)
    if kept:
        try:
            verify_consistency(size, trust.newest.size, kept.root, trust.newest.root, proof)
        except ProofError as error:
            what = f"The log does not continue the kept checkpoint over {size:,} events"
            raise Bad(f"{what}: it was rewritten since then. {error}", 0, size - 1) from None
        trust.since = size
    return size
