"""An agent brings what runs to what is signed, and keeps it there."""

from rq import Queue

from tests.runtime.specs import spec
from tests.support.agents import AgentHost, new_uid
from tests.support.waiting import wait_for


def test_signed_config_starts_workers_that_run_jobs(host: AgentHost) -> None:
    uid = new_uid()
    host.configure(uid, spec(workers=2))
    host.start()
    host.wait_for_workers(uid, 2, config=1)
    job = Queue("mail", connection=host.valkey.client).enqueue("tasks.add", 2, 3)
    wait_for(lambda: job.get_status() == "finished", message=f"the job ran: {host.log()}")
    assert job.return_value(refresh=True) == 5
    assert host.stop() == 0
