import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from audit.models import Event
from pools.models import ConfigVersion, IdempotencyKey, Operation, Pool, RunCommand
from tests.api.calling import Caller, problem
from tests.support.cast import Cast
from tests.support.installation import ROOT, clean_environ, own_database

PAUSE, WHY = "pools/payments/pause", {"reason": "The gateway is down"}

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_repeated_request_has_one_effect(alice: Caller, payments: Pool) -> None:
    first, second = (alice.post(PAUSE, WHY, key="k") for _ in range(2))
    assert first.status_code == second.status_code == 200 and first.json() == second.json()
    assert "Idempotent-Replayed" not in first and second["Idempotent-Replayed"] == "true"
    assert RunCommand.objects.count() == 1 and Event.objects.filter(action="pool.paused").count() == 1


def test_a_created_thing_is_created_once(alice: Caller, frozen: Operation) -> None:
    body = {"kind": "requeue", "filter": {"pool": "payments"}, "reason": "Back", "start": False}
    first, second = (alice.post("operations", body, key="k") for _ in range(2))
    assert first.status_code == second.status_code == 201 and first.json() == second.json()
    assert Operation.objects.count() == 2


def test_without_a_key_each_request_counts(alice: Caller, payments: Pool) -> None:
    assert alice.post(PAUSE, WHY).status_code == 200
    problem(alice.post(PAUSE, WHY), 409)
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize(("path", "body"), [(PAUSE, {"reason": "Another"}), ("pools/payments/drain", WHY)])
def test_a_key_belongs_to_one_request(alice: Caller, payments: Pool, path: str, body: dict[str, str]) -> None:
    alice.post(PAUSE, WHY, key="k")
    assert "another request" in problem(alice.post(path, body, key="k"), 422, "Idempotency-Key")["detail"]
    assert RunCommand.objects.count() == 1


def test_a_key_belongs_to_one_person(alice: Caller, cast: Cast, payments: Pool) -> None:
    alice.post(PAUSE, WHY, key="k")
    problem(Caller(cast.bob).post(PAUSE, WHY, key="k"), 409)
    assert Caller(cast.alice).post(PAUSE, WHY, key="k")["Idempotent-Replayed"] == "true"


def test_a_denied_request_is_recorded_and_keeps_no_key(cast: Cast, payments: Pool) -> None:
    vera = Caller(cast.vera)
    for _ in range(2):
        problem(vera.post(PAUSE, WHY, key="k"), 403)
    assert Event.objects.filter(action="pool.paused", outcome="denied").count() == 2
    assert not IdempotencyKey.objects.exists()
    cast.vera.groups.set(cast.bob.groups.all())
    assert vera.post(PAUSE, WHY, key="k").status_code == 200


def test_a_refused_request_keeps_no_key(alice: Caller, payments: Pool) -> None:
    problem(alice.post("pools/payments/resume", WHY, key="k"), 409)
    problem(alice.post("pools/payments/scale", {"workers": 9, "reason": "a", "expected_version": 1}, key="k"), 409)
    problem(alice.post("pools/payments/scale", {"workers": 999, "reason": "a"}, key="k"), 422, "workers")
    assert not IdempotencyKey.objects.exists()
    assert alice.post("pools/payments/scale", {"workers": 9, "reason": "a"}, key="k").status_code == 201
    assert ConfigVersion.objects.count() == 3


def test_a_key_may_not_be_too_long(alice: Caller, payments: Pool) -> None:
    problem(alice.post(PAUSE, WHY, key="x" * 201), 422, "Idempotency-Key")
    assert alice.post(PAUSE, WHY, key="x" * 200).status_code == 200


def test_requests_at_the_same_time_have_one_effect(tmp_path: Path) -> None:
    home = tmp_path / "home"
    kept = {"POOLWARDEN_HTTPS": "0", "POOLWARDEN_ENV": "test", "POOLWARDEN_ALLOWED_HOSTS": "testserver"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.api.race", "6"],
        cwd=ROOT,
        env=clean_environ(home, DJANGO_SETTINGS_MODULE="controlplane.settings", **kept, **own_database()),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["statuses"] == [201] * 6 and len(told["bodies"]) == 1 and told["replayed"] == 5
    assert told["versions"] == 2 and told["keys"] == 1 and told["events"] == 1
    assert told["uses"] == 1, "the token's first use, too, is recorded once"
    assert os.listdir(home)
