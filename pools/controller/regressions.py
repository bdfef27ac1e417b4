"""A group that was resolved and fails again."""

from collections.abc import Iterable

from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from pools.controller.notifying.notices import note
from pools.models import FailureGroup, GroupNote, GroupState, Occasion

CONTROLLER = system_actor("controller")


def regress(failed: Iterable[int]) -> None:
    """Of the groups that just failed, by id, turn those that were resolved into regressed ones, each with its event.

    Runs in the transaction that counted the failures, which holds these rows: whoever resolves one meanwhile waits.
    """
    resolved = FailureGroup.objects.filter(pk__among=failed, state=GroupState.RESOLVED).select_related("pool")
    groups = list(resolved.order_by("pk"))
    note(Occasion.REGRESSED, groups)
    for group in groups:
        group.state, group.state_at, group.revision = GroupState.REGRESSED, timezone.now(), group.revision + 1
        group.save(update_fields=["state", "state_at", "revision"])
        GroupNote.objects.create(group=group, author_name=CONTROLLER.name, did="saw it fail again")
        record(
            actor=CONTROLLER,
            action="failure_group.regressed",
            target=group.target,
            before={"state": str(GroupState.RESOLVED)},
            after={"state": str(group.state), "failures": group.total_count},
        )
