"""Key files: made once, readable by their owner alone, refused otherwise."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from pools.controller.keyring import Keyring, KeyringError, open_keyring, rotate_log_key
from pools.controller.log_checkpoints import write_verifier_keys
from pools.controller.trust_root import VALIDITY, write_trust_root
from pools.signing import TrustRoot
from pools.signing.keys import CryptoSigner, new_signer


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def opened(home: Path) -> Keyring:
    return open_keyring(home, lambda *_: None)


def unheard(root: TrustRoot) -> None:
    """Nobody records it."""


def written(path: Path, env: str, signer: CryptoSigner, announce: Callable[[TrustRoot], None] = unheard) -> TrustRoot:
    return write_trust_root(path, env, signer, announce)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_made_on_first_start_and_kept(home: Path) -> None:
    announced: list[tuple[str, str]] = []
    first = open_keyring(home, lambda name, keyid: announced.append((name, keyid)))
    again = open_keyring(home, lambda *made: announced.append(made))
    assert again.config.public_key == first.config.public_key
    assert again.log.public_key == first.log.public_key != first.config.public_key
    assert announced == [("config", first.config.public_key.keyid), ("log", first.log.public_key.keyid)]
    assert mode(home / "keys") == 0o700
    assert {path.name: mode(path) for path in (home / "keys").iterdir()} == {"config.pem": 0o600, "log.pem": 0o600}


def test_a_key_that_was_not_recorded_does_not_exist(home: Path) -> None:
    def refuse(name: str, keyid: str) -> None:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError):
        open_keyring(home, refuse)
    assert list((home / "keys").iterdir()) == []


def test_the_key_of_a_faster_controller_counts(home: Path) -> None:
    theirs = new_signer()

    def be_late(name: str, keyid: str) -> None:
        if name == "config":
            path = home / "keys" / "config.pem"
            path.write_bytes(theirs.private_bytes)
            path.chmod(0o600)

    assert open_keyring(home, be_late).config.public_key == theirs.public_key


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o660, 0o601, 0o777])
def test_a_file_that_others_may_use_is_refused(home: Path, bits: int) -> None:
    opened(home)
    (home / "keys" / "config.pem").chmod(bits)
    with pytest.raises(KeyringError, match=f"mode {bits:04o}.*must be 0600"):
        opened(home)
    assert mode(home / "keys" / "config.pem") == bits, "refused, not repaired"


def test_a_folder_that_others_may_use_is_refused(home: Path) -> None:
    opened(home)
    (home / "keys").chmod(0o755)
    with pytest.raises(KeyringError, match=r"keys has mode 0755.*must be 0700"):
        opened(home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_owner_is_refused(home: Path) -> None:
    opened(home)
    os.chown(home / "keys" / "log.pem", 65534, 65534)
    with pytest.raises(KeyringError, match=r"log\.pem belongs to another user"):
        opened(home)


def test_a_link_is_refused(home: Path, tmp_path: Path) -> None:
    opened(home)
    path = home / "keys" / "config.pem"
    path.rename(tmp_path / "elsewhere.pem")
    path.symlink_to(tmp_path / "elsewhere.pem")
    with pytest.raises(KeyringError, match="cannot read the key file"):
        opened(home)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xff" * 100, b"-----BEGIN PRIVATE KEY-----\n"])
def test_garbage_is_refused(home: Path, content: bytes) -> None:
    opened(home)
    (home / "keys" / "config.pem").write_bytes(content)
    with pytest.raises(KeyringError, match=r"config\.pem does not hold an unencrypted Ed25519 private key"):
        opened(home)


def test_a_home_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(KeyringError, match="cannot keep keys in"):
        opened(tmp_path / "home")


def test_the_trust_root_names_the_config_key_and_stays(home: Path) -> None:
    keyring = opened(home)
    root = written(home / "trust-root.json", "test", keyring.config)
    assert TrustRoot.parse((home / "trust-root.json").read_bytes()) == root
    assert (root.env, root.version, root.roles["config"].threshold) == ("test", 1, 1)
    assert set(root.roles["config"].keys) == {keyring.config.public_key.keyid}
    assert written(home / "trust-root.json", "test", keyring.config) == root


def test_another_key_environment_or_a_near_end_makes_the_next_trust_root(home: Path) -> None:
    keyring = opened(home)
    path = home / "trust-root.json"
    first = written(path, "test", keyring.config)
    assert written(path, "other", keyring.config).version == 2
    other = written(path, "other", keyring.log)
    assert (other.version, set(other.roles["config"].keys)) == (3, {keyring.log.public_key.keyid})
    old = TrustRoot.create(
        env="other", expires=first.expires - VALIDITY * 3 // 4, keys=[keyring.log.public_key], version=7
    )
    path.write_bytes(old.dump())
    assert written(path, "other", keyring.log).version == 8


def test_a_rotation_keeps_the_old_key_beside_the_new_one(home: Path) -> None:
    first = opened(home)
    said: list[tuple[str, str]] = []
    second = rotate_log_key(home, lambda old, new: said.append((old.public_key.keyid, new.public_key.keyid)))
    assert said == [(first.log.public_key.keyid, second.log.public_key.keyid)]
    assert [signer.public_key for signer in second.retired] == [first.log.public_key]
    third = rotate_log_key(home, lambda *_: None)
    assert {key.public_key.keyid for key in third.retired} == {first.log.public_key.keyid, second.log.public_key.keyid}
    assert opened(home).log.public_key == third.log.public_key
    assert opened(home).config.public_key == first.config.public_key
    assert {mode(path) for path in (home / "keys").iterdir()} == {0o600} and len(list((home / "keys").iterdir())) == 4


def test_a_rotation_that_nobody_recorded_did_not_happen(home: Path) -> None:
    before = opened(home)

    def refuse(*_: object) -> None:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError):
        rotate_log_key(home, refuse)
    after = opened(home)
    assert after.log.public_key == before.log.public_key and after.retired == []
    assert sorted(path.name for path in (home / "keys").iterdir()) == ["config.pem", "log.pem"]


def test_a_rotation_killed_half_way_leaves_the_old_key_in_place(home: Path) -> None:
    before = opened(home)
    keys = home / "keys"
    os.link(keys / "log.pem", keys / f"log.retired-{before.log.public_key.keyid[:16]}.pem")
    assert opened(home).retired == [], "a key does not vouch for itself"
    after = rotate_log_key(home, lambda *_: None)
    assert [signer.public_key for signer in after.retired] == [before.log.public_key]


def test_the_verifier_keys_are_written_with_the_newest_first(home: Path) -> None:
    path = home / "log.vkey"
    (first,) = write_verifier_keys(path, opened(home))
    keys = write_verifier_keys(path, rotate_log_key(home, lambda *_: None))
    assert keys[1] == first != keys[0]
    assert path.read_text() == f"{keys[0]}\n{keys[1]}\n" and mode(path) == 0o644


def test_each_new_trust_root_is_announced_before_it_is_there(home: Path) -> None:
    keyring, path, said = opened(home), home / "trust-root.json", list[int]()

    def announce(root: TrustRoot) -> None:
        assert not path.exists() or TrustRoot.parse(path.read_bytes()).version < root.version
        said.append(root.version)

    for env in ("test", "test", "other"):
        written(path, env, keyring.config, announce)
    assert said == [1, 2]

    def refuse(root: TrustRoot) -> None:
        raise RuntimeError("no database")

    with pytest.raises(RuntimeError):
        written(path, "third", keyring.config, refuse)
    assert TrustRoot.parse(path.read_bytes()).version == 2
