"""Signed notes and checkpoints against the published vectors."""

import base64
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from audit.checkpoint import (
    COSIGNATURE,
    Checkpoint,
    Note,
    NoteError,
    SignerKey,
    VerifierKey,
    open_checkpoint,
    sign_note,
)
from audit.merkle import EMPTY_ROOT, Frontier, leaf_hash
from tests.audit.vectors import vectors

NOTES = vectors("signed_note")
LOG = vectors("tlog_tiles_log")
WITNESS = vectors("witness_tlog")


def published_signer(text: str, kind: int = 1) -> SignerKey:
    """A key written ``PRIVATE+KEY+name+id+base64``, as the vectors have it."""
    name, _, encoded = text.removeprefix("PRIVATE+KEY+").split("+", 2)
    return SignerKey(name, Ed25519PrivateKey.from_private_bytes(base64.b64decode(encoded)[1:]), kind)


@pytest.mark.parametrize("case", NOTES["cases"], ids=[case["desc"] for case in NOTES["cases"]])
def test_published_notes(case: dict[str, object]) -> None:
    keys = [VerifierKey.parse(key) for key in case["vkeys"]]  # type: ignore[attr-defined]
    raw = bytes.fromhex(str(case["note_hex"]))
    if case["valid"]:
        assert [key.name for key in Note.parse(raw).signed_by(keys)] == case["verified_names"]
    else:
        # A note of which no known key signed is read, and answers with nobody.
        with suppress(NoteError):
            assert Note.parse(raw).signed_by(keys) == {}


def test_published_signature() -> None:
    published = NOTES["signing"]
    signer = published_signer(published["test_skey"])
    assert str(signer.verifier) == published["vkey"]
    assert signer.line(published["text"]) == published["sig_line"]


@pytest.mark.parametrize("key", NOTES["bad_vkeys"])
def test_published_bad_keys(key: str) -> None:
    with pytest.raises(NoteError):
        VerifierKey.parse(key)


def test_a_key_reads_as_it_is_written() -> None:
    for key in (LOG["vkey"], WITNESS["log_vkey"], WITNESS["derived_witness_cosignature_vkey_type04"]):
        assert str(VerifierKey.parse(f"{key}\n")) == key


def test_published_checkpoints_of_every_size() -> None:
    signer, edge = published_signer(LOG["test_skey_PUBLISHED"]), Frontier()
    for size, published in enumerate(LOG["checkpoint_by_size"]):
        checkpoint = Checkpoint(LOG["vkey"].split("+")[0], size, edge.root())
        assert sign_note(checkpoint.text, [signer]).decode() == published
        assert open_checkpoint(published.encode(), VerifierKey.parse(LOG["vkey"])) == checkpoint
        if size < len(LOG["entries_utf8"]):
            edge.append(leaf_hash(LOG["entries_utf8"][size].encode()))


def test_published_cosignature() -> None:
    published = WITNESS["derived_cosignature_v1"]
    signer = published_signer(WITNESS["witness_test_skey_PUBLISHED"], COSIGNATURE)
    assert str(signer.verifier) == WITNESS["derived_witness_cosignature_vkey_type04"]
    note = WITNESS["checkpoints"]["size8"]
    text = Note.parse(note.encode()).text
    assert signer.line(text, 1679315147) == published["line"]
    assert Note.parse((note + published["line"]).encode()).signed_by([signer.verifier]) == {signer.verifier: 1679315147}


class TestWhatIsRefused:
    SIGNER = SignerKey("log.test/a", Ed25519PrivateKey.from_private_bytes(b"a" * 32))
    OTHER = SignerKey("log.test/a", Ed25519PrivateKey.from_private_bytes(b"b" * 32))
    CHECKPOINT = Checkpoint("log.test/a", 3, leaf_hash(b"root"))
    NOTE = sign_note(CHECKPOINT.text, [SIGNER])

    def test_every_changed_bit(self) -> None:
        for at in range(len(self.NOTE)):
            for bit in range(8):
                changed = bytearray(self.NOTE)
                changed[at] ^= 1 << bit
                with pytest.raises(NoteError):
                    open_checkpoint(bytes(changed), self.SIGNER.verifier)

    def test_every_cut(self) -> None:
        for end in range(len(self.NOTE)):
            with pytest.raises(NoteError):
                open_checkpoint(self.NOTE[:end], self.SIGNER.verifier)

    def test_another_key_of_the_same_name(self) -> None:
        with pytest.raises(NoteError, match="is not signed by"):
            open_checkpoint(self.NOTE, self.OTHER.verifier)

    def test_after_a_rotation_either_key_will_do(self) -> None:
        keys = [self.OTHER.verifier, self.SIGNER.verifier]
        assert open_checkpoint(self.NOTE, keys) == self.CHECKPOINT

    def test_another_logs_checkpoint(self) -> None:
        with pytest.raises(NoteError, match="is of the log"):
            open_checkpoint(self.NOTE, self.SIGNER.verifier, origin="log.test/b")

    def test_a_witness_does_not_stand_in_for_the_log(self) -> None:
        witness = SignerKey("log.test/a", self.SIGNER.private, COSIGNATURE)
        text, _, _ = self.NOTE.decode().partition("\n\n")
        raw = f"{text}\n\n{witness.line(f'{text}\n', 5)}".encode()
        with pytest.raises(NoteError, match="is not signed by"):
            open_checkpoint(raw, self.SIGNER.verifier)

    @pytest.mark.parametrize("size", ["", "-1", "+3", "03", "3 ", "1e3", "٣", "99999999999999999999"])
    def test_sizes_that_are_no_sizes(self, size: str) -> None:
        with pytest.raises(NoteError):
            Checkpoint.parse(f"log.test/a\n{size}\n{base64.b64encode(EMPTY_ROOT).decode()}\n")

    @pytest.mark.parametrize("root", ["", "AAAA", base64.b64encode(b"a" * 33).decode(), "?" * 44])
    def test_roots_that_are_no_roots(self, root: str) -> None:
        with pytest.raises(NoteError):
            Checkpoint.parse(f"log.test/a\n3\n{root}\n")

    def test_keys_that_are_not_ed25519(self) -> None:
        with pytest.raises(NoteError, match="PEM"):
            SignerKey.from_pem("log.test/a", b"no key")
        pem = self.SIGNER.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        assert SignerKey.from_pem("log.test/a", pem).verifier == self.SIGNER.verifier
        with pytest.raises(NoteError, match="without spaces"):
            SignerKey.from_pem("log test", pem)


def test_weak_keys_are_refused() -> None:
    """Of some, anybody can make a signature that verifies over almost any message."""
    cases = vectors("ed25519_edge")["cases"]
    weak = {case["key"] for case in cases if {"low_order_A", "non_canonical_A"} & set(case["flags"] or [])}
    assert len(weak) == 14
    for key in {case["key"] for case in cases}:
        text = str(VerifierKey("log.test", 1, bytes.fromhex(key)))
        if key in weak:
            with pytest.raises(NoteError, match=r"low order|canonical"):
                VerifierKey.parse(text)
        else:
            assert str(VerifierKey.parse(text)) == text
