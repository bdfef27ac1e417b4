"""Planning a requeue in a form, and the page of an operation that has a plan, stopped, or can be taken back."""

import json
import re

import pytest

from audit.models import Event
from pools.models import DeadLetter, Operation, Pool
from pools.operations import Canary, Plan, Selection, requeue_create
from pools.selectors.dead_letters import DeadLetterFilter
from tests.dead_letters.letters import failed, numbered
from tests.dead_letters.test_list import text
from tests.operations.conftest import Made
from tests.support import factories as make
from tests.support.cast import Cast, actor, signed_in

PLAN = {"canary_count": "20", "canary_min_success": "90", "canary_minutes": "5", "rate_per_second": "7"}
PLAN |= {"stop_same_failure": "4"}


def url(operation: Operation, verb: str = "") -> str:
    return f"/operations/{operation.pk}/" + (f"{verb}/" if verb else "")


@pytest.fixture
def planned(cast: Cast, payments: Pool) -> Operation:
    """30 jobs, a canary of 20, 5 a second; everything of the canary is requeued."""
    failed(payments, *numbered(30))
    plan = Plan(Canary(20, 95), rate_per_second=5, stop_same_failure=5)
    made = requeue_create(actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter()), reason="x", plan=plan)
    made.items.filter(position__lte=20).update(outcome="requeued", at=make.ago(minutes=1))
    return made


def change(operation: Operation, **values: object) -> None:
    Operation.objects.filter(pk=operation.pk).update(**values)


def test_the_form_suggests_a_careful_plan_and_takes_it(cast: Cast, payments: Pool) -> None:
    group = failed(payments, *numbered(30))
    client = signed_in(cast.bob)
    page = client.get(f"/dead-letters/groups/{group.pk}/").content.decode()
    suggested = dict(re.findall(r'<input type="number" name="(\w+)" value="(\d+)"', page))
    assert suggested == {
        "canary_count": "20",
        "canary_min_success": "95",
        "canary_minutes": "15",
        "stop_same_failure": "5",
    }
    form = {"all_matching": "1", "expected_count": "30", "reason": "The gateway is back", "orphans_stay": "on"} | PLAN
    assert client.post(f"/dead-letters/requeue/?group={group.pk}", form).status_code == 302
    made = Operation.objects.get()
    assert (made.canary_count, made.canary_min_success, made.canary_timeout) == (20, 90, 300)
    assert (made.rate_per_second, made.stop_same_failure, made.orphans_stay) == (7, 4, True)
    detail = Event.objects.get(action="operation.requeue_started").detail
    assert detail["canary"] == {"count": 20, "min_success": 90, "timeout": 300}
    assert (detail["rate_per_second"], detail["stop_same_failure"], detail["orphans_stay"]) == (7, 4, True)
    assert "jobs that depend on a job that is gone" in text(client.get(url(made)).content)


def test_empty_fields_ask_for_nothing(cast: Cast, payments: Pool) -> None:
    failed(payments, "a", "b")
    form = {"all_matching": "1", "reason": "The gateway is back"} | dict.fromkeys(PLAN, "")
    assert signed_in(cast.bob).post("/dead-letters/requeue/", form).status_code == 302
    made = Operation.objects.get()
    assert (made.canary_count, made.rate_per_second, made.stop_same_failure) == (None, None, None)
    assert not made.orphans_stay and "orphans_stay" not in Event.objects.get(action="operation.requeue_started").detail


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("canary_count", "0", "Canary, jobs: "),
        ("canary_count", "many", "Canary, jobs: "),
        ("canary_min_success", "101", "Canary, percent that must succeed: "),
        ("canary_minutes", "1441", "Canary, minutes to wait: "),
        ("rate_per_second", "100001", "Rate, jobs a second: "),
        ("rate_per_second", "-1", "Rate, jobs a second: "),
        ("stop_same_failure", "100", "Same failure, percent that stops: "),
    ],
)
def test_what_cannot_be_is_said_by_field(cast: Cast, payments: Pool, field: str, value: str, says: str) -> None:
    failed(payments, *numbered(3))
    form = {"all_matching": "1", "reason": "The gateway is back"} | PLAN | {field: value}
    response = signed_in(cast.bob).post("/dead-letters/requeue/", form)
    assert response.status_code == 422 and says in text(response.content)
    assert "The gateway is back" in response.content.decode() and f'value="{value}"' in response.content.decode()
    assert not Operation.objects.exists()


def test_the_stages_of_a_canary(cast: Cast, planned: Operation) -> None:
    client = signed_in(cast.vera)

    def stages() -> str:
        page = client.get(url(planned)).content.decode()
        found = re.search(r'id="stages"(.*?)</ol>', page, re.DOTALL)
        assert found
        return text(found[1].encode())

    assert "Canary 20 of 20 sent Sending not begun" in stages()
    change(planned, canary_sent_at=make.ago(minutes=1), effects={"succeeded": 3})
    assert "Canary 3 of 20 have ended Sending not begun" in stages()
    change(planned, canary_over_at=make.ago(), canary_effects={"succeeded": 20}, effects={"succeeded": 20})
    assert "Canary over 20 of 20 succeeded Sending 20 of 30" in stages()
    change(planned, state="ended", ended_at=make.ago())
    assert "Sent 20 of 30 Following" in stages()
    change(planned, effect_at=make.ago())
    assert "Followed" in stages() and "Ended" in stages()


def test_guards_rate_and_time_left(cast: Cast, planned: Operation) -> None:
    change(planned, canary_over_at=make.ago(), effects={"succeeded": 18, "failed_again": 2}, same_failures=1)
    planned.items.filter(position=1).update(effect="failed_again", same_failure=True)
    planned.items.filter(position=2).update(effect="failed_again", same_failure=False)
    page = signed_in(cast.bob).get(url(planned)).content.decode()
    words = text(page.encode())
    assert "2 s left at 5 a second" in words
    assert "Same failure 5 % of 20 came back, stops above 5 %" in words
    assert "Failed again, same cause 1" in words and "Failed again, other cause 1" in words
    assert "failed again, same cause" in words and "20 first, go on at 95 % or more" in words
    only = signed_in(cast.bob).get(url(planned), {"show": "failed_again"}).content.decode()
    assert only.count('id="item-') - only.count('id="item-rows"') - only.count('id="item-tabs"') == 2


def test_time_left_without_a_rate_is_as_it_went_lately(cast: Cast, payments: Pool) -> None:
    failed(payments, *numbered(30))
    made = requeue_create(actor=actor(cast.bob), selection=Selection(filter=DeadLetterFilter()), reason="x")
    client = signed_in(cast.bob)
    assert "left, as fast" not in text(client.get(url(made)).content)
    sent = make.ago(minutes=10)
    made.items.filter(position__lte=20).update(outcome="requeued", at=sent)
    change(made, created_at=make.ago(minutes=11))
    assert re.search(r"5 m(in)? \d* ?s? ?left, as fast as it goes", text(client.get(url(made)).content))
    change(made, canary_count=20, canary_over_at=make.ago(minutes=1))  # the time that the canary took says nothing
    assert "left, as fast" not in text(client.get(url(made)).content)


def test_one_that_stopped_says_why_and_goes_on_with_a_reason(cast: Cast, planned: Operation) -> None:
    why = "3 of 20 jobs of the canary succeeded, less than 95 %"
    change(planned, state="stopped", stopped_because=why, canary_sent_at=make.ago(minutes=1))
    client = signed_in(cast.bob)
    page = client.get(url(planned))
    assert f"Stopped by itself: {why}." in text(page.content) and 'data-dialog="resume"' in page.content.decode()
    assert client.post(url(planned, "resume"), {}).status_code == 422
    planned.refresh_from_db()
    assert planned.state == "stopped"
    assert client.post(url(planned, "resume"), {"reason": "The rest is fine"}).status_code == 302
    planned.refresh_from_db()
    assert planned.state == "running" and planned.stopped_because == "" and planned.canary_over_at is not None


def test_the_rate_is_changed_in_a_form(cast: Cast, planned: Operation) -> None:
    client = signed_in(cast.bob)
    assert client.post(url(planned, "rate"), {"rate_per_second": "50"}, follow=True).status_code == 200
    refused = client.post(url(planned, "rate"), {"rate_per_second": "0"})
    assert refused.status_code == 422 and 'value="0"' in refused.content.decode()
    assert client.post(url(planned, "rate"), {"rate_per_second": ""}).status_code == 302
    planned.refresh_from_db()
    assert planned.rate_per_second is None


def test_recall_and_again_in_dialogs(cast: Cast, planned: Operation) -> None:
    client = signed_in(cast.bob)
    planned.items.filter(position=1).update(effect="failed_again", same_failure=True)
    change(planned, effects={"failed_again": 1}, same_failures=1)
    page = text(client.get(url(planned)).content)
    assert "Recall 19 still queued…" in page and "Do again for 1 failed…" in page and "Sending is paused." in page
    for verb in ("recall", "again"):
        assert client.post(url(planned, verb), {}).status_code == 422
    response = client.post(url(planned, "again"), {"reason": "Mended"})
    made = Operation.objects.latest("pk")
    assert response["Location"] == url(made) and made.again_of == planned
    assert f'href="{url(planned)}"' in client.get(url(made)).content.decode()
    assert "Again of operation" in text(client.get(url(made)).content)
    assert client.post(url(planned, "recall"), {"reason": "Wrong group"}).status_code == 302
    page = text(client.get(url(planned)).content)
    assert "Being recalled: 0 jobs are back so far" in page and "Recall 19" not in page and "Resume" not in page


@pytest.mark.parametrize("verb", ["rate", "recall", "again"])
def test_the_wrong_role_the_outsider_the_wrong_method(cast: Cast, planned: Operation, verb: str) -> None:
    form = {"reason": "because", "rate_per_second": "9"}
    assert f'id="do-{verb}"' not in signed_in(cast.vera).get(url(planned)).content.decode()
    assert signed_in(cast.vera).post(url(planned, verb), form).status_code == 403
    assert Event.objects.latest("pk").outcome == "denied"
    assert signed_in(cast.charlie).post(url(planned, verb), form).status_code == 404
    assert signed_in(cast.bob).get(url(planned, verb)).status_code == 405
    planned.refresh_from_db()
    assert (planned.rate_per_second, planned.recall, Operation.objects.count()) == (5, {}, 1)


def test_outcomes_as_files(cast: Cast, payments: Pool, requeue: Made) -> None:
    failed(payments, "a", "=1+1", func='"quoted", and\nmore')
    operation = requeue()
    client = signed_in(cast.vera)
    response = client.get(url(operation, "outcomes"))
    content = response.getvalue().decode()
    assert response["Content-Disposition"].endswith('outcomes.csv"') and content.count("\r\n") == 3
    assert '2,\'=1+1,payments,"""quoted"", and\nmore",pending,,,\r\n' in content
    lines = client.get(url(operation, "outcomes"), {"format": "jsonl"}).getvalue().decode().splitlines()
    assert [json.loads(line)["job_id"] for line in lines] == ["a", "=1+1"]
    assert signed_in(cast.charlie).get(url(operation, "outcomes")).status_code == 404
    assert DeadLetter.objects.filter(state="open").count() == 2
