"""What the API gives of failure groups. Field names are part of the public surface."""

from datetime import datetime
from typing import Any

from ninja import Schema
from pydantic import Field

from pools.models import FailureGroup, GroupNote
from pools.selectors.failure_group import claim, where


class SnoozeOut(Schema):
    """One of them ends it."""

    until: datetime | None
    total_count: int | None = Field(description="over when the group's own has reached it")
    config_version: int | None = Field(description="over when this one is published")


class GroupOut(Schema):
    id: int
    pool: str
    title: str
    task: str
    error: str
    count: int = Field(description="dead letters of the group that match the filter")
    total_count: int
    first_seen: datetime
    last_seen: datetime
    state: str = Field(description="new, acknowledged, snoozed, resolved or regressed")
    owner: str | None
    snooze: SnoozeOut | None
    runbook_url: str = Field(description="its own, or its pool's")
    revision: int


class NoteOut(Schema):
    at: datetime
    author_name: str
    did: str = Field(description="what was decided; empty for a mere note")
    text: str


class FacetOut(Schema):
    """What its open dead letters ran on, by one property."""

    name: str = Field(description="Config version, Host, Queue, Python or rq")
    rows: list[tuple[str, int]] = Field(description="the most frequent values, each with its number")
    others: int = Field(description="dead letters with the values that are left out")


class GroupDetail(GroupOut):
    where: list[FacetOut]
    only: str = Field(description="what all of them share and others do not, as `Only on v41`; else empty")
    notes: list[NoteOut] = Field(description="newest first")


def group_out(group: FailureGroup, count: int) -> dict[str, Any]:
    snooze = {
        "until": group.snoozed_until,
        "total_count": group.snoozed_total,
        "config_version": group.snoozed_version,
    }
    return {
        "id": group.pk,
        "pool": group.pool.slug,
        "title": group.title,
        "task": group.func,
        "error": group.exc_type,
        "count": count,
        "total_count": group.total_count,
        "first_seen": group.first_seen,
        "last_seen": group.last_seen,
        "state": group.shown_state,
        "owner": group.owner.get_username() if group.owner else None,
        "snooze": snooze if group.is_snoozed else None,
        "runbook_url": group.runbook,
        "revision": group.revision,
    }


def group_detail(group: FailureGroup, notes: list[GroupNote]) -> dict[str, Any]:
    facets = where(group)
    return group_out(group, group.open_count) | {
        "where": [{"name": facet.name, "rows": facet.tally.rows, "others": facet.tally.others} for facet in facets],
        "only": claim(group, facets),
        "notes": [NoteOut.from_orm(note) for note in notes],
    }
