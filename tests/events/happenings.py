"""How to make every registered action happen: by a request of ``writes``, or by the part of the system that does it.

Each entry sets the scene and returns the act. The act is what must be undone when its event cannot be recorded.
"""

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.conf import settings
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

import audit.immutability
from audit import protection
from audit.actor import system_actor
from audit.anchors import FileAnchor
from audit.authorizer import suspended
from audit.checkpoint import Checkpoint, SignerKey, sign_note
from audit.checkpointer import Checkpointer
from audit.exporter import Exporter
from audit.models import Event, Export, ExportKind, ExportState, Leaf
from audit.scrubber import Scrubber
from audit.sequencer import Sequencer
from controlplane.models import ApiToken
from controlplane.sign_in_guard import note_failure
from pools.broker.failed_jobs import FailedJob, read_failed
from pools.broker.sampler import take_sample
from pools.controller.claims import claims_for
from pools.controller.effects import Effects
from pools.controller.ingester import Ingester
from pools.controller.keyring import open_keyring, rotate_log_key
from pools.controller.lease import LeaderLease
from pools.controller.notifying.deliverer import Deliverer
from pools.controller.publisher import Publisher
from pools.controller.read_model import Facts, absorb
from pools.controller.repair import Repair
from pools.controller.sampling.agents import AgentWatch
from pools.controller.sampling.beat import read_beats
from pools.controller.sampling.breakers import record_turns
from pools.controller.sampling.figures import write_figures
from pools.controller.trust_root import write_trust_root
from pools.management.commands.audit_rotate_key import _announce as _announce_rotation
from pools.management.commands.controller import _announce_key, _announce_root
from pools.models import (
    Approval,
    ControllerLease,
    Effect,
    FailureGroup,
    GroupState,
    NotificationDelivery,
    Operation,
    OutboxMessage,
    Outcome,
    PoolNow,
)
from pools.operations import (
    Canary,
    Plan,
    Selection,
    archive_create,
    config_publish,
    config_renew,
    discard_create,
    edit_create,
    move_create,
    operation_lapse,
    operation_recall,
    pool_pause,
    quarantine_create,
    requeue_create,
    restore_create,
)
from pools.operations.execute import _next_chunk, _settle, run_operation
from pools.operations.recall import recall_chunk
from pools.operations.sending import send
from pools.permissions import extend_roles, role_group
from pools.selectors.messages import sample_message
from pools.signing.keys import CryptoSigner, new_signer
from tests.api.calling import Caller
from tests.broker.records import write_failed
from tests.controller.beats import FakeAgent
from tests.controller.pools import ACTOR
from tests.events.world import World
from tests.events.writes import PAGES, Write, arguments, edited
from tests.support import factories as make
from tests.support.cast import PASSWORD, actor, signed_in
from tests.support.tokens import used_token

type Act = Callable[[], object]
type Happening = Callable[[World], Act]


def by_request(name: str, write: Write) -> Happening:
    """The act answers the response."""

    def scene(world: World) -> Act:
        client = signed_in(world.person(write.who)) if write.who else Client()
        client.raise_request_exception = False
        return lambda: client.post(reverse(name, kwargs=arguments(write, world)), write.body(world))

    return scene


def held_back(world: World) -> Act:
    for _ in range(settings.POOLWARDEN_SIGN_IN_ATTEMPTS):
        note_failure("alice", "127.0.0.1")
    client = Client(raise_request_exception=False)
    return lambda: client.post(reverse("sign-in"), {"username": "alice", "password": PASSWORD})


def new_token(world: World) -> Act:
    return lambda: call_command("token_create", user="alice", stdout=io.StringIO())


def token_ends(world: World) -> Act:
    used_token(world.cast.alice)
    pk = ApiToken.objects.get().pk
    return lambda: call_command("token_revoke", pk, reason="It was seen elsewhere", stdout=io.StringIO())


def first_use(world: World) -> Act:
    caller = Caller(world.cast.bob)
    caller.client.raise_request_exception = False
    ApiToken.objects.update(used_from="")
    return lambda: caller.post("pools/payments/pause", {"reason": "The gateway is down"})


def upgrade(world: World) -> Act:
    role_group(world.cast.payments, "admin").permissions.remove(Permission.objects.get(codename="erase_personal"))
    return extend_roles


def unclaimed_queue(world: World) -> Act:
    return lambda: claims_for("default", ["nobody's"], world.lease)


def published(world: World) -> Publisher:
    """Payments at version 3, which is signed but for its last step."""
    config_publish(actor=ACTOR, pool=world.payments, spec=make.spec(workers=9), message="More", expected_version=None)
    return Publisher(new_signer(), world.lease)


def signing(world: World) -> Act:
    publisher = published(world)
    message = OutboxMessage.objects.filter(kind="config").latest("pk")
    return lambda: publisher.deliver_config(message)


def renewal(world: World) -> Act:
    return lambda: config_renew(actor=ACTOR, pool=world.payments)


def altered_config(world: World) -> Act:
    publisher = published(world)
    publisher.deliver_config(OutboxMessage.objects.filter(kind="config").latest("pk"))
    pool_pause(actor=ACTOR, pool=world.payments, reason="Now")
    publisher.deliver_run(OutboxMessage.objects.filter(kind="run").latest("pk"))
    world.client.set(f"pw:config:{world.payments.uid}", b"forged")
    repair = Repair(publisher)
    repair.tick()  # what is altered is put back in the second look
    return repair.tick


def breaker_turns(before: str, after: str) -> Happening:
    def scene(world: World) -> Act:
        def seen(state: str) -> PoolNow:
            told = {"state": state, "since": 1_700_000_000, "generation": 0, "tasks": ["shop.charge*"]}
            gates = {"breakers": {"gateway": told}}
            return PoolNow(pool=world.payments, gates=gates, sampled_at=timezone.now())

        write_figures([seen(before)])

        def act() -> None:
            with world.lease.fenced():
                record_turns([seen(after)])
                write_figures([seen(after)])

        return act

    return scene


def reported(kind: str, **body: Any) -> Happening:
    def scene(world: World) -> Act:
        make.agent()
        said = {"at": time.time(), "agent": "pay-01", "host": "host-1", "pool_uid": str(world.payments.uid)} | body
        world.client.xadd("pw:events", {"type": kind, "body": json.dumps(said)})
        return Ingester(world.lease).tick

    return scene


def sent(world: World, row: Operation) -> Act:
    """All jobs are moved; what is left is to say so."""
    while (step := _next_chunk(row.pk)).items:
        _settle(step.row, step.items, send(step.row, step.items, f"pw:moved:{row.pk}"))
    return lambda: run_operation(row.pk)


def requeue_ends(world: World) -> Act:
    return sent(world, world.running)


def ends(create: Callable[..., Operation]) -> Happening:
    """An operation over all dead letters, or for a restore over what is in the trash."""

    def scene(world: World) -> Act:
        letters = [world.thrown] if create is restore_create else world.letters
        chosen = Selection(ids=tuple(letter.pk for letter in letters))
        return sent(world, create(actor=actor(world.cast.bob), selection=chosen, reason="Test data"))

    return scene


def move_ends(world: World) -> Act:
    chosen = Selection(ids=tuple(letter.pk for letter in world.letters))
    bob = actor(world.cast.bob)
    return sent(world, move_create(actor=bob, selection=chosen, to_queue="payments.high", reason="More memory"))


def edit_ends(world: World) -> Act:
    return sent(world, edit_create(actor=actor(world.cast.bob), job_id="job-2", **edited([2], {})))


def requeue_followed(world: World) -> Act:
    run_operation(world.running.pk)
    for letter in world.letters:
        world.client.hset(f"rq:job:{letter.job_id}", "status", "finished")
    return Effects(world.lease).tick


def canary(world: World, *, succeeds: bool) -> Act:
    """Its one job has ended; what is left is to decide."""
    chosen = Selection(ids=tuple(letter.pk for letter in world.letters))
    plan = Plan(canary=Canary(count=1, min_success=100))
    row = requeue_create(actor=actor(world.cast.bob), selection=chosen, reason="It is back", plan=plan)
    run_operation(row.pk)
    row.items.filter(outcome=Outcome.REQUEUED).update(effect=Effect.SUCCEEDED if succeeds else Effect.FAILED_AGAIN)
    return lambda: run_operation(row.pk)


def lapse(world: World) -> Act:
    Approval.objects.update(lapses_at=timezone.now())
    return lambda: operation_lapse(actor=system_actor("controller"), operation=world.asked)


def recall_ends(world: World) -> Act:
    """Nothing is queued (any more); what is left is to say so."""
    row = operation_recall(actor=actor(world.cast.bob), operation=world.sent, reason="The wrong group")
    recall_chunk(row)
    return lambda: run_operation(row.pk)


def agents(world: World, *, beats: bool, tick: float = 0.0) -> Act:
    if beats:
        FakeAgent(world.client).beat()

    def act() -> None:
        heard = read_beats(take_sample(world.broker).agents)
        with world.lease.fenced():
            AgentWatch().rows("default", heard, {}, at=time.time(), tick=tick, since=0.0).write()

    return act


def agent_returns(world: World) -> Act:
    make.agent(gone_at=timezone.now())
    return agents(world, beats=True)


def agent_falls_silent(world: World) -> Act:
    make.agent()
    return agents(world, beats=False, tick=60.0)


def take_over(world: World) -> Act:
    ControllerLease.objects.update(expires_at=make.ago(minutes=1))
    return LeaderLease().renew


def new_key(world: World) -> Act:
    return lambda: open_keyring(settings.POOLWARDEN_HOME, _announce_key)


def new_trust_root(world: World) -> Act:
    path = settings.POOLWARDEN_HOME / "keys" / "trust-root.json"
    path.parent.mkdir(mode=0o700)
    return lambda: write_trust_root(path, "test", new_signer(), _announce_root)


def rotation(world: World) -> Act:
    open_keyring(settings.POOLWARDEN_HOME, lambda *_: None)

    def announce(old: CryptoSigner, new: CryptoSigner) -> None:
        _announce_rotation(world.lease, old, new, "It may be known")

    return lambda: rotate_log_key(settings.POOLWARDEN_HOME, announce)


def log_cut_off(world: World) -> Act:
    """An anchor holds a checkpoint over more events than there are."""
    key = SignerKey("poolwarden/test", Ed25519PrivateKey.generate())
    anchor = FileAnchor(Path(settings.POOLWARDEN_HOME) / "checkpoints")
    anchor.put(sign_note(Checkpoint(key.name, 10_000, bytes(32)).text, [key]), 10_000)
    return Checkpointer(key, [anchor], [], interval=0).tick


def weak_protection(world: World) -> Act:
    return protection.look  # no database of a test's is protected wholly


def altered_event(world: World) -> Act:
    connection.check_constraints()  # PostgreSQL alters no table of which it has still to check rows
    with suspended(), connection.cursor() as cursor:
        editor: Any = SimpleNamespace(connection=connection, execute=cursor.execute)
        audit.immutability.remove(None, editor)
        Event.objects.filter(placed__index=0).update(reason="as it suits")
        audit.immutability.install(None, editor)
    return lambda: Scrubber().tick()


def export_written(world: World) -> Act:
    """Its controller died at the last moment: written, and not told."""
    Sequencer().tick()
    size = Leaf.objects.count()
    Export.objects.create(
        kind=ExportKind.JSONL,
        state=ExportState.RUNNING,
        reason="For the auditors",
        actor={"kind": "user", "id": "1", "name": "otto"},
        total=size,
        written=size,
    )
    return Exporter().tick


def regression(world: World) -> Act:
    """One job of a cause failed and was resolved; now another fails."""

    def fails(job_id: str) -> Act:
        write_failed(world.client, job_id, queue="refunds")
        jobs = [job for job in read_failed(world.broker, [job_id], {job_id: "refunds"}) if isinstance(job, FailedJob)]
        return lambda: absorb(world.lease, "default", jobs, {job_id: Facts("refunds")}, timezone.now())

    fails("before")()
    FailureGroup.objects.filter(pool=world.refunds).update(state=GroupState.RESOLVED)
    return fails("after")


def message_given_up(world: World) -> Act:
    """A day old, and nobody can have it: the controller has no key."""
    delivery = NotificationDelivery.objects.create(
        channel=world.channel, payload=sample_message(world.channel, "alice", timezone.now())
    )
    NotificationDelivery.objects.filter(pk=delivery.pk).update(created_at=make.ago(days=2))
    return Deliverer(world.lease).tick


OWN: dict[str, Happening] = {
    "session.rate_limited": held_back,
    "token.created": new_token,
    "token.revoked": token_ends,
    "token.used": first_use,
    "access.role_extended": upgrade,
    "pool.attached": unclaimed_queue,
    "config.signed": signing,
    "config.renewed": renewal,
    "config.refused": reported("config.refused", version=4, code="expired", detail="It expired."),
    "breaker.tripped": breaker_turns("closed", "open"),
    "breaker.recovered": breaker_turns("half_open", "closed"),
    "config.altered": altered_config,
    "secret.resolved": reported("secret.resolved", name="card", job_id="j1"),
    "secret.refused": reported("secret.refused", name="card", job_id="j1", why="not_listed"),
    "operation.requeue_ended": requeue_ends,
    "operation.requeue_followed": requeue_followed,
    "operation.discard_ended": ends(discard_create),
    "operation.quarantine_ended": ends(quarantine_create),
    "operation.archive_ended": ends(archive_create),
    "operation.restore_ended": ends(restore_create),
    "operation.move_ended": move_ends,
    "operation.edit_ended": edit_ends,
    "failure_group.regressed": regression,
    "operation.canary_passed": lambda world: canary(world, succeeds=True),
    "operation.stopped": lambda world: canary(world, succeeds=False),
    "operation.lapsed": lapse,
    "operation.recalled": recall_ends,
    "notification.given_up": message_given_up,
    "agent.seen_first": lambda world: agents(world, beats=True),
    "agent.lost": agent_falls_silent,
    "agent.returned": agent_returns,
    "worker.lost": reported("worker.lost", worker="w", pid=7, exit="signal 9"),
    "job.fenced": reported("job.fenced", job_id="j", end="success"),
    "worker.boot_failed": reported("worker.boot_failed", worker="w", exit_code=1),
    "controller.took_over": take_over,
    "key.created": new_key,
    "key.rotated": rotation,
    "key.trusted": new_trust_root,
    "log.signing_stopped": log_cut_off,
    "log.protection_weak": weak_protection,
    "log.altered": altered_event,
    "audit.exported": export_written,
}
REQUESTS: dict[str, Happening] = {
    action: by_request(name, write) for name, writes in PAGES.items() for write in writes for action, _ in write.events
}
HAPPENINGS = REQUESTS | OWN

READ_ON = frozenset(
    {"config.refused", "secret.resolved", "secret.refused", "worker.lost", "job.fenced", "worker.boot_failed"}
)
"""What agents report: their stream has a reader afterwards, who did not acknowledge anything."""
