"""Which keys an agent trusts, and how many of them must agree: a TUF-style root, placed on the host by its owner."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pools.signing import strict_json
from pools.signing.errors import RootExpiredError, RootInvalidError
from pools.signing.keys import Key, SSlibKey, key_id, public_key

TYPE = "poolwarden.root/1"
MAX_BYTES = 64 * 1024
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Key(_Part):
    keytype: Literal["ed25519"]
    public: Hex32


class _Role(_Part):
    threshold: int = Field(ge=1)
    keyids: list[Hex32] = Field(min_length=1)


class _File(_Part):
    type: Literal["poolwarden.root/1"] = Field(alias="_type")
    version: int = Field(ge=1)
    env: str = Field(min_length=1)
    expires: int = Field(ge=0)
    keys: dict[str, _Key]
    roles: dict[str, _Role]


@dataclass(frozen=True)
class Role:
    """Keys that may speak for a role, by key id, and how many distinct ones must."""

    threshold: int
    keys: dict[str, SSlibKey]


@dataclass(frozen=True)
class TrustRoot:
    """A checked trust root. ``expires`` in Unix seconds; it is valid before that second, not in it."""

    raw: bytes
    version: int
    env: str
    expires: int
    roles: dict[str, Role]

    @classmethod
    def parse(cls, raw: bytes) -> "TrustRoot":
        """Read a trust root file.

        Raises RootInvalidError for a fault in the file, WeakKeyError for a key that must never be trusted. Expiry is
        judged when the root is used (``check_current``), as a running agent's root can expire under it.
        """
        if len(raw) > MAX_BYTES:
            raise RootInvalidError(f"The trust root has {len(raw)} bytes; at most {MAX_BYTES} are allowed.")
        try:
            file = _File.model_validate(strict_json.parse(raw))
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in detail["loc"])
            raise RootInvalidError(f"The trust root's field {field or '(all)'} is wrong: {detail['msg']}.") from None
        except ValueError as error:
            raise RootInvalidError(f"The trust root is not JSON that can be trusted: {error}.") from None
        keys = {keyid: _checked_key(keyid, bytes.fromhex(key.public)) for keyid, key in file.keys.items()}
        roles = {name: _checked_role(name, role, keys) for name, role in file.roles.items()}
        if "config" not in roles:
            raise RootInvalidError("The trust root's field roles.config is missing.")
        return cls(raw, file.version, file.env, file.expires, roles)

    @classmethod
    def create(
        cls, *, env: str, expires: int, keys: Sequence[Key], threshold: int = 1, version: int = 1
    ) -> "TrustRoot":
        """Make the root that lets ``threshold`` of ``keys`` sign configs. Raises as ``parse`` does."""
        publics = [key.keyval["public"] for key in keys]
        ids = [key_id(bytes.fromhex(public)) for public in publics]
        body: dict[str, Any] = {
            "_type": TYPE,
            "version": version,
            "env": env,
            "expires": expires,
            "keys": {
                keyid: {"keytype": "ed25519", "public": public} for keyid, public in zip(ids, publics, strict=True)
            },
            "roles": {"config": {"threshold": threshold, "keyids": ids}},
        }
        return cls.parse(strict_json.canonical(body))

    def dump(self) -> bytes:
        """The file's bytes, as parsed."""
        return self.raw

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of the file's bytes."""
        return hashlib.sha256(self.raw).hexdigest()

    def check_current(self, now: int) -> None:
        """Raise RootExpiredError when the root has expired at ``now`` (Unix seconds)."""
        if now >= self.expires:
            raise RootExpiredError(f"The trust root expired {now - self.expires} s ago (field expires).")


def _checked_key(keyid: str, public: bytes) -> SSlibKey:
    key = public_key(public)
    if keyid != key.keyid:
        raise RootInvalidError(f"The trust root's field keys.{keyid[:64]} is not the id of its key ({key.keyid}).")
    return key


def _checked_role(name: str, role: _Role, keys: dict[str, SSlibKey]) -> Role:
    unknown = [keyid for keyid in role.keyids if keyid not in keys]
    if unknown:
        raise RootInvalidError(f"The trust root's field roles.{name}.keyids names an unknown key, {unknown[0]}.")
    if len(set(role.keyids)) != len(role.keyids):
        raise RootInvalidError(f"The trust root's field roles.{name}.keyids names a key twice.")
    if role.threshold > len(role.keyids):
        raise RootInvalidError(f"The trust root's field roles.{name}.threshold is more than its number of keys.")
    return Role(role.threshold, {keyid: keys[keyid] for keyid in role.keyids})
