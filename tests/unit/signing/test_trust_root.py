import hashlib
import json
from typing import Any

import pytest

from pools.signing import TrustRoot
from pools.signing.errors import RootExpiredError, RootInvalidError, WeakKeyError
from pools.signing.keys import new_signer
from pools.signing.trust_root import MAX_BYTES


@pytest.fixture
def root() -> TrustRoot:
    return TrustRoot.create(env="test", expires=1000, keys=[new_signer().public_key for _ in range(2)], threshold=2)


def _parse(body: Any) -> TrustRoot:
    return TrustRoot.parse(json.dumps(body).encode())


def test_root_survives_its_file(root: TrustRoot) -> None:
    again = TrustRoot.parse(root.dump())
    assert again == root
    assert again.sha256 == hashlib.sha256(root.dump()).hexdigest()
    assert (again.env, again.version, again.roles["config"].threshold) == ("test", 1, 2)


def test_file_written_by_hand_keeps_its_own_digest(root: TrustRoot) -> None:
    text = json.dumps(json.loads(root.dump()), indent=2).encode()
    assert TrustRoot.parse(text).sha256 == hashlib.sha256(text).hexdigest()


def test_root_expires_in_its_second(root: TrustRoot) -> None:
    root.check_current(999)
    with pytest.raises(RootExpiredError):
        root.check_current(1000)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("_type", "poolwarden.root/2"),
        ("version", 0),
        ("version", True),
        ("version", "1"),
        ("env", ""),
        ("env", 7),
        ("expires", -1),
        ("expires", None),
        ("keys", []),
        ("roles", {}),
        ("roles", {"other": {"threshold": 1, "keyids": ["0" * 64]}}),
        ("extra", 1),
    ],
)
def test_broken_field_is_named(root: TrustRoot, field: str, value: Any) -> None:
    with pytest.raises(RootInvalidError, match="roles" if field == "roles" else field):
        _parse(json.loads(root.dump()) | {field: value})


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"1", b" " * (MAX_BYTES + 1), b'{"a":1,"a":1}'])
def test_other_bytes_are_not_a_root(raw: bytes) -> None:
    with pytest.raises(RootInvalidError, match="Nothing was changed"):
        TrustRoot.parse(raw)


def test_one_key_under_two_ids(root: TrustRoot) -> None:
    body = json.loads(root.dump())
    first, second = body["roles"]["config"]["keyids"]
    body["keys"][second] = body["keys"][first]
    with pytest.raises(RootInvalidError, match="not the id of its key"):
        _parse(body)


def test_one_key_named_twice_in_a_role(root: TrustRoot) -> None:
    body = json.loads(root.dump())
    body["roles"]["config"]["keyids"] = [body["roles"]["config"]["keyids"][0]] * 2
    with pytest.raises(RootInvalidError, match="twice"):
        _parse(body)


@pytest.mark.parametrize("threshold", [0, 3, True])
def test_threshold_out_of_reach_or_of_none(root: TrustRoot, threshold: int) -> None:
    body = json.loads(root.dump())
    body["roles"]["config"]["threshold"] = threshold
    with pytest.raises(RootInvalidError, match="threshold"):
        _parse(body)


def test_role_of_an_unknown_key(root: TrustRoot) -> None:
    body = json.loads(root.dump())
    body["roles"]["config"]["keyids"].append("0" * 64)
    with pytest.raises(RootInvalidError, match="unknown key"):
        _parse(body)


def test_low_order_key_in_a_root(root: TrustRoot) -> None:
    body = json.loads(root.dump())
    public = bytes.fromhex("01" + "00" * 31)
    keyid = hashlib.sha256(public).hexdigest()
    body["keys"][keyid] = {"keytype": "ed25519", "public": public.hex()}
    with pytest.raises(WeakKeyError, match="low order"):
        _parse(body)


@pytest.mark.parametrize("public", ["", "ab", "zz" * 32, "AB" * 32])
def test_public_key_that_is_not_lower_case_hex(root: TrustRoot, public: str) -> None:
    body = json.loads(root.dump())
    next(iter(body["keys"].values()))["public"] = public
    with pytest.raises(RootInvalidError, match="public"):
        _parse(body)
