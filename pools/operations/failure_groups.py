"""What people decide about failure groups: acknowledge, snooze, resolve, assign, write down.

Each verb takes the ids of one group or of several: all change, each with its event, or none does. The permission is
that to requeue, on the pool of each. ``expected_version`` is the sum of the revisions that the caller saw: they only
grow, so the sum has changed if one of them has. Raises ``Denied``, ``Refused``, ``Conflict``, and
``FailureGroup.DoesNotExist`` when the actor may not see one of them.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator
from django.utils import timezone

from audit.actor import Actor
from audit.operation import operation
from audit.recorder import record
from pools.models import FailureGroup, GroupNote, GroupState
from pools.models.failure_group import TRANSITIONS
from pools.operations.base import clean_reason, expect
from pools.operations.errors import Refused
from pools.permissions import REQUEUE, people_who_see, require, visible_pools

MAX_GROUPS = 500
LONGEST_SNOOZE = timedelta(days=366)
MOST_FAILURES = 1_000_000_000
AWAKE: dict[str, Any] = {"snoozed_until": None, "snoozed_total": None, "snoozed_version": None}

# What stands beside the group, after a name and with what the event's detail holds.
DID = {
    "failure_group.acknowledged": "acknowledged it",
    "failure_group.resolved": "resolved it",
    "failure_group.reopened": "reopened it",
    "failure_group.snoozed": "snoozed it {until}",
    "failure_group.unsnoozed": "ended the snooze",
    "failure_group.assigned": "gave it to {owner}",
    "failure_group.runbook_set": "changed the runbook",
}

type Groups = list[FailureGroup]
type Change = Callable[[FailureGroup], dict[str, Any]]


@operation("failure_group.acknowledged")
def group_acknowledge(
    *, actor: Actor, ids: Sequence[int], reason: str = "", expected_version: int | None = None
) -> Groups:
    """Somebody knows about it. A snooze ends."""
    return _move(actor, ids, expected_version, "acknowledge", "failure_group.acknowledged", reason)


@operation("failure_group.resolved")
def group_resolve(*, actor: Actor, ids: Sequence[int], reason: str, expected_version: int | None = None) -> Groups:
    """The cause is gone. Dead letters stay where they are; the next failure makes the group regressed."""
    groups = _locked(actor, ids, expected_version)
    return _moved(actor, groups, "resolve", "failure_group.resolved", clean_reason(reason))


@operation("failure_group.reopened")
def group_reopen(*, actor: Actor, ids: Sequence[int], reason: str = "", expected_version: int | None = None) -> Groups:
    """It was not resolved after all: acknowledged again."""
    return _move(actor, ids, expected_version, "reopen", "failure_group.reopened", reason)


@operation("failure_group.snoozed")
def group_snooze(
    *,
    actor: Actor,
    ids: Sequence[int],
    reason: str,
    until: datetime | None = None,
    failures: int | None = None,
    next_version: bool = False,
    expected_version: int | None = None,
) -> Groups:
    """Until a time, until so many more failures, or until the pool's next config version is published: one of them."""
    groups = _locked(actor, ids, expected_version)
    reason = clean_reason(reason)
    if (until is not None) + (failures is not None) + next_version != 1:
        raise Refused("until", "Say one end: a time, a number of failures, or the next version. Nothing was changed.")
    if until is not None and not timezone.now() < until <= timezone.now() + LONGEST_SNOOZE:
        raise Refused("until", "The time must be within a year from now. Nothing was changed.")
    if failures is not None and not 1 <= failures <= MOST_FAILURES:
        raise Refused("failures", f"The number must be from 1 to {MOST_FAILURES:,}. Nothing was changed.")
    for group in groups:
        if group.state == GroupState.RESOLVED:
            raise Refused("", f"{group.target.name} is resolved: there is nothing to snooze. Nothing was changed.")
        if next_version and not group.pool.is_managed:
            raise Refused("next_version", f"{group.pool.slug} has no config versions. Nothing was changed.")

    def end(group: FailureGroup) -> dict[str, Any]:
        return AWAKE | {
            "snoozed_until": until,
            "snoozed_total": group.total_count + failures if failures else None,
            "snoozed_version": group.pool.published_number + 1 if next_version else None,
        }

    return _changed(actor, groups, "failure_group.snoozed", end, reason, detail=_until)


@operation("failure_group.unsnoozed")
def group_unsnooze(
    *, actor: Actor, ids: Sequence[int], reason: str = "", expected_version: int | None = None
) -> Groups:
    """End a snooze before its time: the group is what it was before."""
    groups = _locked(actor, ids, expected_version)
    for group in groups:
        if not group.is_snoozed:
            raise Refused("", f"{group.target.name} is not snoozed. Nothing was changed.")
    return _changed(actor, groups, "failure_group.unsnoozed", lambda group: AWAKE, _optional(reason))


@operation("failure_group.assigned")
def group_assign(
    *, actor: Actor, ids: Sequence[int], owner: str, reason: str = "", expected_version: int | None = None
) -> Groups:
    """Give it to ``owner``, a username; empty: to nobody. Whoever owns a group may see its pool."""
    groups = _locked(actor, ids, expected_version)
    reason = _optional(reason)
    person: User | None = None
    if owner:
        for pool in {group.pool for group in groups}:
            person = people_who_see(pool).filter(username=owner).first()
            if person is None:
                raise Refused("owner", f"Nobody of this name may see {pool.slug}. Nothing was changed.")
    told = {"owner": owner or "nobody"}
    others = [group for group in groups if group.owner_id != (person.pk if person else None)]
    _changed(actor, others, "failure_group.assigned", lambda group: {"owner": person}, reason, detail=lambda _: told)
    return groups


@operation("failure_group.noted")
def group_note(*, actor: Actor, ids: Sequence[int], text: str, expected_version: int | None = None) -> Groups:
    """Write something down for whoever comes next; the log keeps it too."""
    groups = _locked(actor, ids, expected_version)
    if not text.strip():
        raise Refused("text", "Write something. Nothing was changed.")
    text = clean_reason(text, "text")
    for group in groups:
        GroupNote.objects.create(group=group, author_name=actor.label, text=text)
        record(actor=actor, action="failure_group.noted", target=group.target, detail={"note": text})
    return groups


@operation("failure_group.runbook_set")
def group_set_runbook(
    *, actor: Actor, ids: Sequence[int], url: str, reason: str = "", expected_version: int | None = None
) -> Groups:
    """Where it says what to do about this cause, an http or https address; empty: as for the whole pool."""
    groups = _locked(actor, ids, expected_version)
    reason, url = _optional(reason), url.strip()
    if url:
        try:
            URLValidator(schemes=["http", "https"])(url)
        except ValidationError as error:
            raise Refused("url", "Give a whole http or https address. Nothing was changed.") from error
        if len(url) > 500:
            raise Refused("url", f"The address has {len(url):,} characters; at most 500 fit. Nothing was changed.")
    others = [group for group in groups if group.runbook_url != url]
    _changed(actor, others, "failure_group.runbook_set", lambda group: {"runbook_url": url}, reason)
    return groups


def _locked(actor: Actor, ids: Sequence[int], expected_version: int | None) -> Groups:
    """The groups' rows, locked and fresh, after the checks that all verbs share."""
    if not ids:
        raise Refused("group", "Nothing is selected: name at least one failure group. Nothing was changed.")
    wanted = set(ids)
    if len(wanted) > MAX_GROUPS:
        raise Refused("group", f"At most {MAX_GROUPS:,} groups at once; these are more. Nothing was changed.")
    rows = FailureGroup.objects.select_for_update(of=("self",)).select_related("pool", "owner")
    groups = list(rows.filter(pk__in=wanted, pool__in=visible_pools(actor).values("pk")).order_by("pk"))
    if len(groups) != len(wanted):
        raise FailureGroup.DoesNotExist
    for pool in {group.pool for group in groups}:
        require(actor, REQUEUE, pool)
    what = "This failure group" if len(groups) == 1 else "One of these failure groups"
    expect(sum(group.revision for group in groups), expected_version, what)
    return groups


def _move(
    actor: Actor, ids: Sequence[int], expected_version: int | None, verb: str, action: str, reason: str
) -> Groups:
    return _moved(actor, _locked(actor, ids, expected_version), verb, action, _optional(reason))


def _moved(actor: Actor, groups: Groups, verb: str, action: str, reason: str) -> Groups:
    """Along ``TRANSITIONS``; whoever decides something anew ends a snooze."""
    for group in groups:
        if verb not in TRANSITIONS[GroupState(group.state)]:
            state = group.get_state_display().lower()
            raise Refused("", f"{group.target.name} is {state}: you cannot {verb} it. Nothing was changed.")
    now = timezone.now()

    def change(group: FailureGroup) -> dict[str, Any]:
        return AWAKE | {"state": TRANSITIONS[GroupState(group.state)][verb], "state_at": now}

    return _changed(actor, groups, action, change, reason)


def _changed(
    actor: Actor,
    groups: Groups,
    action: str,
    change: Change,
    reason: str,
    *,
    detail: Callable[[FailureGroup], dict[str, Any]] = lambda group: {},
) -> Groups:
    """Set what ``change`` gives, and tell it: in the log, and beside the group for those who may not read the log."""
    for group in groups:
        new = change(group)
        before = _as_json(group, new)
        for name, value in new.items():
            setattr(group, name, value)
        group.revision += 1
        group.save(update_fields=[*new, "revision"])
        told = detail(group)
        did = DID[action].format(**told)
        GroupNote.objects.create(group=group, author_name=actor.label, did=did, text=reason)
        record(
            actor=actor,
            action=action,
            target=group.target,
            before=before,
            after=_as_json(group, new),
            reason=reason,
            detail=told,
        )
    return groups


def _as_json(group: FailureGroup, names: Iterable[str]) -> dict[str, Any]:
    """Fields of a group as an event holds them; those without a value are left out, and the event has its own time."""
    values = {name: getattr(group, name) for name in names if name != "state_at"}
    return {name: value if isinstance(value, int) else str(value) for name, value in values.items() if value}


def _until(group: FailureGroup) -> dict[str, str]:
    """``until 2026-11-22 09:00 UTC``, ``until 50 more failures``, ``until config v6 is published``."""
    if group.snoozed_until is not None:
        end = f"{group.snoozed_until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    elif group.snoozed_total is not None:
        end = f"{group.snoozed_total - group.total_count:,} more failures"
    else:
        end = f"config v{group.snoozed_version} is published"
    return {"until": f"until {end}"}


def _optional(reason: str) -> str:
    return clean_reason(reason) if reason.strip() else ""
