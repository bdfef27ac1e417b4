"""Every write, one verb a function."""

from pools.operations.access import access_grant_role, access_revoke_role
from pools.operations.approvals import operation_approve, operation_decline, operation_lapse
from pools.operations.breakers import breaker_close, breaker_open
from pools.operations.config import config_publish, config_renew, config_restore
from pools.operations.dead_letters import discard_create, operation_again, requeue_create
from pools.operations.edits import edit_create
from pools.operations.failure_groups import (
    group_acknowledge,
    group_assign,
    group_note,
    group_reopen,
    group_resolve,
    group_set_runbook,
    group_snooze,
    group_unsnooze,
)
from pools.operations.moves import (
    operation_cancel,
    operation_pause,
    operation_rate,
    operation_resume,
    operation_start,
)
from pools.operations.notifications import Wanted, channel_change, channel_create, channel_remove, channel_test
from pools.operations.payloads import payload_hide, payload_reveal
from pools.operations.plan import Canary, Plan
from pools.operations.pools import (
    POOL_DESCRIPTION,
    pool_change,
    pool_create,
    pool_drain,
    pool_pause,
    pool_resume,
    pool_scale,
)
from pools.operations.queue_moves import move_create
from pools.operations.recall import operation_recall
from pools.operations.saved_views import view_remove, view_rename, view_save, view_set_default
from pools.operations.secrets import secret_change, secret_register, secret_remove
from pools.operations.selection import Selection
from pools.operations.shelf import archive_create, guard_quarantine, operation_undo, quarantine_create, restore_create

__all__ = [
    "POOL_DESCRIPTION",
    "Canary",
    "Plan",
    "Selection",
    "Wanted",
    "access_grant_role",
    "access_revoke_role",
    "archive_create",
    "breaker_close",
    "breaker_open",
    "channel_change",
    "channel_create",
    "channel_remove",
    "channel_test",
    "config_publish",
    "config_renew",
    "config_restore",
    "discard_create",
    "edit_create",
    "group_acknowledge",
    "group_assign",
    "group_note",
    "group_reopen",
    "group_resolve",
    "group_set_runbook",
    "group_snooze",
    "group_unsnooze",
    "guard_quarantine",
    "move_create",
    "operation_again",
    "operation_approve",
    "operation_cancel",
    "operation_decline",
    "operation_lapse",
    "operation_pause",
    "operation_rate",
    "operation_recall",
    "operation_resume",
    "operation_start",
    "operation_undo",
    "payload_hide",
    "payload_reveal",
    "pool_change",
    "pool_create",
    "pool_drain",
    "pool_pause",
    "pool_resume",
    "pool_scale",
    "quarantine_create",
    "requeue_create",
    "restore_create",
    "secret_change",
    "secret_register",
    "secret_remove",
    "view_remove",
    "view_rename",
    "view_save",
    "view_set_default",
]
