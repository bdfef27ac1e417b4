"""The agents: told, verified, running, and what went wrong in their own words."""

import pytest

from pools.models import Pool
from tests.support import factories as make
from tests.support.cast import Cast, signed_in

HOSTILE = "<script>alert(1)</script>"


def test_told_verified_and_running(cast: Cast, payments: Pool) -> None:
    make.worker(payments, agent=payments.agents.get().agent)
    rows = signed_in(cast.vera).get("/agents/").context["rows"]
    assert [(row.agent.name, row.workers, row.is_in_trouble) for row in rows] == [("pay-01", 1, False)]
    assert [(number.label, number.value, number.is_newest) for number in rows[0].serving[0].numbers] == [
        ("Told", 2, True),
        ("Verified", 2, True),
        ("Running", 2, True),
    ]


def test_trouble_first_and_in_words(cast: Cast, payments: Pool) -> None:
    late = make.agent("z-refuses", labels={"zone": "eu"})
    make.serves(late, payments, verified=1, running=1, refused_version=2, refused_code="expired", refused_at=make.ago())
    broken = make.agent("z-broken")
    make.serves(broken, payments, boot_failure="ModuleNotFoundError: shop", boot_failed_at=make.ago(seconds=4))
    make.serves(make.agent("z-gone", gone_at=make.ago(minutes=6), last_seen=make.ago(minutes=6)), payments)
    response = signed_in(cast.vera).get("/agents/")
    assert [row.agent.name for row in response.context["rows"]] == ["z-broken", "z-gone", "z-refuses", "pay-01"]
    content = response.content.decode()
    assert "because its signature has expired" in content and "It keeps running v1." in content
    assert "ModuleNotFoundError: shop" in content and "zone=eu" in content and "published is v2" in content
    shown = signed_in(cast.vera).get("/agents/?show=gone").context["rows"]
    assert [row.agent.name for row in shown] == ["z-gone"]
    assert len(signed_in(cast.vera).get("/agents/?show=trouble").context["rows"]) == 3
    assert len(signed_in(cast.vera).get("/agents/?show=' OR 1=1").context["rows"]) == 4


def test_each_agent_leads_to_the_workers_that_it_lost(cast: Cast, payments: Pool) -> None:
    content = signed_in(cast.vera).get("/agents/").content.decode()
    assert '/audit/?action=worker.lost&amp;actor=pay-01"' in content


def test_an_unknown_refusal_is_shown_as_it_is(cast: Cast, payments: Pool) -> None:
    make.serves(make.agent("new"), payments, refused_version=2, refused_code="solar_flare", refused_at=make.ago())
    assert "because of solar_flare" in signed_in(cast.vera).get("/agents/").content.decode()


def test_agents_of_other_teams_do_not_exist(cast: Cast, payments: Pool) -> None:
    shared = payments.agents.get().agent
    other = make.pool(cast.elsewhere, "hidden-pool")
    make.serves(shared, other)
    make.serves(make.agent("theirs"), other)
    content = signed_in(cast.vera).get("/agents/").content.decode()
    assert "pay-01" in content and "theirs" not in content and "hidden-pool" not in content
    theirs = signed_in(cast.charlie).get("/agents/").content.decode()
    assert "theirs" in theirs and "payments" not in theirs.replace("payments:", "")


def test_an_agent_without_a_pool_is_shown_to_who_can_make_pools(cast: Cast) -> None:
    make.agent("idle-one")
    assert "idle-one" in signed_in(cast.alice).get("/agents/").content.decode()
    assert "No agent has been heard" in signed_in(cast.vera).get("/agents/").content.decode()


def test_what_agents_say_is_text(cast: Cast, payments: Pool) -> None:
    agent = make.agent(HOSTILE, host=HOSTILE, labels={HOSTILE: HOSTILE}, version=HOSTILE, python_version=HOSTILE)
    make.serves(
        agent, payments, boot_failure=HOSTILE, refused_at=make.ago(), refused_code=HOSTILE, refused_detail=HOSTILE
    )
    for path in ("/agents/", "/", "/pools/payments/"):
        content = signed_in(cast.vera).get(path).content.decode()
        assert HOSTILE not in content and "&lt;script&gt;" in content


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
def test_it_only_reads(cast: Cast, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)("/agents/").status_code == 405
