"""Signs what agents obey and puts it on the broker.

1. A config version is signed once; its envelope is stored in the transaction that makes it the published one.
2. Only then is it sent. Killed in between, the relay repeats the message and the same bytes are sent.
3. A run state is signed from its command's row alone, so that signing it again gives the same bytes (RFC 8032, 5.1.6).
"""

import hashlib
import json
import time
from datetime import UTC, datetime
from typing import TypedDict

from django.conf import settings
from django.utils import timezone

from audit.actor import system_actor
from audit.recorder import record
from pools.broker.connection import get_broker
from pools.broker.publish import publish_config, publish_run
from pools.controller.lease import LeaderLease
from pools.models import ConfigState, ConfigVersion, OutboxMessage, Pool, RunCommand
from pools.signing import (
    CONFIG_TYPE,
    RUN_TYPE,
    SigningError,
    TrustRoot,
    config_payload,
    run_payload,
    sign,
    verify_config,
    verify_run,
)
from pools.signing.keys import CryptoSigner

VALIDITY = 90 * 86_400
CLOCK_TOLERANCE = 60
"""Seconds by which an agent's clock may lag behind ours without the agent calling a fresh config not yet valid."""


class NotReady(Exception):
    """A message came before what it builds on. Tried again."""


class _Place(TypedDict):
    root: TrustRoot
    env: str
    pool_uid: str


class Publisher:
    def __init__(self, signer: CryptoSigner, lease: LeaderLease) -> None:
        self._signer = signer
        self._lease = lease

    def deliver_config(self, message: OutboxMessage) -> None:
        """Sign version ``<pool>:<number>`` if nobody has, and send it.

        Raises NotReady, SigningError, BrokerUnavailable.
        """
        slug, number = _parts(message.key)
        version = ConfigVersion.objects.select_related("pool").get(pool__slug=slug, number=number)
        if version.envelope is None:
            self._sign(version)
        self.send_config(version)

    def send_config(self, version: ConfigVersion) -> None:
        """Put a signed version on the broker, unless a newer one is there."""
        assert version.envelope is not None
        pool = version.pool
        # Generation 0 leaves the hint's own: the run state has a message and an order of its own.
        publish_config(get_broker(pool.broker), str(pool.uid), pool.slug, version.number, 0, bytes(version.envelope))

    def deliver_run(self, message: OutboxMessage) -> None:
        """Sign and send the run state of command ``<pool>:<generation>``."""
        slug, generation = _parts(message.key)
        self.send_run(RunCommand.objects.select_related("pool").get(pool__slug=slug, generation=generation))

    def send_run(self, command: RunCommand) -> None:
        pool = command.pool
        envelope = self.run_envelope(command)
        publish_run(get_broker(pool.broker), str(pool.uid), pool.slug, 0, command.generation, envelope)

    def run_envelope(self, command: RunCommand) -> bytes:
        """The signed run state of a command: the same bytes however often it is asked for."""
        pool = command.pool
        payload = run_payload(
            env=pool.environment,
            pool_uid=str(pool.uid),
            pool=pool.slug,
            generation=command.generation,
            state=str(command.state),
            issued=int(command.issued_at.timestamp()),
            command_id=str(command.command_id),
            breakers=command.breakers,
        )
        return sign(payload, RUN_TYPE, [self._signer])

    def version_in(self, envelope: bytes, pool_uid: str) -> int:
        """The version of a current config that our own key signed for this pool; 0 for anything else."""
        now = int(time.time())
        try:
            return verify_config(
                envelope, **self._place(pool_uid, now), last=None, now=now, parse_spec=lambda spec: spec
            ).version
        except SigningError:
            return 0

    def generation_in(self, envelope: bytes, pool_uid: str) -> int:
        """The generation of a run state that our own key signed for this pool; 0 for anything else."""
        now = int(time.time())
        try:
            return verify_run(envelope, **self._place(pool_uid, now), last_generation=None, now=now).generation
        except SigningError:
            return 0

    def _place(self, pool_uid: str, now: int) -> _Place:
        env = settings.POOLWARDEN_ENV
        root = TrustRoot.create(env=env, expires=now + 1, keys=[self._signer.public_key])
        return {"root": root, "env": env, "pool_uid": pool_uid}

    def _sign(self, version: ConfigVersion) -> None:
        payload, expires = self._payload(version)
        version.envelope = sign(payload, CONFIG_TYPE, [self._signer])
        version.payload_sha256 = hashlib.sha256(payload).hexdigest()
        version.signed_at = timezone.now()
        version.expires = datetime.fromtimestamp(expires, UTC)
        version.state = ConfigState.PUBLISHED
        older = ConfigVersion.objects.filter(pool=version.pool, number__lt=version.number)
        with self._lease.fenced():
            version.save(update_fields=["envelope", "payload_sha256", "signed_at", "expires", "state"])
            older.filter(state=ConfigState.PUBLISHED).update(state=ConfigState.SUPERSEDED)
            Pool.objects.filter(pk=version.pool_id, published_number__lt=version.number).update(
                published_number=version.number
            )
            self._record(version)

    def _payload(self, version: ConfigVersion) -> tuple[bytes, int]:
        """The bytes to sign and their expiry (Unix seconds)."""
        now = int(time.time())
        pool = version.pool
        payload = config_payload(
            env=pool.environment,
            pool_uid=str(pool.uid),
            pool=pool.slug,
            version=version.number,
            prev_sha256=_previous_sha256(version),
            not_before=now - CLOCK_TOLERANCE,
            expires=now + VALIDITY,
            spec=json.loads(bytes(version.spec)),
            secrets=version.secrets,
            change_id=str(version.change_id),
        )
        return payload, now + VALIDITY

    def _record(self, version: ConfigVersion) -> None:
        pool = version.pool
        assert version.expires is not None
        record(
            actor=system_actor("controller"),
            action="config.signed",
            target=pool.target,
            detail={
                "version": version.number,
                "payload_sha256": version.payload_sha256,
                "keyid": self._signer.public_key.keyid,
                "expires": version.expires.isoformat(),
            },
        )


def _previous_sha256(version: ConfigVersion) -> str:
    if version.number == 1:
        return ""
    previous = ConfigVersion.objects.get(pool=version.pool, number=version.number - 1)
    if not previous.payload_sha256:
        raise NotReady(f"{version.pool.slug} v{previous.number} is not signed yet")
    return previous.payload_sha256


def _parts(key: str) -> tuple[str, int]:
    slug, _, number = key.rpartition(":")
    return slug, int(number)
