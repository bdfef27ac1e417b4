"""One pool's page, and the list of pools."""

import json
import re
from html import unescape
from typing import Any

import pytest

from pools.models import Pool, PoolKind, Resolution, RunCommand, RunState
from pools.selectors.pool_page import PAGE
from tests.support import factories as make
from tests.support.cast import Cast, signed_in


def page(cast: Cast, query: str = "", slug: str = "payments") -> Any:
    return signed_in(cast.bob).get(f"/pools/{slug}/{query}")


def chart_data(content: str, name: str) -> Any:
    found = re.search(rf'<script id="{name}-data" type="application/json">(.*?)</script>', content)
    assert found is not None, name
    return json.loads(found[1])


def test_an_outsider_gets_the_answer_of_a_pool_that_is_not_there(cast: Cast, payments: Pool) -> None:
    charlie = signed_in(cast.charlie)
    assert charlie.get("/pools/payments/").status_code == charlie.get("/pools/nothing/").status_code == 404


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete"])
@pytest.mark.parametrize("path", ["/pools/", "/pools/payments/"])
def test_lists_and_pages_only_read(cast: Cast, payments: Pool, path: str, method: str) -> None:
    assert getattr(signed_in(cast.ada), method)(path).status_code == 405


def test_workers_by_tab_and_page(cast: Cast, payments: Pool) -> None:
    for number in range(PAGE + 3):
        make.worker(payments, f"w{number:03}", state="busy" if number < 4 else "idle")
    make.worker(payments, "old", config_number=1)
    make.worker(payments, "lost", gone_at=make.ago(minutes=2))
    make.worker(payments, "long-lost", gone_at=make.ago(days=2))
    workers = page(cast).context["workers"]
    assert [(label, count) for _, label, count in workers.tabs] == [
        ("All", PAGE + 4),
        ("Busy", 4),
        ("Idle", PAGE),
        ("Drifting", 1),
        ("Gone", 1),
    ]
    assert (workers.start, workers.end, len(workers.workers), workers.next) == (1, PAGE, PAGE, 2)
    assert len(page(cast, "?page=2").context["workers"].workers) == 4
    assert [worker.name for worker in page(cast, "?workers=drifting").context["workers"].workers] == ["old"]
    assert "runs v1" in page(cast, "?workers=drifting").content.decode()
    assert ">Gone<" in page(cast, "?workers=gone").content.decode()


@pytest.mark.parametrize("query", ["?page=0", "?page=999999", "?page=-1", "?page=x", "?page=" + "9" * 5000])
def test_pages_that_do_not_exist(cast: Cast, payments: Pool, query: str) -> None:
    make.worker(payments)
    assert len(page(cast, query).context["workers"].workers) == 1


@pytest.mark.parametrize("query", ["?workers=' OR 1=1 --", "?span=<script>", "?workers=all&span=1y"])
def test_filters_that_make_no_sense_are_left_out(cast: Cast, payments: Pool, query: str) -> None:
    make.worker(payments)
    response = page(cast, query)
    assert response.status_code == 200 and response.context["span"] == "1h"
    assert len(response.context["workers"].workers) == 1 and "<script>1" not in response.content.decode()


def test_a_tab_without_workers_offers_the_way_back(cast: Cast, payments: Pool) -> None:
    make.worker(payments, state="idle")
    assert "No workers match" in page(cast, "?workers=busy").content.decode()


@pytest.mark.parametrize(
    ("span", "resolution"), [("1h", Resolution.TEN_SECONDS), ("24h", Resolution.MINUTE), ("7d", Resolution.HOUR)]
)
def test_history_at_the_resolution_of_its_span(cast: Cast, payments: Pool, span: str, resolution: int) -> None:
    make.samples(payments, waiting=[5, 7, 9], resolution=resolution, done=resolution)
    data = chart_data(page(cast, f"?span={span}").content.decode(), "chart-waiting")
    assert data["series"][0]["values"] == [5, 7, 9]
    assert all(later - earlier == resolution for earlier, later in zip(data["times"], data["times"][1:], strict=False))
    rates = chart_data(page(cast, f"?span={span}").content.decode(), "chart-rates")
    assert rates["series"][0]["values"] == [60, 60, 60]


def test_versions_and_commands_mark_the_history(cast: Cast, payments: Pool) -> None:
    make.samples(payments, waiting=[1, 2])
    make.run_command(payments, RunState.PAUSED)
    marks = chart_data(page(cast).content.decode(), "chart-waiting")["marks"]
    assert {mark["label"] for mark in marks} == {"v1", "v2", "Paused"}


def test_without_history_the_chart_says_so(cast: Cast, payments: Pool) -> None:
    assert "No history yet" in page(cast).content.decode()


def test_old_figures_say_how_old_they_are(cast: Cast, payments: Pool) -> None:
    assert "This pool was last heard" not in page(cast).content.decode()
    make.sampled(payments, sampled_at=make.ago(minutes=4))
    content = page(cast).content.decode()
    assert "This pool was last heard" in content and "4 min ago" in content


def test_commands_with_their_acknowledgement(cast: Cast, payments: Pool) -> None:
    first = make.run_command(payments, RunState.PAUSED)
    RunCommand.objects.filter(pk=first.pk).update(acknowledged_at=first.issued_at + (make.ago() - make.ago(seconds=1)))
    make.run_command(payments, RunState.RUNNING)
    content = page(cast).content.decode()
    assert re.search(r"applied (1|0\.9|1\.0)\S* s after the click", content)
    assert "applied by 0 of 1 agents" in content


def test_told_and_attested(cast: Cast, payments: Pool) -> None:
    make.worker(payments, "a")
    make.worker(payments, "b", config_number=1)
    content = page(cast).content.decode()
    assert "1 of 2 attest it" in content and "1 on v1" not in content
    assert "workers: 4" in content and "workers: 5" in content  # the newest version's change


def test_queues_also_those_that_the_broker_has_not_seen(cast: Cast, payments: Pool) -> None:
    make.queue(payments, "payments", depth=12, failed=3)
    content = page(cast).content.decode()
    assert "<code>payments.high</code>" in content and "/dead-letters/?pool=payments&amp;queue=payments" in content


def test_a_queue_s_dead_letters_are_found_whatever_its_name(cast: Cast, payments: Pool) -> None:
    make.queue(payments, "-low, slow", depth=1, failed=1)
    make.dead_letter(make.failure_group(payments), "here", queue="-low, slow")
    make.dead_letter(make.failure_group(payments, "KeyError: x"), "elsewhere", queue="other")
    link = re.search(r'href="(/dead-letters/\?pool=payments&amp;queue=%22-low[^"]+)"', page(cast).content.decode())
    assert link
    listed = signed_in(cast.alice).get(unescape(link[1]) + "&show=jobs").content.decode()
    assert ">here<" in listed and ">elsewhere<" not in listed


def test_a_pool_with_very_many_queues(cast: Cast, payments: Pool) -> None:
    for number in range(30):
        make.queue(payments, f"q{number}", depth=number)
    assert "the 20 deepest of 30" in page(cast).content.decode()


def test_an_attached_pool_explains_itself(cast: Cast) -> None:
    pool = make.pool(cast.payments, "legacy", versions=0, kind=PoolKind.ATTACHED)
    make.worker(pool, "stock", config_number=None)
    content = page(cast, slug="legacy").content.decode()
    assert "it cannot pause, drain or scale them" in content and "Config versions" not in content
    assert "after 3 requeues" in content and "no argument" in content


def test_searchable_arguments_and_that_they_are_being_indexed(cast: Cast) -> None:
    pool = make.pool(cast.payments, "legacy", versions=0, kind=PoolKind.ATTACHED, searchable_arguments=["user.id"])
    assert 'user.id <span class="pw-dim">being indexed' in page(cast, slug="legacy").content.decode()
    pool.indexed_arguments = ["user.id"]
    pool.save()
    assert "being indexed" not in page(cast, slug="legacy").content.decode()


def test_the_number_of_queries_does_not_grow_with_the_pool(
    cast: Cast, payments: Pool, django_assert_max_num_queries: Any
) -> None:
    for number in range(60):
        make.worker(payments, f"w{number}", agent=None)
        make.serves(make.agent(f"host-{number}"), payments)
    bob = signed_in(cast.bob)
    with django_assert_max_num_queries(45):
        assert bob.get("/pools/payments/").status_code == 200


def test_the_list_and_its_filters(cast: Cast, payments: Pool) -> None:
    make.pool(cast.payments, "emails", now={"waiting": 9, "workers": 0, "wanted": 2})
    make.pool(cast.elsewhere, "hidden")
    bob = signed_in(cast.bob)
    assert [row.pool.slug for row in bob.get("/pools/").context["rows"]] == ["emails", "payments"]
    assert [row.pool.slug for row in bob.get("/pools/?q=pay").context["rows"]] == ["payments"]
    assert [row.pool.slug for row in bob.get("/pools/?show=trouble").context["rows"]] == ["emails"]
    make.queue(payments, "cards.high")
    assert [row.pool.slug for row in bob.get("/pools/?q=cards").context["rows"]] == ["payments"]
    assert bob.get("/pools/?q=hidden").context["rows"] == []


@pytest.mark.parametrize("q", ["'; DROP TABLE pools_pool; --", "<script>alert(1)</script>", "%", "x" * 5000, "a\x00b"])
def test_a_hostile_filter_finds_nothing_and_breaks_nothing(cast: Cast, payments: Pool, q: str) -> None:
    response = signed_in(cast.bob).get("/pools/", {"q": q})
    assert response.status_code == 200 and "<script>alert" not in response.content.decode()
    assert Pool.objects.count() == 1


def test_a_filter_that_hides_everything_says_so(cast: Cast, payments: Pool) -> None:
    assert "No pools match" in signed_in(cast.bob).get("/pools/?q=zzz").content.decode()
