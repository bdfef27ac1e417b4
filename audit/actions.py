"""The registry of actions. What is not registered here cannot be recorded.

``done`` and ``attempt`` are templates that follow the actor's name: "Ana Ruiz *paused payments*", "Ana Ruiz was
refused: *pause payments*". They may speak of ``{target}``, ``{pool}``, ``{in_pool}`` (" in payments", or nothing),
``{reason}`` and of fields of the event's own, which are looked up in its detail, then its after, then its before.
``{frozen:dead letter}`` counts: "1 dead letter", "4,102 dead letters".
"""

from dataclasses import dataclass
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
    """One thing that can happen. ``icon`` is a name in the icon sprite; ``severity`` is that of a success."""

    id: str
    icon: str
    done: str
    attempt: str
    severity: Severity = "info"

    @property
    def fields(self) -> frozenset[str]:
        """What its sentences need from the event's detail, after or before."""
        parts = [*Formatter().parse(self.done), *Formatter().parse(self.attempt)]
        return frozenset(name for _, name, _, _ in parts if name) - COMMON_FIELDS


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

# fmt: off
ACTIONS = registry(
    # People and their keys
    Action("session.signed_in", "user", "signed in", "sign in"),
    Action("session.sign_in_failed", "user", "failed to sign in", "sign in", "notice"),
    Action("session.signed_out", "logout", "signed out", "sign out"),
    Action("session.rate_limited", "clock-pause", "was held back: too many sign-in attempts", "sign in", "warning"),
    Action("token.created", "key", "created API token {target}", "create API token {target}", "notice"),
    Action("token.revoked", "circle-minus", "revoked API token {target}", "revoke API token {target}", "notice"),
    Action("access.role_granted", "user-check", "gave {target} the role {role}",
           "give {target} the role {role}", "notice"),
    Action("access.role_revoked", "user-off", "took the role {role} from {target}",
           "take the role {role} from {target}", "notice"),
    # Pools
    Action("pool.created", "plus", "created pool {target}", "create pool {target}"),
    Action("pool.changed", "pencil", "changed pool {target}", "change pool {target}"),
    Action("pool.attached", "plug-connected", "attached pool {target}", "attach pool {target}"),
    Action("pool.paused", "player-pause", "paused {target}", "pause {target}", "notice"),
    Action("pool.resumed", "player-play", "resumed {target}", "resume {target}"),
    Action("pool.drained", "droplet", "drained {target}", "drain {target}", "notice"),
    Action("pool.scaled", "adjustments", "scaled {pool} to {workers:worker}", "scale {pool} to {workers:worker}"),
    # Config and secrets
    Action("config.proposed", "file-diff", "proposed " + _VERSION, "propose " + _VERSION),
    Action("config.published", "upload", "published " + _VERSION, "publish " + _VERSION, "notice"),
    Action("config.signed", "signature", "signed " + _VERSION, "sign " + _VERSION),
    Action("config.renewed", "refresh", "renewed " + _VERSION, "renew " + _VERSION),
    Action("config.refused", "ban", "refused a config of {pool}: {code}", "take a config of {pool}", "warning"),
    Action("config.altered", "alert-triangle",
           "found what agents of {pool} are told altered on the broker, and put it back",
           "put back what agents of {pool} are told", "warning"),
    Action("secret.registered", "lock", "registered " + _REFERENCE, "register " + _REFERENCE, "notice"),
    Action("secret.changed", "lock-access", "changed " + _REFERENCE, "change " + _REFERENCE, "notice"),
    Action("secret.removed", "circle-minus", "removed " + _REFERENCE, "remove " + _REFERENCE, "notice"),
    Action("secret.resolved", "lock-open", "resolved " + _REFERENCE, "resolve " + _REFERENCE),
    Action("secret.refused", "ban", f"refused {_REFERENCE}: {{why}}", "resolve " + _REFERENCE, "warning"),
    # Dead letters
    Action("operation.requeue_started", "player-play", "started to requeue " + _LETTERS, "requeue " + _LETTERS),
    Action("operation.requeue_ended", "player-track-next", "requeued {requeued:dead letter}{in_pool}",
           "requeue " + _LETTERS, "notice"),
    Action("operation.discard_started", "trash", "started to discard " + _LETTERS, "discard " + _LETTERS),
    Action("operation.discard_ended", "trash", "discarded {discarded:dead letter}{in_pool}",
           "discard " + _LETTERS, "notice"),
    Action("operation.started", "player-play", "started operation {target}", "start operation {target}"),
    Action("operation.paused", "player-pause", "paused {target}", "pause {target}"),
    Action("operation.resumed", "player-play", "resumed {target}", "resume {target}"),
    Action("operation.cancelled", "player-stop", "cancelled {target}", "cancel {target}", "notice"),
    Action("group.changed", "pencil", "changed failure group {target}", "change failure group {target}"),
    # What the machines report
    Action("agent.seen_first", "server-2", "saw agent {target} for the first time", "see agent {target}"),
    Action("agent.lost", "server-off", "lost agent {target}", "lose agent {target}", "warning"),
    Action("agent.returned", "server-2", "saw agent {target} again", "see agent {target} again"),
    Action("worker.lost", "heart-broken", "lost worker {target}{in_pool}: {exit}", "lose worker {target}", "warning"),
    Action("worker.boot_failed", "alert-triangle", "could not start a worker{in_pool}: exit code {exit_code}",
           "start a worker{in_pool}", "warning"),
    Action("controller.took_over", "heartbeat", "took over as controller", "take over as controller"),
    Action("key.created", "key", "created key {target}", "create key {target}", "notice"),
)
# fmt: on
