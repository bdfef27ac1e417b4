"""Config versions: what they say, how they differ, what was signed."""

import base64
import json
from dataclasses import dataclass
from typing import Any

from django.http import Http404

from pools.models import ConfigState, ConfigVersion, Pool
from pools.selectors.fleet import Presence
from pools.spec import DiffLine, PoolSpec, SpecError, diff_lines, parse_spec

CONTEXT = 3  # unchanged lines kept around a change


@dataclass(frozen=True)
class Signature:
    """What the envelope says of itself; nothing here was verified: agents do that."""

    key_ids: list[str]
    payload_type: str
    envelope: str


def spec_of(version: ConfigVersion) -> PoolSpec:
    """Raises SpecError for a version of a schema that this console no longer reads."""
    return parse_spec(json.loads(bytes(version.spec)))


def version_of(pool: Pool, number: int) -> ConfigVersion:
    """Raises Http404."""
    version = pool.config_versions.filter(number=number).first()
    if version is None:
        raise Http404("no such version")
    return version


def newest_spec(pool: Pool) -> PoolSpec | None:
    """What the newest version says, signed or not; None before the first."""
    return spec_at(pool, pool.config_number)


def running_spec(pool: Pool) -> PoolSpec | None:
    """What agents are told to run; None before the first signature."""
    return spec_at(pool, pool.published_number)


def spec_at(pool: Pool, number: int) -> PoolSpec | None:
    """What a version says; None when there is none of this number."""
    version = pool.config_versions.filter(number=number).first() if number else None
    return spec_of(version) if version else None


def history(pool: Pool, before: int | None = None, limit: int = 25) -> tuple[list[ConfigVersion], int | None]:
    """Versions newest first, below number ``before``; and the number that the next page goes on from."""
    versions = pool.config_versions.defer("spec", "envelope")
    if before is not None:
        versions = versions.filter(number__lt=before)
    found = list(versions[: limit + 1])
    return found[:limit], found[limit - 1].number if len(found) > limit else None


def change_to(version: ConfigVersion) -> list[DiffLine]:
    """What this version changed against the one before it; all of it is new in the first."""
    previous = version.pool.config_versions.filter(number=version.number - 1).first()
    return condensed(diff_lines(spec_of(previous) if previous else None, spec_of(version)))


def difference(old: PoolSpec | None, new: PoolSpec) -> list[DiffLine]:
    """The changed lines with some around them; empty when nothing differs."""
    lines = diff_lines(old, new)
    return condensed(lines) if any(line.kind != " " for line in lines) else []


def condensed(lines: list[DiffLine]) -> list[DiffLine]:
    """``lines`` with long unchanged runs replaced by one "…"."""
    changed = [index for index, line in enumerate(lines) if line.kind != " "]
    near = {n for index in changed for n in range(index - CONTEXT, index + CONTEXT + 1)}
    kept: list[DiffLine] = []
    for index, line in enumerate(lines):
        if index in near:
            kept.append(line)
        elif not kept or kept[-1].text != "…":
            kept.append(DiffLine(" ", "…"))
    return kept


def signature_of(version: ConfigVersion) -> Signature | None:
    """None before the controller signed."""
    if not version.envelope:
        return None
    text = bytes(version.envelope).decode("utf-8", "replace")
    envelope: dict[str, Any] = json.loads(text)
    keys = [str(signature.get("keyid", "")) for signature in envelope.get("signatures", [])]
    return Signature(keys, str(envelope.get("payloadType", "")), text)


def signed_payload(version: ConfigVersion) -> dict[str, Any]:
    """The payload as JSON, for the facts that the version page shows; empty before the signature."""
    if not version.envelope:
        return {}
    envelope = json.loads(bytes(version.envelope))
    payload: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return payload


@dataclass(frozen=True)
class VersionLine:
    """A version on the pool's page. ``role``: what it is to the pool now."""

    version: ConfigVersion
    role: str
    attest: str = ""
    change: tuple[DiffLine, ...] = ()

    @property
    def label(self) -> str:
        return f"Config change from v{self.version.number - 1} to v{self.version.number}"


def version_lines(presence: Presence, limit: int = 3) -> list[VersionLine]:
    """The newest versions; the change is shown of the newest only."""
    pool = presence.pool
    versions = list(pool.config_versions.defer("envelope")[:limit])
    workers = sum(presence.versions.values())
    lines = []
    for version in versions:
        runs = version.number == pool.published_number
        attest = f"{presence.versions[version.number]} of {workers} attest it" if runs and workers else ""
        newest = version.number == pool.config_number and version.number > 1
        lines.append(VersionLine(version, _role(version, pool), attest, _change(version) if newest else ()))
    return lines


def _role(version: ConfigVersion, pool: Pool) -> str:
    if version.number == pool.published_number:
        return "published"
    return "signing" if version.state == ConfigState.APPROVED else "older"


def _change(version: ConfigVersion) -> tuple[DiffLine, ...]:
    try:
        return tuple(change_to(version))
    except SpecError:
        return ()
