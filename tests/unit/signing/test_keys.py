import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from audit.ed25519 import P
from pools.signing.errors import WeakKeyError
from pools.signing.keys import new_signer, public_key, signer_from_pem
from tests.unit.signing.vectors import vector


def _accepts(public: str, signature: str, message: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(bytes.fromhex(signature), message.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def test_low_order_and_non_canonical_keys_are_refused() -> None:
    refused = {
        case["key"]
        for case in vector("ed25519_edge.json")["cases"]
        if {"low_order_A", "non_canonical_A"} & set(case["flags"] or [])
    }
    assert len(refused) == 14
    for key in refused:
        with pytest.raises(WeakKeyError):
            public_key(bytes.fromhex(key))


def test_every_other_published_key_is_accepted() -> None:
    cases = vector("ed25519_edge.json")["cases"]
    kept = {c["key"] for c in cases if not {"low_order_A", "non_canonical_A"} & set(c["flags"] or [])}
    assert len(kept) == 8
    assert {public_key(bytes.fromhex(key)).keyval["public"] for key in kept} == kept


def test_low_order_key_would_verify_a_signature_nobody_made() -> None:
    """Why the refusal matters: the library itself accepts these."""
    accepted = [
        case
        for case in vector("ed25519_edge.json")["cases"]
        if "low_order_A" in (case["flags"] or []) and _accepts(case["key"], case["sig"], case["msg"])
    ]
    assert len(accepted) > 80


@pytest.mark.parametrize("y", [P, P + 1, P + 18, 2**255 - 1])
@pytest.mark.parametrize("sign_bit", [0, 1])
def test_unreduced_key_is_refused(y: int, sign_bit: int) -> None:
    with pytest.raises(WeakKeyError, match="canonical"):
        public_key((y | sign_bit << 255).to_bytes(32, "little"))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(WeakKeyError, match=f"{length}"):
        public_key(b"\x07" * length)


def test_key_id_is_derived_from_the_key() -> None:
    signer = new_signer()
    public = bytes.fromhex(signer.public_key.keyval["public"])
    assert signer.public_key.keyid == hashlib.sha256(public).hexdigest()


def test_signer_survives_its_pem() -> None:
    signer = new_signer()
    assert signer_from_pem(signer.private_bytes).public_key == signer.public_key


def test_other_private_keys_are_refused() -> None:
    ec = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        signer_from_pem(ec)
    private = new_signer()._private_key
    locked = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"passphrase"))
    with pytest.raises(ValueError, match="encrypted"):
        signer_from_pem(locked)
    with pytest.raises(ValueError):
        signer_from_pem(b"not a key")
