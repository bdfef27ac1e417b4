"""Workers live where the user's application lives: another virtual environment, another folder, a Django project."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rq import Queue
from rq.job import Job

from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for

PROJECT = Path(__file__).with_name("shop")
PACKAGES = ("rq", "redis", "django")


@pytest.fixture(scope="session")
def shop_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter with rq, redis and Django, and nothing of Poolwarden."""
    environment = tmp_path_factory.mktemp("shop") / "venv"
    python = environment / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    wanted = [f"{package}=={version(package)}" for package in PACKAGES]
    installer = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", python, *wanted]
    subprocess.run(installer, check=True)
    return python


@pytest.fixture
def shop(tmp_path: Path, shop_python: Path) -> dict[str, object]:
    """The spec's ``application`` for the project in tests/runtime/shop, on a database of this test's own."""
    database = {"SHOP_DATABASE": str(tmp_path / "shop.sqlite3")}
    subprocess.run(
        [shop_python, "-m", "django", "migrate", "--run-syncdb", "--settings=shop.settings", "--verbosity=0"],
        cwd=PROJECT,
        env=database,
        check=True,
    )
    return {"interpreter": str(shop_python), "directory": str(PROJECT), "preload": ["django:shop.settings"]}


def test_orm_job_runs_in_the_projects_own_interpreter(host: AgentHost, shop: dict[str, object], tmp_path: Path) -> None:
    uid = new_uid()
    host.environment = {"SHOP_DATABASE": str(tmp_path / "shop.sqlite3"), "SHOP_TOKEN": "four"}
    host.options = ["--secret-prefix", "env://SHOP_"]
    host.configure(
        uid,
        {
            "queues": ["orders"],
            "workers": 2,
            "application": shop,
            "environment": ["SHOP_DATABASE"],
            "secrets": ["token"],
        },
        secrets={"token": "env://SHOP_TOKEN"},
    )
    host.start()
    host.wait_for_workers(uid, 2)
    queue = Queue("orders", connection=host.valkey.client)
    placed = [queue.enqueue("shop.tasks.place", name) for name in ("tea", "cups", "a pot")]
    for job in placed:
        _finished(host, job)
    count, where, secret = (queue.enqueue(f"shop.tasks.{name}") for name in ("count", "where", "token_length"))
    for job in (count, where, secret):
        _finished(host, job)
    assert count.return_value() == 3
    assert where.return_value() == {
        "interpreter": str(shop["interpreter"]),
        "directory": str(PROJECT),
        "poolwarden": [],
        "stdlib_secrets": True,
    }
    assert secret.return_value() == 4
    missing = queue.enqueue("shop.tasks.get_order", "saucers")
    wait_for(lambda: missing.get_status() == "failed", message="its own exception")
    assert "shop.models.Order.DoesNotExist" in (missing.latest_result().exc_string or "")


def _finished(host: AgentHost, job: Job) -> None:
    wait_for(
        lambda: job.get_status() == "finished",
        timeout=20,
        message=f"{job.func_name}: {job.latest_result()} {host.log()}",
    )
