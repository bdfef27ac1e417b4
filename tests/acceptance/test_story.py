"""The story: on-call sees a failure and requeues it with a reason, the auditor finds who did it, a viewer cannot."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.acceptance.steps import People, a_group, a_job, number_in, post, sign_in, token_of, wait_reloading
from tests.support.installation import ROOT, Installation, clean_environ

pytestmark = pytest.mark.acceptance

WHY = "The modules were fixed & deployed <today>"


@dataclass
class Requeued:
    """What on-call did: ``path`` of the operation, one of its jobs, and how many there were."""

    path: str
    job: str
    count: int


@pytest.fixture(scope="module")
def requeued(browser: Browser, demo: Installation) -> Iterator[Requeued]:
    """On-call sees a failure on the overview, opens it, requeues it with a reason, and watches the outcome."""
    page = sign_in(browser, demo.url, "oncall")
    open_failure(page)
    act = panel(page, "Requeue this group")
    count = number_in(act.locator("dt.pw-big"))
    act.get_by_label("Reason").fill(WHY)
    for canary in act.get_by_label("Canary, jobs").all():
        canary.fill("")
    act.get_by_role("button", name=re.compile(f"^Requeue {count:,} jobs?$")).click()
    expect(page.locator("#state")).to_have_text("Ended", timeout=30_000)
    job = page.locator("#item-rows a[data-open]").first.get_attribute("href") or ""
    yield Requeued(page.url, job, count)
    page.context.close()


def panel(page: Page, name: str) -> Locator:
    return page.get_by_role("region", name=name, exact=True)


def open_failure(page: Page) -> None:
    """From the overview's first new failure to the page of its cause."""
    triage = panel(page, "Needs attention").get_by_role("link", name=re.compile(r"^Triage \d+ jobs?")).first
    expect(triage).to_be_visible(timeout=90_000)
    items = panel(page, "Needs attention").locator("li", has=page.get_by_role("link", name=re.compile("^Triage")))
    cause = items.first.get_by_role("heading").inner_text().partition(" with ")[2]
    triage.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(cause)
    expect(panel(page, "Traceback").locator(".pw-trace")).to_contain_text("stdlib_jobs.py")


def test_on_call_requeues_a_failure_group_and_sees_every_outcome(people: People, requeued: Requeued) -> None:
    page = people("oncall")
    page.goto(requeued.path)
    expect(page.locator("#progress")).to_contain_text(f"{requeued.count:,} of {requeued.count:,} have an outcome")
    assert sum(number_in(figure) for figure in page.locator("#progress dd").all()) == requeued.count
    sent = page.locator("#progress dl div", has_text="Requeued").locator("dd")
    assert number_in(sent) == requeued.count, "nobody else touched these jobs"
    expect(panel(page, "Who and why")).to_contain_text(WHY)
    expect(panel(page, "Who and why")).to_contain_text("oncall")


def test_the_auditor_finds_who_did_what_to_what_and_why(people: People, requeued: Requeued) -> None:
    operation = requeued.path.rstrip("/").rpartition("/")[2]
    page = people("auditor")
    page.get_by_role("link", name="Audit").click()
    wanted = panel(page, "Filter")
    wanted.get_by_label("Actor").fill("oncall")
    wanted.get_by_label("Action").select_option("operation.requeue_started")
    wanted.get_by_label("Target").fill(f"operation {operation}")
    wanted.get_by_role("button", name="Show matching events").click()
    events = panel(page, "Timeline").locator("li")
    wait_reloading(page, lambda: events.count() == 1 and events.get_by_role("link").count() == 1, "the event's place")
    expect(events).to_contain_text(f"{requeued.count:,} dead letter")
    events.get_by_role("link").click()
    event = page.get_by_role("article")
    expect(event.get_by_role("heading", level=2)).to_contain_text("oncall")
    for term, fact in {
        "Who": "oncall, user",
        "Did": "operation.requeue_started",
        "To": f"operation {operation} in stdlib-parse",
        "Why": WHY,
        "At": "Z",
        "Address": "127.0.0.1",
    }.items():
        expect(event.locator(f"dt:text-is('{term}') + dd")).to_contain_text(fact)

    page.goto(f"/audit/?q=fixed&target=operation+{operation}&action=operation.requeue_ended")
    expect(panel(page, "Timeline").locator("li")).to_contain_text(f"requeued {requeued.count:,} dead letter")


def test_on_call_needs_no_mouse(people: People) -> None:
    page = people("oncall")
    page.keyboard.press("g")
    page.keyboard.press("d")
    expect(page.get_by_role("heading", level=1, name="Dead letters")).to_be_visible()
    page.wait_for_load_state()  # keys are heard once the scripts run
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(panel(page, "Traceback")).to_be_visible()
    page.wait_for_load_state()
    page.keyboard.press("j")
    job = page.evaluate("document.activeElement.title")
    page.keyboard.press("x")
    expect(panel(page, "Selection")).to_contain_text("1 job selected")
    page.keyboard.press("r")
    reason = page.get_by_role("dialog").get_by_label("Reason")
    expect(reason).to_be_focused()
    page.keyboard.type("Typed without a mouse")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Requeue 1 job", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("Ended", timeout=30_000)
    expect(page.locator("#item-rows")).to_contain_text(job[:30])


def test_on_call_has_only_a_phone(people: People) -> None:
    page = people("oncall", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.get_by_role("button", name="Open navigation").tap()
    page.get_by_role("link", name=re.compile("^Dead letters")).tap()
    page.get_by_role("link", name=re.compile("^Jobs")).tap()
    page.locator("#jobs a[data-open]").first.tap()
    page.get_by_role("button", name="Requeue this job…").tap()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("From the train")
    dialog.get_by_role("button", name="Requeue 1 job").tap()
    expect(page.locator("#state")).to_have_text("Ended", timeout=30_000)
    expect(page.locator("#progress")).to_contain_text("1 of 1 have an outcome")


def test_a_viewer_is_told_what_is_missing_and_who_can_grant_it(people: People) -> None:
    page = people("viewer")
    page.goto(a_group(page, "stdlib-parse"))
    for verb, within in (("Requeue", "Requeue this group"), ("Discard", "Or handle it otherwise")):
        act = panel(page, within)
        button = act.get_by_role("button", name=verb)
        expect(button).to_be_disabled()
        expect(button).to_have_css("border-style", "dashed")
        expect(button.locator("use")).to_have_attribute("href", re.compile("#tabler-lock$"))
        expect(button).to_have_accessible_description(
            f"{verb} needs pools.{verb.lower()}_dead_letters on stdlib-parse. admin can grant it."
        )
    assert not page.locator("main form[method=post] button[type=submit]").count()
    page.goto("/pools/stdlib-parse/")
    for verb in ("Pause", "Drain", "Scale"):
        expect(page.get_by_role("button", name=re.compile(f"^{verb}"))).to_be_disabled()


def test_a_viewers_crafted_requests_change_nothing_and_are_recorded(people: People) -> None:
    page = people("viewer")
    job = a_job(page)
    letter = (page.locator("#jobs tr").first.get_attribute("id") or "").removeprefix("letter-")
    crafted = {
        "/dead-letters/requeue/": {"id": letter, "reason": "crafted requeue"},
        "/dead-letters/discard/": {"id": letter, "reason": "crafted discard"},
        "/pools/stdlib-parse/pause/": {"reason": "crafted pause"},
        "/pools/stdlib-parse/scale/": {"reason": "crafted scale", "workers": "0"},
        "/pools/stdlib-parse/config/1/restore/": {"reason": "crafted restore"},
        "/access/grant/": {"user": "viewer", "team": "demo", "role": "admin", "reason": "crafted grant"},
    }
    for path, fields in crafted.items():
        answer = post(page, path, **fields)
        assert answer.status == 403, f"{path}: {answer.status}"
        assert "Nothing was changed" in answer.text()
    page.goto(job)
    expect(page.locator("#state")).to_have_text("Dead")

    admin = people("admin")
    for path, fields in crafted.items():
        admin.goto(f"/audit/?actor=viewer&outcome=denied&q={fields['reason'].replace(' ', '+')}")
        expect(panel(admin, "Timeline").locator("li")).to_contain_text("was refused", timeout=15_000)
        assert panel(admin, "Timeline").locator("li").count() == 1, path


def test_a_viewers_token_opens_no_more_than_their_pages(people: People, demo: Installation) -> None:
    page = people("viewer")
    job = a_job(page).rstrip("/").rpartition("/")[2]
    body = {"kind": "requeue", "ids": [job], "reason": "crafted by token"}
    by_cookie = page.context.request.post("/api/v1/operations", data=body, headers={"X-CSRFToken": token_of(page)})
    assert by_cookie.status in (401, 403)
    by_token = page.context.request.post(
        "/api/v1/operations", data=body, headers={"Authorization": f"Bearer {api_token(demo, 'viewer')}"}
    )
    problem = by_token.json()
    assert by_token.status == 403, problem
    assert by_token.headers["content-type"].startswith("application/problem+json")
    assert "requeue_dead_letters" in json.dumps(problem)
    admin = people("admin")
    admin.goto("/audit/?actor=viewer&outcome=denied&q=crafted+by+token")
    expect(panel(admin, "Timeline").locator("li")).to_contain_text("viewer (token) was refused")


def api_token(demo: Installation, user: str) -> str:
    environ = clean_environ(demo.home, POOLWARDEN_ENV="demo", **demo.extra)
    command = [sys.executable, "manage.py", "token_create", "--user", user]
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_the_requeued_jobs_ran_again(people: People, requeued: Requeued) -> None:
    """The cause is still there (this platform has no ``winreg``), so they come back, and their story says so."""
    page = people("oncall")
    page.goto(requeued.job)
    story = page.locator("#story")
    expect(story).to_contain_text("Requeued")
    expect(story).to_contain_text(WHY)
    expect(story.get_by_text("Failed")).to_have_count(2, timeout=150_000)
