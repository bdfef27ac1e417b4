"""``manage.py broker_users``: lines that a broker takes, with digests of passwords that only their files hold."""

import hashlib
import io
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from pools.models import Pool
from tests.support import factories as make
from tests.support.cast import Cast, make_cast
from tests.support.valkey import ValkeyServer


@pytest.fixture
def cast(db: None) -> Cast:
    return make_cast()


@pytest.fixture
def payments(cast: Cast) -> Pool:
    pool = make.pool(cast.payments)
    make.config_version(pool, 3, make.spec(queues=["payments", "refunds.new"]))
    Pool.objects.filter(pk=pool.pk).update(config_number=3)  # on its way: version 2 runs still
    return pool


def told(folder: Path, **options: Any) -> list[str]:
    out = io.StringIO()
    call_command("broker_users", passwords=folder, stdout=out, **options)
    return out.getvalue().splitlines()


def test_every_line_is_taken_and_its_password_signs_in(payments: Pool, tmp_path: Path, valkey: ValkeyServer) -> None:
    folder = tmp_path / "passwords"
    lines = told(folder)
    names = ["console", "controller", "agent", "worker-payments", "producer-payments"]
    assert [line.split()[2] for line in lines] == names == [path.name for path in sorted(folder.iterdir(), key=_order)]
    try:
        for name, line in zip(names, lines, strict=True):
            assert valkey.client.execute_command(*line.split())
            password = (folder / name).read_text().strip()
            assert password not in line and (folder / name).stat().st_mode & 0o777 == 0o600
            assert line.endswith(f"#{hashlib.sha256(password.encode()).hexdigest()}")
            client = valkey.client
            assert client.execute_command("AUTH", name, password) and client.ping()
    finally:
        valkey.client.execute_command("ACL", "DELUSER", *names)
    worker = lines[3].split()
    for queue in ("payments", "payments.high", "refunds.new"):
        assert f"~rq:queue:{queue}" in worker and f"~rq:failed:{queue}" in worker
    assert f"~pw:retries:{payments.uid}" in worker and "~*" not in worker and "+@all" not in worker
    assert told(folder) == lines, "what is there stays"


def _order(path: Path) -> int:
    return ["console", "controller", "agent", "worker-payments", "producer-payments"].index(path.name)


def test_one_pool_and_the_form_of_a_file(payments: Pool, tmp_path: Path) -> None:
    lines = told(tmp_path, pool=["payments"], aclfile=True)
    assert [line.split()[:3] for line in lines] == [
        ["user", "worker-payments", "on"],
        ["user", "producer-payments", "on"],
    ]


def test_what_cannot_be_done_is_said(payments: Pool, tmp_path: Path) -> None:
    (tmp_path / "console").touch(0o644)
    for options, said in (
        ({"pool": ["nothing"]}, "--pool: no managed pool of broker 'default' is called 'nothing'"),
        ({"broker": "elsewhere"}, "--broker: there is no broker 'elsewhere'"),
        ({}, "console can be read by others: chmod 600"),
    ):
        with pytest.raises(CommandError, match=said):
            told(tmp_path, **options)
    (tmp_path / "console").chmod(0o600)
    with pytest.raises(CommandError, match=r"console is empty\. Nothing is printed"):
        told(tmp_path)
