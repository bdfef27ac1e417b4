"""What is signed: the fields of a config and of a run state, as exact bytes. One schema for writer and reader."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pools.signing import strict_json
from pools.signing.errors import BadPayloadError

CONFIG_TYPE = "application/vnd.poolwarden.config+json"
RUN_TYPE = "application/vnd.poolwarden.run+json"

RunState = Literal["running", "paused", "draining"]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
UnixTime = Annotated[int, Field(ge=0)]


class _Payload(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    env: Name
    pool_uid: Name
    pool: Name

    @classmethod
    def read(cls, body: Any) -> Self:
        """Check a parsed payload. Raises BadPayloadError naming the first wrong field."""
        try:
            return cls.model_validate(body)
        except ValidationError as error:
            detail = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part)[:80] for part in detail["loc"]) or "(all)"
            raise BadPayloadError(f"The signed payload's field {field} is wrong: {detail['msg']}.") from None

    @classmethod
    def write(cls, fields: dict[str, Any]) -> bytes:
        """Canonical bytes of a payload. Raises BadPayloadError when ``fields`` are not what ``read`` would accept."""
        cls.read(fields)
        try:
            return strict_json.canonical(fields)
        except ValueError as error:
            raise BadPayloadError(f"The payload cannot be signed: {error}.") from None


class ConfigPayload(_Payload):
    """One version of a pool's config. ``secrets`` maps each name in ``spec["secrets"]`` to its provider URI."""

    type: Literal["poolwarden.config/1"] = Field(alias="_type")
    version: int = Field(ge=1)
    prev_sha256: Digest
    not_before: UnixTime
    expires: UnixTime
    spec: dict[str, Any]
    secrets: dict[str, str]
    change_id: Name

    @field_validator("secrets")
    @classmethod
    def _secrets_are_those_of_the_spec(cls, secrets: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        named = info.data.get("spec", {}).get("secrets", [])
        if not isinstance(named, list) or sorted(map(str, named)) != sorted(secrets):
            raise PydanticCustomError("secrets", "It must hold a reference for each name in spec.secrets and no other")
        return secrets


class BreakerWish(BaseModel):
    """What people want one breaker to be, since the run state of this generation."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    breaker: Name
    state: Literal["open", "closed"]
    generation: int = Field(ge=1)


class RunPayload(_Payload):
    """Whether a pool's workers take jobs. ``generation`` grows with each command; ``issued`` in Unix seconds.

    ``breakers``: what is wanted of them, left out where nothing is.
    """

    type: Literal["poolwarden.run/1"] = Field(alias="_type")
    generation: int = Field(ge=1)
    state: RunState
    issued: UnixTime
    command_id: Name
    breakers: list[BreakerWish] = []


def config_payload(
    *,
    env: str,
    pool_uid: str,
    pool: str,
    version: int,
    prev_sha256: str,
    not_before: int,
    expires: int,
    spec: dict[str, Any],
    secrets: dict[str, str],
    change_id: str,
) -> bytes:
    """The bytes to sign for a config version. Raises BadPayloadError.

    ``spec`` is ``PoolSpec.as_dict()``; times are Unix seconds, ``expires`` is the first at which it is refused;
    ``prev_sha256`` is the hex SHA-256 of the previous version's payload bytes, "" for version 1.
    """
    fields = {"env": env, "pool_uid": pool_uid, "pool": pool, "version": version, "prev_sha256": prev_sha256}
    fields |= {"not_before": not_before, "expires": expires, "spec": spec, "secrets": secrets, "change_id": change_id}
    return ConfigPayload.write({"_type": "poolwarden.config/1", **fields})


def run_payload(
    *,
    env: str,
    pool_uid: str,
    pool: str,
    generation: int,
    state: str,
    issued: int,
    command_id: str,
    breakers: Sequence[dict[str, Any]] = (),
) -> bytes:
    """The bytes to sign for a run state (running, paused or draining). Raises BadPayloadError."""
    fields = {"env": env, "pool_uid": pool_uid, "pool": pool, "generation": generation}
    fields |= {"state": state, "issued": issued, "command_id": command_id}
    fields |= {"breakers": list(breakers)} if breakers else {}
    return RunPayload.write({"_type": "poolwarden.run/1", **fields})
