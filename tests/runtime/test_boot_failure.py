"""Workers that cannot start: the storm ends, the reason is shown, and the old config's workers go on."""

from pathlib import Path

from rq import Queue

from tests.runtime.conftest import APPLICATION
from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for


def test_preload_that_cannot_be_imported_stops_the_storm(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec(workers=4, application={"directory": str(APPLICATION), "preload": ["no_such_module"]}))
    host.start()
    failure = wait_for(lambda: host.pool(uid).get("boot_failure"), timeout=20, message=host.log)
    assert failure["exit_code"] == 1
    assert "No module named 'no_such_module'" in failure["message"]
    (event,) = wait_for(lambda: host.events("worker.boot_failed"), message="told once")
    assert (event["config"], event["exit_code"], event["pool_uid"]) == (1, 1, uid)
    assert host.log().count("could not start") == 3
    assert [worker["state"] for worker in host.heartbeat()["workers"]] == ["backoff"]
    host.configure(uid, spec(workers=2))
    host.wait_for_workers(uid, 2, config=2)
    assert host.pool(uid)["boot_failure"] is None


def test_interpreter_that_does_not_exist_leaves_the_old_workers(host: AgentHost, tmp_path: Path) -> None:
    uid = new_uid()
    host.configure(uid, spec(workers=2))
    host.start()
    before = host.wait_for_workers(uid, 2)
    missing = {"directory": str(APPLICATION), "interpreter": str(tmp_path / "no-python")}
    host.configure(uid, spec(workers=2, application=missing))
    failure = wait_for(lambda: host.pool(uid)["boot_failure"], message=host.log)
    assert failure["exit_code"] == 127
    assert "no-python" in failure["message"]
    assert [worker["pid"] for worker in host.workers(uid)] == [worker["pid"] for worker in before]
    assert (host.pool(uid)["verified"], host.pool(uid)["running"]) == (2, 1)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 1, 1)
    wait_for(lambda: job.get_status() == "finished", message="the old version still works")


def test_missing_working_directory_is_named(host: AgentHost, tmp_path: Path) -> None:
    uid = new_uid()
    host.configure(uid, spec(application={"directory": str(tmp_path / "gone")}))
    host.start()
    failure = wait_for(lambda: host.pool(uid).get("boot_failure"), message=host.log)
    assert str(tmp_path / "gone") in failure["message"]
