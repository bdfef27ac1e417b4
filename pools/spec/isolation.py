"""What keeps a job from its host and its siblings, and how much of the host it may use."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field, field_validator

from pools.spec.errors import FieldError
from pools.spec.fields import AbsolutePath, Address, Unique
from pools.spec.part import Part

MIB_OF_TEBIBYTE = 1024 * 1024
MOST_PORT = 65_535


class Isolation(Part):
    """Limits hold for one job and all that it starts; without a profile they have no effect."""

    profile: Literal["none", "standard", "strict"] = Field(
        "none",
        title="Profile",
        description="none: a job may do whatever its worker may. standard: as no root, with the limits below, writing "
        "to its own folder only. strict: besides, in a sandbox without Redis, the host's processes, or a network but "
        "what egress names. Agents refuse to start workers where a host cannot give it.",
    )
    memory: int = Field(1024, ge=16, le=MIB_OF_TEBIBYTE, title="Memory", description="MiB that a job may hold.")
    cpu: int = Field(
        3600, ge=1, le=7 * 86_400, title="Processor time", description="Seconds of processor that a job may use."
    )
    open_files: int = Field(
        1024,
        ge=32,
        le=MIB_OF_TEBIBYTE,
        title="Open files",
        description="Files that each of its processes may hold open.",
    )
    processes: int = Field(
        64,
        ge=1,
        le=32_768,
        title="Processes",
        description="Processes and threads that a job may have, itself included.",
    )
    output: int = Field(
        1024,
        ge=1,
        le=MIB_OF_TEBIBYTE,
        title="Output",
        description="MiB that a job may write: its temporary files and what it prints; and the largest single file.",
    )
    writable: Annotated[list[AbsolutePath], Unique()] = Field(
        [],
        max_length=32,
        title="Writable folders",
        description="Absolute paths that jobs may write below, besides their own temporary folder.",
    )

    egress: Annotated[list[Address], Unique()] = Field(
        [],
        max_length=64,
        title="Egress",
        description="Addresses, host:port, that strict jobs reach through the proxy of their sandbox; *. before a name "
        "stands for what lies below it. None: no network.",
    )

    @field_validator("writable")
    @classmethod
    def _not_all(cls, paths: list[str]) -> list[str]:
        if any(not path.strip("/") for path in paths):
            raise ValueError("must name folders, not the whole file system")
        return paths

    @field_validator("egress")
    @classmethod
    def _ports(cls, addresses: list[str]) -> list[str]:
        for address in addresses:
            if int(address.rpartition(":")[2]) > MOST_PORT:
                raise ValueError(f"{address}: a port is at most {MOST_PORT}")
        return addresses


def isolation_faults(isolation: Isolation, jobs: int, secrets: Sequence[str], webhooks: str) -> list[FieldError]:
    """What profile strict cannot be had together with."""
    if isolation.profile != "strict":
        why = "must be empty unless isolation.profile is strict: nothing holds other jobs to it"
        return [FieldError("isolation.egress", why)] if isolation.egress else []
    faults = []
    if jobs != 1:
        faults.append(FieldError("horse.jobs", "must be 1 where isolation.profile is strict: each job has its own"))
    if secrets:
        faults.append(FieldError("secrets", "must be empty where isolation.profile is strict: its jobs can read none"))
    if webhooks != "refuse":
        why = "must be refuse where isolation.profile is strict: a sandbox has no network to call them by"
        faults.append(FieldError("admission.webhooks", why))
    return faults
