"""What can be decided about failure groups: which verbs their states offer, and what each will do, in words."""

from collections.abc import Sequence

from audit.actor import Actor
from pools.models import FailureGroup, GroupState
from pools.models.failure_group import SNOOZED
from pools.permissions import REQUEUE, can, people_who_see, visible_pools
from pools.selectors.phrases import counted, jobs
from pools.selectors.rights import Right
from pools.selectors.triage import right

# By the state that a group shows.
OFFERED = {
    GroupState.NEW: ("acknowledge", "assign", "snooze", "resolve"),
    GroupState.REGRESSED: ("acknowledge", "assign", "snooze", "resolve"),
    GroupState.ACKNOWLEDGED: ("assign", "snooze", "resolve"),
    SNOOZED: ("unsnooze", "assign", "snooze", "resolve"),
    GroupState.RESOLVED: ("reopen", "assign"),
}
FOR_SEVERAL = ("acknowledge", "assign", "snooze", "resolve")


def find_groups(actor: Actor, ids: Sequence[int]) -> list[FailureGroup]:
    """All of them, by number. Raises ``FailureGroup.DoesNotExist`` when the actor may not see one."""
    found = FailureGroup.objects.filter(pk__in=ids, pool__in=visible_pools(actor)).select_related("pool", "owner")
    groups = list(found.order_by("pk"))
    if len(groups) != len(set(ids)):
        raise FailureGroup.DoesNotExist
    return groups


def right_on(actor: Actor, groups: Sequence[FailureGroup]) -> tuple[Right, list[str]]:
    """Whether the actor may decide about all of these, and the pools where not."""
    pools = {group.pool for group in groups}
    without = sorted(pool.slug for pool in pools if not can(actor, REQUEUE, pool))
    return right(REQUEUE, allowed=not without), without


def owners_of(groups: Sequence[FailureGroup]) -> list[str]:
    """The usernames of everybody who may see the pools of all of these."""
    seen = [set(people_who_see(pool).values_list("username", flat=True)) for pool in {group.pool for group in groups}]
    return sorted(set.intersection(*seen)) if seen else []


def says(verb: str, groups: Sequence[FailureGroup]) -> str:
    """What the verb will do."""
    dead = jobs(sum(group.open_count for group in groups))
    return {
        "acknowledge": "Says that somebody knows about it. Whoever comes next sees who.",
        "snooze": f"Leaves the overview until then; {dead} stay where they are. After that it is what it was before.",
        "unsnooze": "Ends the snooze now: it is what it was before.",
        "resolve": f"Says that the cause is gone. {dead.capitalize()} stay dead letters: requeue or discard them. "
        "When a job fails for this cause again, the group becomes regressed and is back on the overview.",
        "reopen": "Was not resolved after all: it counts as acknowledged again.",
        "assign": "Says who looks after it. Nobody else is kept from acting.",
        "note": "Stands beside the group, with your name and the time.",
        "runbook": "The Runbook button leads there.",
    }[verb]


def named(groups: Sequence[FailureGroup]) -> str:
    return "this failure group" if len(groups) == 1 else counted(len(groups), "failure group")
