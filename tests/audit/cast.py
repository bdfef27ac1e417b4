"""The people and things of these tests."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit.actor import Actor
from audit.checkpoint import SignerKey
from audit.models import Event
from audit.recorder import record
from audit.sequencer import Sequencer
from audit.target import Target

ANA = Actor(kind="user", id="7", name="Ana Ruiz", request_id="a1b2", address="10.8.4.21", session="5c1e0a9b")
PAYMENTS = Target("pool", "11", "payments", pool="payments")
LOG_KEY = SignerKey("poolwarden/test", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def happened(**fields: Any) -> Event:
    """An event that is recorded but not yet in the log: Ana pauses payments, unless told otherwise."""
    return record(**{"actor": ANA, "action": "pool.paused", "target": PAYMENTS, "reason": "month-end freeze"} | fields)


def logged(**fields: Any) -> Event:
    """An event with its leaf."""
    event = happened(**fields)
    Sequencer().tick()
    event.refresh_from_db()
    return event


def actor_for(user: Any) -> Actor:
    return Actor(kind="user", id=str(user.pk), name=user.get_username(), user=user)
