import pytest

from audit.actor import Actor
from audit.models import Event, Pending
from audit.recorder import record
from audit.target import Target

ANA = Actor(kind="user", id="7", name="Ana Ruiz", request_id="a1b2", address="10.8.4.21", session="5c1e0a9b")
PAYMENTS = Target("pool", "11", "payments", pool="payments")


@pytest.mark.django_db
def test_it_records() -> None:
    event = record(actor=ANA, action="pool.paused", target=PAYMENTS, reason="month-end freeze")

    assert Event.objects.get().leaf == event.leaf
    assert Pending.objects.get().event_id == event.pk
