"""Secrets reach the job that may read them, and nothing else."""

import base64
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from rq import Queue
from rq.job import Job

from pools.runtime import secrets
from pools.runtime.worker_config import SecretAccess
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for

CANARY = "canary-b3f1c6d2"


def access(references: dict[str, str], *prefixes: str, **environment: str) -> SecretAccess:
    return SecretAccess(references, list(prefixes), environment)


def why(name: str, granted: SecretAccess) -> str:
    with pytest.raises(secrets.SecretError) as caught:
        secrets.read(name, granted)
    assert CANARY not in str(caught.value)
    return f"{type(caught.value).__name__} {caught.value.why}"


class TestPlaces:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """An allowed folder beside one that is not."""
        for name in ("allowed", "private"):
            (tmp_path / name).mkdir()
            (tmp_path / name / "token").write_text(f"{CANARY}\n")
        return tmp_path

    def test_file_under_an_allowed_folder_without_its_last_newline(self, folder: Path) -> None:
        granted = access({"token": f"file://{folder}/allowed/token"}, f"file://{folder}/allowed/")
        assert secrets.read("token", granted) == CANARY

    def test_name_that_the_spec_does_not_list(self, folder: Path) -> None:
        assert why("token", access({}, f"file://{folder}/allowed/")) == "SecretRefused not_listed"

    @pytest.mark.parametrize("path", ["private/token", "allowed/../private/token", "allowed/%2e%2e/private/token"])
    def test_file_elsewhere(self, folder: Path, path: str) -> None:
        granted = access({"token": f"file://{folder}/{path}"}, f"file://{folder}/allowed/")
        assert why("token", granted) == "SecretRefused not_allowed"

    def test_symbolic_link_that_leads_out(self, folder: Path) -> None:
        (folder / "allowed" / "link").symlink_to(folder / "private" / "token")
        granted = access({"token": f"file://{folder}/allowed/link"}, f"file://{folder}/allowed/")
        assert why("token", granted) == "SecretRefused not_allowed"

    def test_symbolic_link_that_stays_inside_as_kubernetes_makes_them(self, folder: Path) -> None:
        (folder / "allowed" / "link").symlink_to(folder / "allowed" / "token")
        granted = access({"token": f"file://{folder}/allowed/link"}, f"file://{folder}/allowed/")
        assert secrets.read("token", granted) == CANARY

    def test_folder_whose_name_only_begins_alike(self, folder: Path) -> None:
        granted = access({"token": f"file://{folder}/allowed/token"}, f"file://{folder}/allow/")
        assert why("token", granted) == "SecretRefused not_allowed"

    def test_no_prefix_allows_nothing(self, folder: Path) -> None:
        granted = access({"a": f"file://{folder}/allowed/token", "b": "env://TOKEN"}, TOKEN=CANARY)
        assert why("a", granted) == why("b", granted) == "SecretRefused not_allowed"

    @pytest.mark.parametrize("uri", ["bao://kv/token#x", "file://host/allowed/token", "", "allowed/token"])
    def test_other_references(self, folder: Path, uri: str) -> None:
        assert why("token", access({"token": uri}, f"file://{folder}/allowed/")) == "SecretRefused not_allowed"

    def test_missing_huge_binary_and_special_files(self, folder: Path) -> None:
        (folder / "allowed" / "huge").write_text("x" * (secrets.MAX_BYTES + 1))
        (folder / "allowed" / "binary").write_bytes(b"\xff\xfe")
        (folder / "allowed" / "folder").mkdir()
        os.mkfifo(folder / "allowed" / "pipe")
        names = ("absent", "huge", "binary", "folder", "pipe")
        granted = access({n: f"file://{folder}/allowed/{n}" for n in names}, f"file://{folder}/")
        assert [why(name, granted) for name in names] == [
            "SecretUnavailable missing",
            *["SecretUnavailable unreadable"] * 4,
        ]

    def test_environment_under_an_allowed_start(self) -> None:
        granted = access({"a": "env://APP_TOKEN", "b": "env://OTHER", "c": "env://APP_NONE"}, "env://APP_")
        granted.environment["APP_TOKEN"] = granted.environment["OTHER"] = CANARY
        assert secrets.read("a", granted) == CANARY
        assert why("b", granted) == "SecretRefused not_allowed"
        assert why("c", granted) == "SecretUnavailable missing"

    def test_outside_a_job_there_are_no_secrets(self) -> None:
        with pytest.raises(secrets.SecretUnavailable, match="inside a running job"):
            secrets.get("token")

    def test_values_and_places_are_not_in_a_repr(self) -> None:
        granted = access({"token": f"file:///{CANARY}"}, f"file:///{CANARY}", TOKEN=CANARY)
        assert CANARY not in repr(granted)


def test_jobs_read_listed_secrets_and_each_reading_is_an_event(host: AgentHost, tmp_path: Path) -> None:
    uid, vault = new_uid(), tmp_path / "vault"
    vault.mkdir()
    (vault / "file").write_text(CANARY)
    host.options = ["--secret-prefix", f"file://{vault}/", "--secret-prefix", "env://APP_"]
    host.environment = {"APP_TOKEN": CANARY, "APP_PLAIN": "shown", "APP_OTHER": "not shown"}
    names = {"file": f"file://{vault}/file", "variable": "env://APP_TOKEN", "elsewhere": "file:///etc/passwd"}
    host.configure(uid, spec(secrets=list(names), environment=["APP_PLAIN"]), secrets=names)
    host.start()
    host.wait_for_workers(uid, 1)
    queue = Queue("mail", connection=host.valkey.client)
    good = [queue.enqueue("tasks.secret_length", name) for name in ("file", "variable")]
    bad = [queue.enqueue("tasks.secret_length", name) for name in ("elsewhere", "unlisted")]
    leaking, shown = queue.enqueue("tasks.secret_then_fail", "file"), queue.enqueue("tasks.environment")
    for job in (*good, shown):
        _ended(host, job, "finished")
    for job in (*bad, leaking):
        _ended(host, job, "failed")
    assert [job.return_value() for job in good] == [len(CANARY)] * 2
    resolved, refused = host.events("secret.resolved"), host.events("secret.refused")
    assert [(event["name"], event["job_id"]) for event in resolved[:2]] == [
        ("file", good[0].id),
        ("variable", good[1].id),
    ]
    assert [(event["name"], event["why"]) for event in refused] == [
        ("elsewhere", "not_allowed"),
        ("unlisted", "not_listed"),
    ]
    assert {"pool_uid", "pool", "worker", "config", "agent", "host", "at"} <= set(resolved[0])
    processes = shown.return_value()
    assert "APP_PLAIN=shown" in processes["worker environ"]
    assert not any("APP_OTHER" in text for text in processes.values())
    failure = leaking.latest_result().exc_string
    assert failure.count("[redacted secret file]") == 5
    forms = (CANARY, CANARY.encode().hex(), base64.b64encode(CANARY.encode()).decode().rstrip("="))
    everything = [*processes.values(), host.log(), *_broker_texts(host), *_state_texts(host)]
    assert not any(form in text for text in everything for form in forms)


def test_broker_password_is_in_no_command_line_or_environment(host: AgentHost) -> None:
    uid, client = new_uid(), host.valkey.client
    client.acl_setuser("agent", enabled=True, passwords=[f"+{CANARY}"], commands=["+@all"], keys=["*"], channels=["*"])
    url = f"redis://agent:{CANARY}@127.0.0.1:{host.valkey.port}/0"
    secret_file = host.directory.parent / "url"
    secret_file.write_text(url)
    host.environment = {"POOLWARDEN_REDIS_URL": "", "POOLWARDEN_REDIS_URL_FILE": str(secret_file)}
    host.configure(uid, spec(environment=["POOLWARDEN_REDIS_URL", "POOLWARDEN_REDIS_URL_FILE"]))
    host.start()
    try:
        host.wait_for_workers(uid, 1)
        shown = Queue("mail", connection=client).enqueue("tasks.environment")
        _ended(host, shown, "finished")
        assert not any(CANARY in text or "POOLWARDEN" in text for text in shown.return_value().values())
        assert not any(CANARY in text for text in (host.log(), *_state_texts(host)))
        assert host.stop() == 0
    finally:
        client.acl_deluser("agent")


def _ended(host: AgentHost, job: Job, status: str) -> None:
    wait_for(lambda: job.get_status() == status, timeout=15, message=f"{job.func_name} {job.args}: {host.log()}")


def _broker_texts(host: AgentHost) -> list[str]:
    """What the broker holds, with tracebacks read through rq: it stores them compressed."""
    client: Any = host.valkey.client
    texts = [str(client.xrange(host.keys.events)), str(client.hgetall(host.keys.agents))]
    for key in client.keys("rq:job:*"):
        job = Job.fetch(key.decode().removeprefix("rq:job:"), connection=client)
        texts += [result.exc_string or "" for result in job.results()]
    return texts


def _state_texts(host: AgentHost) -> list[str]:
    texts = []
    for file in host.state.rglob("*"):
        with suppress(FileNotFoundError):  # an agent replaces its files
            if file.is_file():
                texts.append(file.read_text())
    return texts
