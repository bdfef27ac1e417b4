"""One worker's page."""

import pytest

from pools.models import Pool
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

HOSTILE = "<script>alert(1)</script>"


def page_of(cast: Cast, name: str, status: int = 200) -> str:
    answer = signed_in(cast.vera).get(f"/workers/{name}/")
    assert answer.status_code == status
    return answer.content.decode()


def test_what_it_does_and_what_its_config_says(cast: Cast, payments: Pool) -> None:
    agent = payments.agents.get().agent
    busy = {
        "state": "busy",
        "current_job_id": "a job",
        "current_func": "shop.capture",
        "current_since": make.ago(minutes=3),
    }
    make.worker(payments, agent=agent, config_number=1, successful=12, failed=3, restarts=2, **busy)
    page = page_of(cast, "pay-01/1")
    for said in (
        "shop.capture",
        "/jobs/a%20job/",
        "12 done, 3 failed",
        "restarted 2 times",
        "s is v2",
        "#agent-pay-01",
    ):
        assert said in page, said
    assert "No isolation" in page and "by v1" in page
    assert "/audit/?target=pay-01%2F1" in page and "renewed every 5 s" in page


def test_its_neighbours_and_those_that_ended(cast: Cast, payments: Pool) -> None:
    make.worker(payments)
    make.worker(payments, "pay-01/2", state="busy", current_job_id="j2")
    make.worker(payments, "ended", gone_at=make.ago(minutes=2))
    make.worker(payments, "ended long ago", gone_at=make.ago(hours=2))
    make.worker(payments, "elsewhere", host="pay-02")
    page = page_of(cast, "pay-01/1")
    assert page.index("/workers/pay-01/2/") < page.index("/workers/ended/")
    assert "ended long ago" not in page and "/workers/elsewhere/" not in page
    assert "It is gone since" in page_of(cast, "ended")


def test_a_stock_worker_has_no_agent_and_no_config(cast: Cast, payments: Pool) -> None:
    make.worker(payments, f"{HOSTILE} of stock", config_number=None, host="", current_job_id="j", state="busy")
    page = page_of(cast, "%3Cscript%3Ealert(1)%3C/script%3E of stock")
    assert HOSTILE not in page and "it was not started by one" in page and "renewed by rq" in page
    assert "No signed config" in page


@pytest.mark.parametrize("name", ["nobody", "hidden/1", "a%00b"])
def test_an_unknown_one_and_one_of_another_team_are_alike(cast: Cast, payments: Pool, name: str) -> None:
    make.worker(make.pool(cast.elsewhere, "hidden-pool"), "hidden/1")
    page = page_of(cast, name, 404)
    assert "does not know this worker" in page and "hidden-pool" not in page


def test_the_pool_and_the_job_lead_to_it(cast: Cast, payments: Pool) -> None:
    make.worker(payments, state="busy", current_job_id="j1")
    for path in ("/pools/payments/", "/jobs/j1/"):
        assert 'href="/workers/pay-01/1/"' in signed_in(cast.vera).get(path).content.decode(), path
