"""Every request that changes something, and the events that it leaves: the one table of them.

``test_writes`` sends each, and fails when a route or an API operation that takes a write is not listed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from audit.actor import Actor
from pools import operations as verbs
from pools.broker.payload_edit import read_editable
from pools.models import DeadLetter, Pool, Team
from pools.operations import Selection
from pools.operations.pools import POOL_DESCRIPTION
from pools.selectors.dead_letters import DeadLetterFilter
from tests.events.world import World
from tests.pages import posting
from tests.support import factories as make
from tests.support.cast import PASSWORD

type Data = dict[str, Any]


@dataclass(frozen=True)
class Write:
    """A good request of one of the cast. ``events`` are (action, outcome), oldest first; none: it only shows a page.

    ``to`` are the route's arguments. ``own``: what an auditor may write as well.
    """

    who: str
    data: Data | Callable[[World], Data]
    events: Sequence[tuple[str, str]]
    to: Data = field(default_factory=dict)
    status: int = 302
    own: bool = False
    by: tuple[str, str] = ("user", "")
    same: Callable[[Actor, World], object] | None = None
    """For the API: the operation that does the same."""

    def body(self, world: World) -> Data:
        return self.data(world) if callable(self.data) else self.data


def done(action: str) -> list[tuple[str, str]]:
    return [(action, "done")]


WHY: Data = {"reason": "The gateway is down"}
PAYMENTS: Data = {"slug": "payments"}
GATEWAY = {"slug": "payments", "name": "gateway"}
SLOW: Data = {"to_queue": "payments.high"}
NEW_POOL: Data = {
    "slug": "emails",
    "name": "E-mails",
    "team": "payments",
    "criticality": "low",
    "queues": "emails",
    "workers": "2",
    "serializer": "json",
    "job_timeout": "180",
    "result_ttl": "500",
    "failure_ttl": "31536000",
    "stop_grace": "60",
    "horse_jobs": "1",
    "callbacks": "refuse",
    "webhooks": "refuse",
    "job_kib": "16384",
    "profile": "standard",
    "memory": "512",
    "cpu": "600",
    "open_files": "256",
    "processes": "32",
    "output": "100",
    "weights": "",
    "retry_percent": "0",
    "retry_per_minute": "10",
    "retry-TOTAL_FORMS": "0",
    "cron-TOTAL_FORMS": "0",
    "cron-INITIAL_FORMS": "0",
    "breakers-TOTAL_FORMS": "0",
    "breakers-INITIAL_FORMS": "0",
    "limits-TOTAL_FORMS": "0",
    "policies-TOTAL_FORMS": "0",
    "policies-INITIAL_FORMS": "0",
    "limits-INITIAL_FORMS": "0",
    "retry-INITIAL_FORMS": "0",
}
EDIT: Data = {
    "name": "Card payments",
    "description": "Takes money",
    "criticality": "critical",
    "poison_after": "5",
    "expected_version": "1",
}
SECRET: Data = {"name": "mail-key", "uri": "file:///run/secrets/mail-key", "team": "payments", "description": ""}
MOVED: Data = {"uri": "file:///run/secrets/other", "description": "", "expected_version": "1"}
CHANNEL: Data = {
    "name": "night-mail",
    "team": "payments",
    "kind": "email",
    "recipients": "bob@example.com",
    "min_criticality": "low",
    "on_new": "on",
    "quiet_zone": "UTC",
    "per_hour": "12",
    "enabled": "on",
}
ONCALL: Data = {"name": "oncall"}
DOOR = ("system", "sign-in")


def letters(world: World) -> Data:
    return WHY | {"id": [letter.pk for letter in world.letters], "expected_count": len(world.letters)}


JOB_2: Data = {"job_id": "job-2"}


def edited(args: object, kwargs: object, **more: str) -> Data:
    """Other arguments for the payload that is open to Bob."""
    seen = read_editable("default", "job-2").sha256
    return WHY | {"args": args, "kwargs": kwargs, "seen": seen} | more


def about(name: str, **more: str) -> Callable[[World], Data]:
    """A form about one of the scene's failure groups."""
    return lambda world: {"group": [getattr(world, name).pk], "do": "1"} | more


# Route's name → the good requests.
PAGES: dict[str, list[Write]] = {
    "sign-in": [
        Write("", {"username": "alice", "password": PASSWORD}, done("session.signed_in"), by=("user", "alice")),
        Write(
            "",
            {"username": "alice", "password": "wrong"},
            [("session.sign_in_failed", "failed")],
            status=422,
            by=DOOR,
        ),
    ],
    "sign-out": [Write("alice", {}, done("session.signed_out"), own=True)],
    "pool-new": [Write("alice", NEW_POOL, [*done("pool.created"), *done("config.published")])],
    "pool-edit": [Write("alice", EDIT, done("pool.changed"), PAYMENTS)],
    "pool-pause": [Write("bob", WHY, done("pool.paused"), PAYMENTS)],
    "pool-drain": [Write("bob", WHY, done("pool.drained"), PAYMENTS)],
    "breaker-open": [Write("bob", WHY, done("breaker.opened"), GATEWAY)],
    "breaker-close": [Write("bob", WHY, done("breaker.closed"), GATEWAY)],
    "pool-resume": [Write("bob", WHY, done("pool.resumed"), {"slug": "refunds"})],
    "pool-scale": [Write("alice", WHY | {"workers": "9"}, [*done("config.published"), *done("pool.scaled")], PAYMENTS)],
    "config": [
        Write("alice", posting.fields(workers="9"), done("config.published"), PAYMENTS),
        Write("alice", posting.text(make.spec(workers=9)), done("config.published"), PAYMENTS),
        Write("alice", posting.fields(workers="9", do="review"), [], PAYMENTS, status=200),
    ],
    "config-restore": [
        Write("alice", WHY | {"expected_version": "2"}, done("config.published"), PAYMENTS | {"number": 1})
    ],
    "dead-letters-requeue": [
        Write("bob", letters, [("operation.requeue_started", "intent")]),
        Write(
            "bob",
            lambda world: WHY | {"id": [world.asked.items.get().dead_letter_id]},
            [("operation.requeue_started", "intent"), *done("operation.approval_requested")],
        ),
        Write("bob", lambda world: {"id": [world.letters[0].pk]}, [], status=200),
    ],
    "dead-letters-move": [
        Write("bob", lambda world: letters(world) | SLOW, [("operation.move_started", "intent")]),
        Write("bob", lambda world: {"id": [world.letters[0].pk]}, [], status=200),
    ],
    "dead-letters-discard": [
        Write("bob", letters, [("operation.discard_started", "intent")]),
        Write("bob", lambda world: {"id": [world.letters[0].pk]}, [], status=200),
    ],
    "dead-letters-quarantine": [
        Write("bob", letters, [("operation.quarantine_started", "intent")]),
        Write("bob", lambda world: {"id": [world.letters[0].pk]}, [], status=200),
    ],
    "dead-letters-archive": [
        Write("bob", letters, [("operation.archive_started", "intent")]),
        Write("bob", lambda world: {"id": [world.letters[0].pk]}, [], status=200),
    ],
    "dead-letters-restore": [
        Write("bob", lambda world: WHY | {"id": [world.thrown.pk]}, [("operation.restore_started", "intent")]),
        Write("bob", lambda world: {"id": [world.thrown.pk]}, [], status=200),
    ],
    "saved-views": [Write("bob", {"name": "late", "query": "until=24h"}, done("view.saved"), own=True)],
    "saved-view-rename": [Write("bob", {"name": "slow"}, done("view.renamed"), {"pk": "view"}, own=True)],
    "saved-view-remove": [Write("bob", {}, done("view.removed"), {"pk": "view"}, own=True)],
    "saved-view-default": [Write("bob", {"default": "1"}, done("view.default_set"), {"pk": "view"}, own=True)],
    "payload-reveal": [Write("bob", WHY, done("payload.revealed"), {"job_id": "job-1"})],
    "payload-edit": [
        Write("bob", lambda w: edited("[2]", "{}", do="edit"), [("operation.edit_started", "intent")], JOB_2),
        Write("bob", lambda w: edited("[2]", "{}", do="review"), [], JOB_2, status=200),
    ],
    "payload-hide": [Write("bob", {}, done("payload.hidden"), {"job_id": "job-2"})],
    "failure-groups-acknowledge": [
        Write("bob", about("group"), done("failure_group.acknowledged")),
        Write("bob", lambda world: {"group": [world.group.pk]}, [], status=200),
    ],
    "failure-groups-snooze": [
        Write("bob", about("group", end="failures", failures="50", **WHY), done("failure_group.snoozed")),
        Write("bob", lambda world: {"group": [world.group.pk]}, [], status=200),
    ],
    "failure-groups-unsnooze": [Write("bob", about("snoozed"), done("failure_group.unsnoozed"))],
    "failure-groups-resolve": [Write("bob", about("group", **WHY), done("failure_group.resolved"))],
    "failure-groups-reopen": [Write("bob", about("resolved"), done("failure_group.reopened"))],
    "failure-groups-assign": [Write("bob", about("group", owner="alice"), done("failure_group.assigned"))],
    "failure-groups-note": [Write("bob", about("group", text="Until the morning"), done("failure_group.noted"))],
    "failure-groups-runbook": [
        Write("bob", about("group", url="https://runbooks.example/"), done("failure_group.runbook_set"))
    ],
    "operation-start": [Write("bob", {}, done("operation.started"), {"pk": "frozen"})],
    "operation-pause": [Write("bob", {}, done("operation.paused"), {"pk": "running"})],
    "operation-resume": [Write("bob", {}, done("operation.resumed"), {"pk": "paused"})],
    "operation-rate": [Write("bob", {"rate_per_second": "5"}, done("operation.rate_changed"), {"pk": "running"})],
    "operation-recall": [Write("bob", WHY, [("operation.recall_started", "intent")], {"pk": "sent"})],
    "operation-again": [Write("bob", WHY, [("operation.requeue_started", "intent")], {"pk": "sent"})],
    "operation-approve": [Write("ada", WHY, done("operation.approved"), {"pk": "asked"})],
    "operation-decline": [Write("ada", WHY, done("operation.declined"), {"pk": "asked"})],
    "operation-undo": [Write("bob", WHY, [("operation.restore_started", "intent")], {"pk": "discarded"})],
    "operation-cancel": [Write("bob", WHY, done("operation.cancelled"), {"pk": "running"})],
    "secret-new": [Write("alice", SECRET, done("secret.registered"))],
    "secret-edit": [Write("alice", MOVED, done("secret.changed"), {"name": "gateway-key"})],
    "secret-remove": [Write("alice", WHY, done("secret.removed"), {"name": "gateway-key"})],
    "notification-new": [Write("alice", CHANNEL, done("notification.channel_created"))],
    "notification-edit": [Write("alice", CHANNEL, done("notification.channel_changed"), ONCALL)],
    "notification-remove": [Write("alice", WHY, done("notification.channel_removed"), ONCALL)],
    "notification-test": [Write("alice", {}, done("notification.test_requested"), ONCALL)],
    "access-grant": [
        Write("ada", WHY | {"user": "vera", "team": "payments", "role": "oncall"}, done("access.role_granted"))
    ],
    "access-revoke": [
        Write("ada", WHY | {"user": "bob", "team": "payments", "role": "oncall"}, done("access.role_revoked"))
    ],
    "audit:erase": [Write("ada", WHY | {"field": "address"}, done("audit.personal_erased"), {"index": 0})],
    "audit:checkpoint": [Write("otto", {}, done("audit.checkpoint_requested"), own=True)],
    "audit:export-new": [
        Write("otto", WHY | {"kind": "bundle"}, [("audit.export_requested", "intent")], own=True),
    ],
    "audit:filter-save": [
        Write("otto", {"name": "mine", "query": "?action=pool.paused"}, done("audit.filter_saved"), own=True)
    ],
    "audit:filter-delete": [Write("otto", {}, done("audit.filter_removed"), {"pk": "filter"}, own=True)],
}

MAIL: Data = {"kind": "email", "recipients": ["bob@example.com"]}
POOL: Data = {"slug": "ledger", "name": "Ledger", "environment": settings.POOLWARDEN_ENV, "message": "New"}
LEDGER = make.SPEC | {"queues": ["ledger"]}
NINE = make.SPEC | {"workers": 9}


def chosen(job_id: str = "job-1") -> Selection:
    return Selection(ids=(DeadLetter.objects.get(job_id=job_id).pk,))


def described(pool: Pool, **changes: Any) -> Data:
    return {name: getattr(pool, name) for name in POOL_DESCRIPTION} | changes


# Method and path in the OpenAPI document → the good requests.
API: dict[str, list[Write]] = {
    "POST pools": [
        Write(
            "alice",
            POOL | {"team": "payments", "spec": LEDGER},
            [*done("pool.created"), *done("config.published")],
            status=201,
            same=lambda a, w: verbs.pool_create(
                actor=a, team=Team.objects.get(slug="payments"), spec=make.spec(**LEDGER), **POOL
            ),
        )
    ],
    "POST pools/{slug}/edit": [
        Write(
            "alice",
            {"poison_after": 5, "expected_version": 1},
            done("pool.changed"),
            PAYMENTS,
            status=200,
            same=lambda a, w: verbs.pool_change(
                actor=a, pool=w.payments, expected_version=1, **described(w.payments, poison_after=5)
            ),
        )
    ],
    "POST pools/{slug}/config": [
        Write(
            "alice",
            {"spec": NINE, "message": "More", "expected_version": 2},
            done("config.published"),
            PAYMENTS,
            status=201,
            same=lambda a, w: verbs.config_publish(
                actor=a, pool=w.payments, spec=make.spec(**NINE), message="More", expected_version=2
            ),
        )
    ],
    "POST pools/{slug}/scale": [
        Write(
            "alice",
            WHY | {"workers": 9},
            [*done("config.published"), *done("pool.scaled")],
            PAYMENTS,
            status=201,
            same=lambda a, w: verbs.pool_scale(actor=a, pool=w.payments, workers=9, **WHY),
        )
    ],
    "POST pools/{slug}/pause": [
        Write(
            "bob",
            WHY,
            done("pool.paused"),
            PAYMENTS,
            status=200,
            same=lambda a, w: verbs.pool_pause(actor=a, pool=w.payments, **WHY),
        )
    ],
    "POST pools/{slug}/resume": [
        Write(
            "bob",
            WHY,
            done("pool.resumed"),
            {"slug": "refunds"},
            status=200,
            same=lambda a, w: verbs.pool_resume(actor=a, pool=w.refunds, **WHY),
        )
    ],
    "POST pools/{slug}/breakers/{breaker}/open": [
        Write(
            "bob",
            WHY,
            done("breaker.opened"),
            {"slug": "payments", "breaker": "gateway"},
            status=200,
            same=lambda a, w: verbs.breaker_open(actor=a, pool=w.payments, breaker="gateway", **WHY),
        )
    ],
    "POST pools/{slug}/breakers/{breaker}/close": [
        Write(
            "bob",
            WHY,
            done("breaker.closed"),
            {"slug": "payments", "breaker": "gateway"},
            status=200,
            same=lambda a, w: verbs.breaker_close(actor=a, pool=w.payments, breaker="gateway", **WHY),
        )
    ],
    "POST pools/{slug}/drain": [
        Write(
            "bob",
            WHY,
            done("pool.drained"),
            PAYMENTS,
            status=200,
            same=lambda a, w: verbs.pool_drain(actor=a, pool=w.payments, **WHY),
        )
    ],
    "POST jobs/{job_id}/reveal": [
        Write(
            "bob",
            WHY,
            done("payload.revealed"),
            {"job_id": "job-1"},
            status=200,
            same=lambda a, w: verbs.payload_reveal(actor=a, job_id="job-1", **WHY),
        )
    ],
    "POST jobs/{job_id}/edit": [
        Write(
            "bob",
            lambda w: edited([2], {}),
            [("operation.edit_started", "intent")],
            JOB_2,
            status=201,
            same=lambda a, w: verbs.edit_create(actor=a, job_id="job-2", **edited([2], {})),
        )
    ],
    "POST operations": [
        Write(
            "bob",
            WHY | {"kind": "requeue", "ids": ["job-1"]},
            [("operation.requeue_started", "intent")],
            status=201,
            same=lambda a, w: verbs.requeue_create(actor=a, selection=chosen(), **WHY),
        ),
        Write(
            "bob",
            WHY | SLOW | {"kind": "move", "ids": ["job-1"]},
            [("operation.move_started", "intent")],
            status=201,
            same=lambda a, w: verbs.move_create(actor=a, selection=chosen(), **SLOW, **WHY),
        ),
        Write(
            "bob",
            WHY | {"kind": "discard", "ids": ["job-1"], "start": False},
            [("operation.discard_started", "intent")],
            status=201,
            same=lambda a, w: verbs.discard_create(actor=a, selection=chosen(), start=False, **WHY),
        ),
        Write(
            "bob",
            WHY | {"kind": "quarantine", "ids": ["job-1"]},
            [("operation.quarantine_started", "intent")],
            status=201,
            same=lambda a, w: verbs.quarantine_create(actor=a, selection=chosen(), **WHY),
        ),
        Write(
            "bob",
            WHY | {"kind": "archive", "ids": ["job-1"]},
            [("operation.archive_started", "intent")],
            status=201,
            same=lambda a, w: verbs.archive_create(actor=a, selection=chosen(), **WHY),
        ),
        Write(
            "bob",
            WHY | {"kind": "restore", "ids": ["job-4"]},
            [("operation.restore_started", "intent")],
            status=201,
            same=lambda a, w: verbs.restore_create(actor=a, selection=chosen("job-4"), **WHY),
        ),
    ],
    "POST operations/{id}/start": [
        Write(
            "bob",
            WHY,
            done("operation.started"),
            {"id": "frozen"},
            status=200,
            same=lambda a, w: verbs.operation_start(actor=a, operation=w.frozen, **WHY),
        )
    ],
    "POST operations/{id}/pause": [
        Write(
            "bob",
            WHY,
            done("operation.paused"),
            {"id": "running"},
            status=200,
            same=lambda a, w: verbs.operation_pause(actor=a, operation=w.running, **WHY),
        )
    ],
    "POST operations/{id}/resume": [
        Write(
            "bob",
            WHY,
            done("operation.resumed"),
            {"id": "paused"},
            status=200,
            same=lambda a, w: verbs.operation_resume(actor=a, operation=w.paused, **WHY),
        )
    ],
    "POST operations/{id}/rate": [
        Write(
            "bob",
            WHY | {"rate_per_second": 5},
            done("operation.rate_changed"),
            {"id": "running"},
            status=200,
            same=lambda a, w: verbs.operation_rate(actor=a, operation=w.running, rate_per_second=5, **WHY),
        )
    ],
    "POST operations/{id}/recall": [
        Write(
            "bob",
            WHY,
            [("operation.recall_started", "intent")],
            {"id": "sent"},
            status=200,
            same=lambda a, w: verbs.operation_recall(actor=a, operation=w.sent, **WHY),
        )
    ],
    "POST operations/{id}/again": [
        Write(
            "bob",
            WHY,
            [("operation.requeue_started", "intent")],
            {"id": "sent"},
            status=201,
            same=lambda a, w: verbs.operation_again(actor=a, operation=w.sent, **WHY),
        )
    ],
    "POST saved-views": [
        Write(
            "bob",
            {"name": "late", "filter": {"until": "24h"}},
            done("view.saved"),
            status=201,
            own=True,
            same=lambda a, w: verbs.view_save(actor=a, name="late", wanted=DeadLetterFilter(until="24h")),
        )
    ],
    "POST saved-views/{id}/rename": [
        Write(
            "bob",
            {"name": "slow"},
            done("view.renamed"),
            {"id": "view"},
            status=200,
            own=True,
            same=lambda a, w: verbs.view_rename(actor=a, pk=w.view.pk, name="slow"),
        )
    ],
    "POST saved-views/{id}/remove": [
        Write(
            "bob",
            {},
            done("view.removed"),
            {"id": "view"},
            status=200,
            own=True,
            same=lambda a, w: verbs.view_remove(actor=a, pk=w.view.pk),
        )
    ],
    "POST saved-views/{id}/default": [
        Write(
            "bob",
            {"default": True},
            done("view.default_set"),
            {"id": "view"},
            status=200,
            own=True,
            same=lambda a, w: verbs.view_set_default(actor=a, pk=w.view.pk, default=True),
        )
    ],
    "POST notification-channels": [
        Write(
            "alice",
            {"name": "night-mail", "team": "payments"} | MAIL,
            done("notification.channel_created"),
            status=201,
            same=lambda a, w: verbs.channel_create(
                actor=a, name="night-mail", team=w.cast.payments, wanted=verbs.Wanted(**MAIL)
            ),
        )
    ],
    "POST notification-channels/{name}": [
        Write(
            "alice",
            MAIL,
            done("notification.channel_changed"),
            ONCALL,
            status=200,
            same=lambda a, w: verbs.channel_change(actor=a, channel=w.channel, wanted=verbs.Wanted(**MAIL)),
        )
    ],
    "POST notification-channels/{name}/remove": [
        Write(
            "alice",
            WHY,
            done("notification.channel_removed"),
            ONCALL,
            status=200,
            same=lambda a, w: verbs.channel_remove(actor=a, channel=w.channel, **WHY),
        )
    ],
    "POST notification-channels/{name}/test": [
        Write(
            "alice",
            {},
            done("notification.test_requested"),
            ONCALL,
            status=201,
            same=lambda a, w: verbs.channel_test(actor=a, channel=w.channel),
        )
    ],
    "POST operations/{id}/approve": [
        Write(
            "ada",
            WHY,
            done("operation.approved"),
            {"id": "asked"},
            status=200,
            same=lambda a, w: verbs.operation_approve(actor=a, operation=w.asked, **WHY),
        )
    ],
    "POST operations/{id}/decline": [
        Write(
            "ada",
            WHY,
            done("operation.declined"),
            {"id": "asked"},
            status=200,
            same=lambda a, w: verbs.operation_decline(actor=a, operation=w.asked, **WHY),
        )
    ],
    "POST operations/{id}/undo": [
        Write(
            "bob",
            WHY,
            [("operation.restore_started", "intent")],
            {"id": "discarded"},
            status=201,
            same=lambda a, w: verbs.operation_undo(actor=a, operation=w.discarded, **WHY),
        )
    ],
    "POST operations/{id}/cancel": [
        Write(
            "bob",
            WHY,
            done("operation.cancelled"),
            {"id": "running"},
            status=200,
            same=lambda a, w: verbs.operation_cancel(actor=a, operation=w.running, **WHY),
        )
    ],
}


def decided(
    verb: str, action: str, run: Callable[..., object], group: str, status: int = 200, **body: object
) -> dict[str, list[Write]]:
    """The write of the API that decides about a failure group of the scene."""

    def same(actor: Actor, world: World) -> object:
        return run(actor=actor, ids=[getattr(world, group).pk], **body)

    write = Write("bob", body, done(f"failure_group.{action}"), {"id": group}, status=status, same=same)
    return {f"POST failure-groups/{{id}}/{verb}": [write]}


API |= (
    decided("acknowledge", "acknowledged", verbs.group_acknowledge, "group", **WHY)
    | decided("snooze", "snoozed", verbs.group_snooze, "group", next_version=True, **WHY)
    | decided("unsnooze", "unsnoozed", verbs.group_unsnooze, "snoozed", **WHY)
    | decided("resolve", "resolved", verbs.group_resolve, "group", **WHY)
    | decided("reopen", "reopened", verbs.group_reopen, "resolved", **WHY)
    | decided("assign", "assigned", verbs.group_assign, "group", owner="alice")
    | decided("notes", "noted", verbs.group_note, "group", status=201, text="Until the morning")
    | decided("runbook", "runbook_set", verbs.group_set_runbook, "group", url="https://runbooks.example/")
)


def arguments(write: Write, world: World) -> Data:
    """The route's arguments; a word that names something of the scene stands for its number."""
    return {
        name: getattr(world, value).pk if name in ("pk", "id") and isinstance(value, str) else value
        for name, value in write.to.items()
    }
