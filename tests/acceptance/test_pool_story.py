"""The operator's story: pause, resume, scale, drain; a config by form, as YAML, in a conflict, and back; a secret."""

import re
import time
from collections.abc import Iterator

import pytest
import redis
from playwright.sync_api import Locator, Page, expect

from tests.acceptance.broker import broker_of, listening, serving, started_at, workers
from tests.acceptance.steps import People, number_in, post
from tests.support.installation import Installation
from tests.support.waiting import wait_for

pytestmark = pytest.mark.acceptance

POOL, QUEUE = "stdlib-compress", "stdlib.compress"


@pytest.fixture
def operator(people: People) -> Iterator[Page]:
    """On the pool's page, which runs with one worker before and after."""
    page = people("operator")
    page.goto(f"/pools/{POOL}/")
    yield page
    page.goto(f"/pools/{POOL}/")
    post(page, f"/pools/{POOL}/resume/", reason="Leave it as it was")
    post(page, f"/pools/{POOL}/scale/", reason="Leave it as it was", workers="1")


@pytest.fixture
def broker(demo: Installation) -> redis.Redis:
    return broker_of(demo)


def ask(page: Page, verb: str, reason: str, **fields: str) -> float:
    """Open the verb's dialog, fill it in, press its button. Returns the moment of the click, unix seconds."""
    page.locator(f"#do-{verb}").click()
    dialog = page.locator(f"dialog#{verb}")
    for label, value in fields.items():
        dialog.get_by_label(label).fill(value)
    dialog.get_by_label("Reason").fill(reason)
    button = dialog.get_by_role("button", name=re.compile(f"^{verb}", re.I))
    clicked = time.time()
    button.click()
    return clicked


def test_pause_and_resume(operator: Page, broker: redis.Redis) -> None:
    wait_for(lambda: broker.zcard(f"rq:wip:{QUEUE}"), timeout=60, message="a job runs")
    with listening(broker) as heard:
        paused = ask(operator, "pause", "The disk is full")
        applied = heard.first(lambda beat: serving(beat, POOL)["run_state"] == "paused", paused, "the agent paused")
        expect(operator.locator("#pool-state")).to_contain_text("Paused")
        command = operator.locator("#commands li").first
        expect(command).to_contain_text(re.compile(r"applied .+ after the click"))
        expect(command).to_contain_text("operator")
        expect(command).to_contain_text("“The disk is full”")
        wait_for(lambda: not broker.zcard(f"rq:wip:{QUEUE}"), timeout=120, message="what ran has finished")
        expect(operator.locator("#worker-rows")).to_contain_text("Paused")
        waiting = broker.llen(f"rq:queue:{QUEUE}")
        operator.goto("/")
        operator.locator("#quiet summary").click()
        expect(operator.locator("#quiet")).to_contain_text(f"{POOL} is paused")
        expect(operator.locator("#quiet")).to_contain_text("“The disk is full”")
        operator.goto(f"/pools/{POOL}/")
        assert broker.llen(f"rq:queue:{QUEUE}") >= waiting > 0

        resumed = ask(operator, "resume", "It has room again")
        heard.first(lambda beat: serving(beat, POOL)["run_state"] == "running", resumed, "the agent resumed")
        wait_for(lambda: broker.zcard(f"rq:wip:{QUEUE}"), timeout=30, message="a job runs again")
    began = started_at(broker, QUEUE)
    assert [at for at in began if at < paused] and [at for at in began if at > resumed]
    # A worker hears it within a blink of the agent; from then until the click on resume, nothing starts.
    assert [at - applied for at in began if applied + 1 < at < resumed] == []
    expect(operator.locator("#pool-state")).to_contain_text("Running")


def test_scale_up_and_down(operator: Page, broker: redis.Redis) -> None:
    with listening(broker) as heard:
        up = ask(operator, "scale", "The backlog is long", **{"Workers per agent": "3"})
        version = published(operator)
        heard.first(lambda beat: len(workers(beat, POOL, "starting", "running")) == 3, up, "three processes")
        expect(operator.locator("#figures")).to_contain_text("of 3", timeout=40_000)
        expect(operator.locator("#versions li").first).to_contain_text(f"v{version}")
        expect(operator.locator("#versions li").first).to_contain_text("3 of 3 attest it", timeout=40_000)

        down = ask(operator, "scale", "The backlog is gone", **{"Workers per agent": "1"})
        assert published(operator) == version + 1
        left = heard.first(lambda beat: len(workers(beat, POOL, "starting", "running")) == 1, down, "one stays")
        heard.first(lambda beat: len(workers(beat, POOL, "draining", "stopping")) == 0, left, "two have left")
    expect(operator.locator("#worker-rows tbody tr")).to_have_count(1, timeout=30_000)


def published(page: Page) -> int:
    """The number of the version that the message of the last act names."""
    said = page.get_by_role("status").filter(has_text=f"of {POOL} asks for")
    expect(said).to_be_visible()
    return number_in(said)


def test_drain(operator: Page, broker: redis.Redis) -> None:
    with listening(broker) as heard:
        drained = ask(operator, "drain", "The host goes away")
        applied = heard.first(lambda beat: serving(beat, POOL)["run_state"] == "draining", drained, "the agent drains")
        heard.first(lambda beat: not workers(beat, POOL, "starting", "running", "draining"), applied, "all have left")
    expect(operator.locator("#pool-state")).to_contain_text("Drain")
    expect(operator.locator("#figures")).to_contain_text("of 0", timeout=30_000)
    assert broker.llen(f"rq:queue:{QUEUE}") > 0, "the jobs stay in their queue"
    ask(operator, "resume", "It is back")
    expect(operator.locator("#figures")).to_contain_text("of 1", timeout=40_000)


def editor(page: Page) -> Locator:
    return page.locator("form.pw-form[hx-post]")


def test_a_config_by_form(operator: Page) -> None:
    operator.goto(f"/pools/{POOL}/config/")
    form = editor(operator)
    before = number_in(form.get_by_role("button", name=re.compile("^Publish")))
    form.get_by_label("Queues").fill("stdlib.compress\nnot a queue")
    form.get_by_label("Job timeout").fill("150")
    form.get_by_label("Message").fill("Longer, for large modules")
    form.get_by_role("button", name=re.compile("^Publish")).click()

    queues = editor(operator).get_by_label("Queues")
    expect(queues).to_have_attribute("aria-invalid", "true")
    expect(operator.locator("#id_queues_error")).to_contain_text("Line 2")
    expect(queues).to_have_value("stdlib.compress\nnot a queue")
    expect(editor(operator).get_by_label("Job timeout")).to_have_value("150")
    expect(editor(operator).get_by_label("Message")).to_have_value("Longer, for large modules")

    queues.fill("stdlib.compress")
    expect(operator.locator("#comparison")).to_contain_text("- job_timeout: 120")
    expect(operator.locator("#comparison")).to_contain_text("+ job_timeout: 150")
    editor(operator).get_by_role("button", name=f"Publish v{before}").click()
    expect(operator.get_by_role("heading", level=1)).to_have_text(f"v{before} of {POOL}")
    expect(operator.locator("#version-state")).to_contain_text("Published", timeout=20_000)
    expect(operator.get_by_role("region", name="What this version changed")).to_contain_text("+ job_timeout: 150")


def test_a_config_as_yaml_and_back_to_the_one_before(operator: Page) -> None:
    operator.goto(f"/pools/{POOL}/config/")
    editor(operator).get_by_role("button", name="YAML").click()
    text = editor(operator).get_by_label("Spec")
    good = text.input_value()
    number = number_in(editor(operator).get_by_role("button", name=re.compile("^Publish")))
    editor(operator).get_by_label("Message").fill("Results are kept for an hour")
    line = good.count("\n", 0, good.index("workers:")) + 1
    for bad, said in (
        (good.replace("workers:", "workers"), f"Line {line}"),
        (good.replace("result_ttl: 500", "result_ttl: -5"), "result_ttl"),
        (good + "wrokers: 3\n", "wrokers"),
    ):
        text.fill(bad)
        editor(operator).get_by_role("button", name=re.compile("^Publish")).click()
        expect(operator.locator("#id_text_error")).to_contain_text(said)
        expect(text).to_have_value(bad)
        expect(editor(operator).get_by_label("Message")).to_have_value("Results are kept for an hour")
    text.fill(good.replace("result_ttl: 500", "result_ttl: 3600"))
    expect(operator.locator("#comparison")).to_contain_text("+ result_ttl: 3600")
    editor(operator).get_by_role("button", name=re.compile("^Publish")).click()
    expect(operator.get_by_role("heading", level=1)).to_have_text(f"v{number} of {POOL}")

    operator.get_by_role("link", name=f"v{number - 1}", exact=True).click()
    operator.get_by_role("link", name=f"Go back to v{number - 1}…").click()
    expect(operator.get_by_role("region", name="What going back would change")).to_contain_text("- result_ttl: 3600")
    operator.get_by_label("Reason").fill("Redis is full")
    operator.get_by_role("button", name=f"Publish v{number + 1} as v{number - 1} was").click()
    expect(operator.get_by_role("heading", level=1)).to_have_text(f"v{number + 1} of {POOL}")
    expect(operator.get_by_text(f"It says what v{number - 1} said.")).to_be_visible()
    expect(operator.get_by_role("region", name="Spec as YAML")).to_contain_text("result_ttl: 500")


def test_two_people_publish_at_once(operator: Page, people: People) -> None:
    operator.goto(f"/pools/{POOL}/config/")
    mine = editor(operator)
    number = number_in(mine.get_by_role("button", name=re.compile("^Publish")))
    mine.get_by_label("Stop grace").fill("45")
    mine.get_by_label("Message").fill("A longer grace")
    other = people("admin")
    other.goto(f"/pools/{POOL}/")
    ask(other, "scale", "I was quicker", **{"Workers per agent": "2"})
    assert published(other) == number

    mine.get_by_role("button", name=re.compile("^Publish")).click()
    conflict = operator.get_by_role("alert").filter(has_text="while you were editing")
    expect(conflict).to_contain_text(f"admin published v{number}")
    expect(conflict).to_contain_text("“I was quicker”")
    expect(operator.get_by_role("region", name="What they changed")).to_contain_text("+ workers: 2")
    expect(editor(operator).get_by_label("Stop grace")).to_have_value("45")
    expect(editor(operator).get_by_label("Message")).to_have_value("A longer grace")
    editor(operator).get_by_label("Workers per agent").fill("2")
    editor(operator).get_by_role("button", name=f"Publish v{number + 1} over v{number}").click()
    expect(operator.get_by_role("heading", level=1)).to_have_text(f"v{number + 1} of {POOL}")


def test_a_secret_reference(operator: Page) -> None:
    operator.goto("/secrets/")
    operator.get_by_role("link", name="Register a secret").click()
    operator.get_by_label("Name").fill("smtp")
    operator.get_by_label("Reference").fill("file:///etc/shadow")
    operator.get_by_label("Description").fill("Opens the mail relay")
    operator.get_by_role("button", name="Register").click()
    expect(operator.locator("#id_uri_error")).to_contain_text("must begin with file:///run/secrets/")
    expect(operator.get_by_label("Name")).to_have_value("smtp")
    expect(operator.get_by_label("Description")).to_have_value("Opens the mail relay")
    operator.get_by_label("Reference").fill("env://POOLWARDEN_SECRET_SMTP")
    operator.get_by_role("button", name="Register").click()
    row = operator.get_by_role("row", name=re.compile("^smtp"))
    expect(row).to_contain_text("env://POOLWARDEN_SECRET_SMTP")
    row.get_by_role("link", name="Remove").click()
    operator.get_by_label("Reason").fill("Only a test")
    operator.get_by_role("button", name="Remove smtp").click()
    expect(operator.get_by_role("row", name=re.compile("^smtp"))).to_have_count(0)
