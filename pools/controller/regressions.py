"""A group that was resolved and fails again."""

from collections.abc import Mapping
from datetime import datetime

from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from pools.controller.notifying.notices import note
from pools.models import FailureGroup, GroupNote, GroupState, Occasion

CONTROLLER = system_actor("controller")


def regress(failed: Mapping[int, datetime]) -> None:
    """Of these groups, with when they last failed, turn those that were resolved before into regressed ones, each with
    its event. A failure from before, that is read late, is no regression.

    Runs in the transaction that counted the failures, which holds these rows: whoever resolves one meanwhile waits.
    """
    resolved = FailureGroup.objects.filter(pk__among=failed, state=GroupState.RESOLVED).select_related("pool")
    groups = [group for group in resolved.order_by("pk") if group.state_at is None or failed[group.pk] > group.state_at]
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
