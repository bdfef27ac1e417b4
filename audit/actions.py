"""The registry of actions. What is not registered here cannot be recorded.

``done``, ``attempt`` and ``denied`` are templates that follow the actor's name: "Ana Ruiz *paused payments*", "Ana Ruiz
set out to *requeue 4,102 dead letters*", "Ana Ruiz was refused: *requeue dead letters*". They may speak of
``{target}``, ``{pool}``, ``{in_pool}`` (" in payments", or nothing), ``{reason}`` and of fields of the event's own,
which are looked up in its detail, then its after, then its before. ``{frozen:dead letter}`` counts: "1 dead letter",
"4,102 dead letters".

What a template speaks of, an event must hold: ``record`` refuses one that could not be told. A denial knows only what
was asked, so its template speaks of no fields.
"""

from dataclasses import dataclass
from functools import cache
from string import Formatter
from typing import Literal

Severity = Literal["info", "notice", "warning"]

COMMON_FIELDS = frozenset({"target", "pool", "in_pool", "reason"})


class UnknownAction(LookupError):
    """No action is registered under this id."""


class DuplicateAction(ValueError):
    """Two actions claim one id."""


@dataclass(frozen=True)
class Action:
    """One thing that can happen. ``icon`` is a name in the icon sprite; ``severity`` is that of a success.

    ``denied`` is ``attempt`` where that says it all. ``personal_target``: the target's name is somebody's own, so the
    log commits to it and keeps it where it can be erased, as it does with every actor's address and session.
    """

    id: str
    icon: str
    done: str
    attempt: str
    severity: Severity = "info"
    denied: str = ""
    personal_target: bool = False

    def template(self, outcome: str) -> str:
        """What tells an event with this outcome."""
        if outcome == "done":
            return self.done
        return self.denied or self.attempt if outcome == "denied" else self.attempt

    def fields(self, outcome: str) -> frozenset[str]:
        """What an event with this outcome must hold in its detail, after or before."""
        return _fields(self.template(outcome))


@cache
def _fields(template: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in Formatter().parse(template) if name) - COMMON_FIELDS


def registry(*actions: Action) -> dict[str, Action]:
    """Actions by id. Raises DuplicateAction."""
    known: dict[str, Action] = {}
    for action in actions:
        if action.id in known:
            raise DuplicateAction(action.id)
        known[action.id] = action
    return known


def action_of(action_id: str) -> Action:
    """The registered action. Raises UnknownAction."""
    try:
        return ACTIONS[action_id]
    except KeyError:
        raise UnknownAction(f"{action_id!r} is not a registered action: add it to audit/actions.py") from None


_LETTERS = "{frozen:dead letter}{in_pool}"
_VERSION = "v{version} of {pool}"
_REFERENCE = "secret {target}{in_pool}"
_SOME_LETTERS = "dead letters{in_pool}"
_AN_OPERATION = "an operation{in_pool}"
_GROUP = "{target}{in_pool}"
_SOME_GROUP = "a failure group{in_pool}"

# fmt: off
ACTIONS = registry(
    # People and their keys
    Action("session.signed_in", "user", "signed in", "sign in"),
    Action("session.sign_in_failed", "user", "let {target} in", "let {target} in", "notice", personal_target=True),
    Action("session.signed_out", "logout", "signed out", "sign out"),
    Action("session.rate_limited", "clock-pause", "let {target} in", "let {target} in: too many attempts", "warning",
           personal_target=True),
    Action("token.created", "key", "created API token {target}", "create API token {target}", "notice"),
    Action("token.revoked", "circle-minus", "revoked API token {target}", "revoke API token {target}", "notice"),
    Action("token.used", "key", "used API token {target}", "use API token {target}"),
    Action("access.role_granted", "user-check", "gave {target} the role {role}",
           "give {target} the role {role}", "notice", "give somebody a role"),
    Action("access.role_revoked", "user-off", "took the role {role} from {target}",
           "take the role {role} from {target}", "notice", "take a role from somebody"),
    Action("access.role_extended", "user-check", "gave the role {target} the permission {permissions}",
           "give the role {target} the permission {permissions}", "notice"),
    # Pools
    Action("pool.created", "plus", "created pool {target}", "create pool {target}", denied="create a pool"),
    Action("pool.changed", "pencil", "changed pool {target}", "change pool {target}"),
    Action("pool.attached", "plug-connected", "attached pool {target}", "attach pool {target}"),
    Action("pool.paused", "player-pause", "paused {target}", "pause {target}", "notice"),
    Action("pool.resumed", "player-play", "resumed {target}", "resume {target}"),
    Action("pool.drained", "droplet", "drained {target}", "drain {target}", "notice"),
    Action("pool.scaled", "adjustments", "scaled {pool} to {workers:worker}", "scale {pool} to {workers:worker}",
           denied="scale {pool}"),
    Action("breaker.opened", "plug-connected-x", "opened breaker {breaker} of {target}",
           "open breaker {breaker} of {target}", "notice", "open a breaker of {target}"),
    Action("breaker.closed", "plug-connected", "closed breaker {breaker} of {target}",
           "close breaker {breaker} of {target}", "notice", "close a breaker of {target}"),
    Action("breaker.tripped", "plug-connected-x", "saw breaker {breaker} of {target} open",
           "see breaker {breaker} of {target} open", "warning"),
    Action("breaker.recovered", "plug-connected", "saw breaker {breaker} of {target} close",
           "see breaker {breaker} of {target} close"),
    # Config and secrets
    Action("config.published", "upload", "published " + _VERSION, "publish " + _VERSION, "notice",
           "publish a config of {pool}"),
    Action("config.signed", "signature", "signed " + _VERSION, "sign " + _VERSION),
    Action("config.renewed", "refresh", "renewed " + _VERSION, "renew " + _VERSION,
           denied="renew the config of {pool}"),
    Action("config.refused", "ban", "refused a config of {pool}: {code}", "take a config of {pool}", "warning"),
    Action("config.altered", "alert-triangle",
           "found what agents of {pool} are told altered on the broker, and put it back",
           "put back what agents of {pool} are told", "warning"),
    Action("secret.registered", "lock", "registered " + _REFERENCE, "register " + _REFERENCE, "notice",
           "register a secret"),
    Action("secret.changed", "lock-access", "changed " + _REFERENCE, "change " + _REFERENCE, "notice",
           "change a secret"),
    Action("secret.removed", "circle-minus", "removed " + _REFERENCE, "remove " + _REFERENCE, "notice",
           "remove a secret"),
    Action("secret.resolved", "lock-open", "resolved " + _REFERENCE, "resolve " + _REFERENCE),
    Action("secret.refused", "ban", f"refused {_REFERENCE}: {{why}}", "resolve " + _REFERENCE, "warning"),
    # Dead letters
    Action("operation.requeue_started", "player-play", "started to requeue " + _LETTERS, "requeue " + _LETTERS,
           denied="requeue " + _SOME_LETTERS),
    Action("operation.requeue_ended", "player-track-next", "requeued {requeued:dead letter}{in_pool}",
           "requeue " + _LETTERS, "notice"),
    Action("operation.requeue_followed", "circle-check",
           "followed {requeued:requeued job}{in_pool} to the end: {effect}", "follow requeued jobs{in_pool}"),
    Action("operation.discard_started", "trash", "started to discard " + _LETTERS, "discard " + _LETTERS,
           denied="discard " + _SOME_LETTERS),
    Action("operation.discard_ended", "trash", "discarded {discarded:dead letter}{in_pool}",
           "discard " + _LETTERS, "notice"),
    Action("operation.move_started", "player-play", "started to move {frozen:dead letter}{in_pool} to {to_queue}",
           "move {frozen:dead letter}{in_pool} to {to_queue}", denied="move " + _SOME_LETTERS),
    Action("operation.move_ended", "player-track-next", "moved {requeued:dead letter}{in_pool} to {to_queue}",
           "move {frozen:dead letter}{in_pool} to {to_queue}", "notice"),
    Action("operation.edit_started", "pencil",
           "started to requeue {frozen:dead letter}{in_pool} with an edited payload",
           "requeue {frozen:dead letter}{in_pool} with an edited payload",
           denied="requeue a dead letter{in_pool} with an edited payload"),
    Action("operation.edit_ended", "pencil", "requeued {requeued:dead letter}{in_pool} with an edited payload",
           "requeue {frozen:dead letter}{in_pool} with an edited payload", "notice"),
    Action("operation.approval_requested", "user-check", "asked a second person to approve {target}",
           "ask for the approval of {target}", "notice"),
    Action("operation.approved", "user-check", "approved {target} of {asked_by}, {frozen:dead letter}",
           "approve {target}", "notice", "approve " + _AN_OPERATION),
    Action("operation.declined", "user-off", "declined {target} of {asked_by}", "decline {target}", "notice",
           "decline " + _AN_OPERATION),
    Action("operation.lapsed", "hourglass", "cancelled {target}: nobody approved it within {hours:hour}",
           "cancel {target}", "notice"),
    Action("operation.quarantine_started", "shield-lock", "started to quarantine " + _LETTERS, "quarantine " + _LETTERS,
           denied="quarantine " + _SOME_LETTERS),
    Action("operation.quarantine_ended", "shield-lock", "quarantined {quarantined:dead letter}{in_pool}",
           "quarantine " + _LETTERS, "notice"),
    Action("operation.archive_started", "archive", "started to archive " + _LETTERS, "archive " + _LETTERS,
           denied="archive " + _SOME_LETTERS),
    Action("operation.archive_ended", "archive", "archived {archived:dead letter}{in_pool}",
           "archive " + _LETTERS, "notice"),
    Action("operation.restore_started", "restore", "started to restore " + _LETTERS, "restore " + _LETTERS,
           denied="restore " + _SOME_LETTERS),
    Action("operation.restore_ended", "restore", "restored {restored:dead letter}{in_pool}",
           "restore " + _LETTERS, "notice"),
    Action("operation.started", "player-play", "started {target}", "start {target}", denied="start " + _AN_OPERATION),
    Action("operation.paused", "player-pause", "paused {target}", "pause {target}", denied="pause " + _AN_OPERATION),
    Action("operation.resumed", "player-play", "resumed {target}", "resume {target}",
           denied="resume " + _AN_OPERATION),
    Action("operation.cancelled", "player-stop", "cancelled {target}", "cancel {target}", "notice",
           "cancel " + _AN_OPERATION),
    Action("operation.rate_changed", "adjustments", "set the rate of {target} to {rate}", "set the rate of {target}",
           denied="change the rate of " + _AN_OPERATION),
    Action("operation.canary_passed", "circle-check", "saw the canary of {target} pass: {effect}",
           "see the canary of {target} pass"),
    Action("operation.stopped", "alert-octagon", "stopped {target}: {why}", "stop {target}", "warning"),
    Action("operation.recall_started", "corner-up-left", "started to recall {target}", "recall {target}",
           "notice", "recall " + _AN_OPERATION),
    Action("operation.recalled", "corner-up-left", "recalled {recalled:queued job} of {target}", "recall {target}",
           "notice"),
    # Payloads of jobs
    Action("payload.revealed", "eye", "revealed the payload of job {target}{in_pool} for {minutes:minute}",
           "reveal the payload of job {target}{in_pool}", "notice"),
    Action("payload.hidden", "eye-off", "hid the payload of job {target}{in_pool}",
           "hide the payload of job {target}{in_pool}"),
    Action("failure_group.acknowledged", "check", "acknowledged " + _GROUP, "acknowledge " + _GROUP,
           denied="acknowledge " + _SOME_GROUP),
    Action("failure_group.snoozed", "zzz", f"snoozed {_GROUP} {{until}}", "snooze " + _GROUP,
           denied="snooze " + _SOME_GROUP),
    Action("failure_group.unsnoozed", "alarm", "ended the snooze of " + _GROUP, "end the snooze of " + _GROUP,
           denied="end the snooze of " + _SOME_GROUP),
    Action("failure_group.resolved", "circle-check", "resolved " + _GROUP, "resolve " + _GROUP, "notice",
           "resolve " + _SOME_GROUP),
    Action("failure_group.reopened", "arrow-back-up", "reopened " + _GROUP, "reopen " + _GROUP,
           denied="reopen " + _SOME_GROUP),
    Action("failure_group.assigned", "user-check", f"gave {_GROUP} to {{owner}}", "give somebody " + _GROUP,
           denied="give somebody " + _SOME_GROUP),
    Action("failure_group.noted", "note", "added a note to " + _GROUP, "add a note to " + _GROUP,
           denied="add a note to " + _SOME_GROUP),
    Action("failure_group.runbook_set", "book", "changed the runbook of " + _GROUP, "change the runbook of " + _GROUP,
           denied="change the runbook of " + _SOME_GROUP),
    Action("failure_group.regressed", "rotate-clockwise", f"saw {_GROUP} fail again after it was resolved",
           f"see {_GROUP} fail again", "warning"),
    # Notes to people
    Action("notification.channel_created", "bell", "created notification channel {target}{in_pool}",
           "create notification channel {target}{in_pool}", "notice", "create a notification channel"),
    Action("notification.channel_changed", "bell", "changed {changed} of notification channel {target}{in_pool}",
           "change notification channel {target}{in_pool}", "notice", "change a notification channel"),
    Action("notification.channel_removed", "circle-minus", "removed notification channel {target}{in_pool}",
           "remove notification channel {target}{in_pool}", "notice", "remove a notification channel"),
    Action("notification.test_requested", "send", "asked for a test message over {target}{in_pool}",
           "send a test message over {target}{in_pool}", denied="send a test message"),
    Action("notification.given_up", "alert-triangle", "gave up a message over {target}{in_pool}: {why}",
           "deliver a message over {target}{in_pool}", "warning"),
    # Saved views of the inbox
    Action("view.saved", "device-floppy", "saved the view {target}", "save the view {target}", denied="save a view"),
    Action("view.renamed", "pencil", "renamed the view {target}", "rename the view {target}", denied="rename a view"),
    Action("view.removed", "trash", "deleted the view {target}", "delete the view {target}", denied="delete a view"),
    Action("view.default_set", "inbox", "{begins} the view {target}", "begin with the view {target}",
           denied="begin with a view"),
    # What the machines report
    Action("agent.seen_first", "server-2", "saw agent {target} for the first time", "see agent {target}"),
    Action("agent.lost", "server-off", "lost agent {target}", "lose agent {target}", "warning"),
    Action("agent.returned", "server-2", "saw agent {target} again", "see agent {target} again"),
    Action("worker.lost", "heart-broken", "lost worker {target}{in_pool}: {exit}", "lose worker {target}", "warning"),
    Action("job.fenced", "lock", "refused the {end} of job {target}{in_pool}, which was another's by then",
           "refuse the end of job {target}", "warning"),
    Action("worker.boot_failed", "alert-triangle", "could not start a worker{in_pool}: exit code {exit_code}",
           "start a worker{in_pool}", "warning"),
    Action("controller.took_over", "heartbeat", "took over as controller", "take over as controller"),
    Action("key.created", "key", "created key {target}", "create key {target}", "notice"),
    Action("key.rotated", "key", "replaced key {target} by {key}", "replace key {target}", "notice"),
    Action("key.trusted", "signature", "told agents to trust key {target}, by trust root v{version}",
           "tell agents to trust key {target}", "notice"),
    # The log about itself
    Action("log.signing_stopped", "alert-triangle", "stopped signing checkpoints: {why}",
           "sign checkpoints", "warning"),
    Action("log.protection_weak", "shield-off", "found the log weakly protected: {why}",
           "protect the log", "warning"),
    Action("log.altered", "alert-triangle", "found the log altered: {why}", "keep the log", "warning"),
    # The log itself
    Action("audit.export_requested", "download", "asked for {target}: the log as {kind}", "export the log as {kind}",
           denied="export the log"),
    Action("audit.exported", "file-text", "wrote {target}: {events:event} as {kind}", "write {target}", "notice"),
    Action("audit.personal_erased", "eye-off", "erased {values:personal value} from {events:event}",
           "erase {values:personal value} from {events:event}", "notice", "erase personal values"),
    Action("audit.checkpoint_requested", "signature", "asked for a checkpoint of the log",
           "ask for a checkpoint of the log"),
    Action("audit.filter_saved", "device-floppy", "saved the filter {target}", "save the filter {target}",
           denied="save a filter"),
    Action("audit.filter_removed", "trash", "deleted the filter {target}", "delete the filter {target}",
           denied="delete a filter"),
)
# fmt: on
