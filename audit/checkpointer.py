"""Signs checkpoints of the log, and gives them to anchors and witnesses.

A checkpoint is a promise that can be held against us: the log never again has fewer events, or others. So before the
first signature the stored log is compared with what was promised outside the database, and before each later one with
the newest promise. What does not fit stops all signing until a restart finds it mended; events go on being recorded.

1. sign a note over the leaves that are there
2. store it, which triggers keep from changing
3. give it to every anchor, then to every witness; one that misses it is given the newest at a later tick
"""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from django.db import transaction
from django.db.models import Max
from django.utils import timezone

from audit import conditions, merkle, tree
from audit.actor import system_actor
from audit.anchors import Anchor, AnchorError, Inconsistent, SizeDiffers, WitnessClient
from audit.checkpoint import Checkpoint, Note, NoteError, SignerKey, open_checkpoint, sign_note
from audit.models import Checkpoint as Stored
from audit.models import CheckpointRequest, Cosignature, Leaf
from audit.recorder import record
from audit.target import Target

DATABASE = "the database"


class Mismatch(Exception):
    """The stored log is not the one that was signed. The message is for whoever must find out why."""


class Checkpointer:
    """Runs in the controller. Two of them at once sign the same notes: the signature is deterministic."""

    def __init__(
        self,
        key: SignerKey,
        anchors: Sequence[Anchor],
        witnesses: Sequence[WitnessClient],
        *,
        interval: float,
        retired: Sequence[SignerKey] = (),
    ) -> None:
        """``key``'s name is the log's origin; ``interval`` is in seconds between two checkpoints of a growing log.

        ``retired`` are the keys of before: what they signed still counts, and they vouch once for the key that follows.
        """
        self._key = key
        self._retired = retired
        self._anchors = anchors
        self._witnesses = witnesses
        self._interval = interval
        self._newest: Checkpoint | None = None
        self._compared = False
        self._signed_at = self._handed_out_at = float("-inf")
        self.stopped = ""

    def tick(self) -> int:
        """Sign when it is time and the log has grown; returns the size that was signed, else 0."""
        if self.stopped:
            return 0
        try:
            if not self._compared and not self._compare():
                return 0
            signed = self._sign() if self._is_due() else 0
            if signed or time.monotonic() - self._handed_out_at >= self._interval:
                self._hand_out()
        except Mismatch as mismatch:
            self._stop(str(mismatch))
            return 0
        return signed

    def _compare(self) -> bool:
        """Hold the log against each checkpoint outside and the newest inside. False when an anchor does not answer,
        for without it nobody knows what was promised. Raises Mismatch."""
        for anchor in self._anchors:
            try:
                self._compare_with(anchor)
            except AnchorError as error:
                conditions.report(conditions.of_anchor(anchor.name), good=False, detail=str(error))
                waits = f"Signing waits until the log could be compared with what was signed before. {error}"
                conditions.report(conditions.SIGNING, good=False, detail=waits)
                return False
        self._compare_with_stored()
        # Before anything new is signed: a witness may know of a checkpoint that everything here has forgotten.
        self._hand_out()
        used = [conditions.of_anchor(anchor.name) for anchor in self._anchors]
        conditions.retire([*used, *(conditions.of_witness(witness.name) for witness in self._witnesses)])
        conditions.report(conditions.SIGNING, good=True, size=self._newest.size if self._newest else 0)
        self._compared = True
        return True

    def _compare_with(self, anchor: Anchor) -> None:
        """Raises AnchorError when the anchor cannot be read, else Mismatch."""
        held = conditions.size_of(conditions.of_anchor(anchor.name))  # asked first: another controller may go on
        note = anchor.newest()
        if note is None:
            if held:
                raise Mismatch(f"The {anchor.name} is gone: it held a checkpoint over {events(held)}.")
            return
        checkpoint = self._open(note, f"the {anchor.name}")
        if checkpoint.size < held:
            raise Mismatch(
                f"The {anchor.name} was rolled back: its newest checkpoint is over {events(checkpoint.size)}, and it "
                f"was given one over {held:,}."
            )
        self._expect(checkpoint, f"the {anchor.name}")

    def _compare_with_stored(self) -> Stored | None:
        row = Stored.objects.order_by("-size").first()
        if row is not None:
            self._expect(self._open(bytes(row.note), DATABASE), DATABASE)
        return row

    def _open(self, note: bytes, where: str) -> Checkpoint:
        try:
            return open_checkpoint(note, [key.verifier for key in (self._key, *self._retired)])
        except NoteError as error:
            raise Mismatch(f"The newest checkpoint in {where} is not this log's: {error}") from error

    def _expect(self, checkpoint: Checkpoint, where: str) -> None:
        """Remember the checkpoint as promised, and raise Mismatch unless the stored log keeps the promise."""
        if self._newest is None or checkpoint.size > self._newest.size:
            self._newest = checkpoint
        stored = leaves()
        if checkpoint.size > stored:
            raise Mismatch(
                f"The checkpoint in {where} is over {events(checkpoint.size)}, and the database has {stored:,}: "
                "events were deleted, or an older copy was restored."
            )
        if root(checkpoint.size) != checkpoint.root:
            raise Mismatch(
                f"The first {events(checkpoint.size)} are not those of the checkpoint in {where}: "
                "the log was rewritten."
            )

    def _is_due(self) -> bool:
        return time.monotonic() - self._signed_at >= self._interval or CheckpointRequest.objects.exists()

    def _sign(self) -> int:
        """Sign the log as it is, if it has grown. Raises Mismatch when it does not continue what was signed last."""
        requests = list(CheckpointRequest.objects.values_list("pk", flat=True))
        self._compare_with_stored()  # another controller may have signed since
        if self._newest is not None:
            self._expect(self._newest, "what was signed before")
        size = leaves()
        new = Checkpoint(self._key.name, size, root(size)) if size > self._size else None
        if new or requests:
            with transaction.atomic():
                if new:
                    self._store(new)
                CheckpointRequest.objects.filter(pk__in=requests).delete()
        self._newest = new or self._newest
        self._signed_at = time.monotonic()
        return new.size if new else 0

    @property
    def _size(self) -> int:
        """Of the newest checkpoint that is known."""
        return self._newest.size if self._newest else 0

    def _store(self, new: Checkpoint) -> None:
        note = sign_note(new.text, self._signers())
        Stored.objects.create(size=new.size, root=new.root, note=note, at=timezone.now())
        conditions.report(conditions.SIGNING, good=True, size=new.size)

    def _signers(self) -> Sequence[SignerKey]:
        """The first checkpoint after a rotation is signed with the old keys, too: who trusts one of them sees by it
        which key is the log's from now on."""
        before = Stored.objects.order_by("-size").first() if self._retired else None
        follows = before is not None and not Note.parse(bytes(before.note)).signed_by([self._key.verifier])
        return [self._key, *self._retired] if follows else [self._key]

    def _hand_out(self) -> None:
        """Give the newest checkpoint to whoever has not got it. Raises Mismatch when a witness knows better."""
        newest = Stored.objects.order_by("-size").first()
        if newest is not None:
            for anchor in self._anchors:
                self._anchor(anchor, newest)
            for witness in self._witnesses:
                self._ask(witness, newest)
        self._handed_out_at = time.monotonic()

    def _anchor(self, anchor: Anchor, newest: Stored) -> None:
        name = conditions.of_anchor(anchor.name)
        if conditions.is_good_at(name, newest.size):
            return
        try:
            anchor.put(bytes(newest.note), newest.size)
        except AnchorError as error:
            conditions.report(name, good=False, detail=str(error))
        else:
            conditions.report(name, good=True, size=newest.size)

    def _ask(self, witness: WitnessClient, newest: Stored) -> None:
        """At start a witness is asked even when it has cosigned before: its word is what nothing here can change."""
        name = conditions.of_witness(witness.name)
        if self._compared and conditions.is_good_at(name, newest.size):
            return
        try:
            seen = conditions.size_of(name)
            line = self._cosigned(witness, newest, seen if seen <= newest.size else 0)
        except Inconsistent as alarm:
            raise Mismatch(str(alarm)) from alarm
        except AnchorError as error:
            conditions.report(name, good=False, detail=str(error))
            return
        note = Note.parse(bytes(newest.note) + line.encode())
        at = datetime.fromtimestamp(note.signed_by([witness.key])[witness.key], UTC)
        with transaction.atomic():
            Cosignature.objects.get_or_create(
                checkpoint=newest, witness=witness.name, defaults={"line": line, "at": at}
            )
            conditions.report(name, good=True, size=newest.size)

    def _cosigned(self, witness: WitnessClient, newest: Stored, seen: int) -> str:
        """The witness's line; asked a second time when it saw another size than we thought."""
        note = bytes(newest.note)
        try:
            return witness.cosign(note, seen, growth(seen, newest.size))
        except SizeDiffers as differs:
            stored = Stored.objects.order_by("-size").values_list("size", flat=True)[0]  # another controller signs, too
            if differs.size > stored:
                raise Mismatch(
                    f"The witness {witness.name} saw a checkpoint over {events(differs.size)}, and the newest in the "
                    f"database is over {stored:,}: an older copy was restored, or checkpoints were deleted."
                ) from differs
            if differs.size > newest.size:
                raise
            return witness.cosign(note, differs.size, growth(differs.size, newest.size))

    def _stop(self, why: str) -> None:
        with transaction.atomic():
            if conditions.report(conditions.SIGNING, good=False, detail=why):
                record(
                    actor=system_actor("controller"),
                    action="log.signing_stopped",
                    target=Target(kind="log", id=self._key.name, name=self._key.name),
                    detail={"why": why},
                )
        self.stopped = why


def events(count: int) -> str:
    return "1 event" if count == 1 else f"{count:,} events"


def leaves() -> int:
    """How many events have their place in the log."""
    newest = Leaf.objects.aggregate(newest=Max("index"))["newest"]
    return 0 if newest is None else newest + 1


def root(size: int) -> bytes:
    """The root of the first ``size`` leaves, from the stored nodes. Raises Mismatch when some are gone."""
    try:
        return tree.root(size)
    except LookupError as error:
        raise Mismatch(str(error)) from error


def growth(seen: int, size: int) -> list[bytes]:
    """What shows a witness that the tree of ``size`` leaves continues the one of ``seen``. Raises Mismatch."""
    try:
        return merkle.consistency_proof(seen, size, tree.read) if seen else []
    except LookupError as error:
        raise Mismatch(str(error)) from error
