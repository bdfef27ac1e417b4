"""Hostile and broken input, and a console without its database, its broker or a browser's scripts.

Each gets a clear answer, nothing is lost, and no page ever shows a traceback.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from playwright.sync_api import APIResponse, Browser, Page, expect

from pools.runtime.processes import ProcessId
from pools.runtime.sandbox.meter import children
from tests.acceptance.broker import broker_of
from tests.acceptance.look import findings_of
from tests.acceptance.steps import People, a_group, a_job, nobody_restarts, post, sign_in, token_of
from tests.support.installation import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(300)]

HOSTILE = """<script>alert(1)</script>"><img src=x onerror=alert(2)>'); DROP TABLE pools_pool;-- {{7*7}} {% debug %}"""
OTHERS = (
    "nul \x00 inside",
    "‮right to left 🧨 e\u0301",
    "x" * 100_000,
    "-1",
    "99999999999999999999",
    "../../etc/passwd",
)
FORMS = """() => [...document.querySelectorAll("main form, dialog form")].map((form) => ({
  action: form.getAttribute("action") || location.pathname + location.search,
  method: form.method,
  fields: Object.fromEntries([...new FormData(form)].filter(([, value]) => typeof value === "string")),
}))"""
POOL = "hostile"


@pytest.fixture(scope="module")
def admin(victim: Installation, browser: Browser) -> Iterator[Page]:
    page = sign_in(browser, victim.url, "admin")
    page.on("dialog", lambda dialog: pytest.fail(f"a script ran: {dialog.message}"))
    yield page
    page.context.close()


def answered_well(answer: APIResponse, what: str) -> None:
    assert answer.status < 500, f"{what}: {answer.status}"
    text = answer.text()
    assert "Traceback (most recent" not in text, what
    assert "<script>alert(1)" not in text and "<img src=x" not in text, f"{what} is not escaped"


def send(page: Page, form: dict[str, Any], fields: dict[str, str]) -> APIResponse:
    values: dict[str, Any] = {**fields}
    if form["method"] == "get":
        return page.context.request.get(form["action"], params=values)
    return page.context.request.post(form["action"], form=values, max_redirects=0)


@pytest.mark.timeout(600)  # hundreds of forms are sent
def test_hostile_text_in_every_field_of_every_form(admin: Page) -> None:
    make = {"slug": POOL, "name": HOSTILE[:90], "team": "demo", "criticality": "low", "queues": POOL, "workers": "0"}
    admin.goto("/pools/new/")
    form = next(form for form in admin.evaluate(FORMS) if "slug" in form["fields"])
    made = send(admin, form, form["fields"] | make | {"description": HOSTILE})
    assert made.status == 302, made.text()
    post(admin, "/secrets/new/", name="hostile", uri="env://POOLWARDEN_SECRET_H", team="demo", description=HOSTILE)
    mail = {"name": "hostile", "team": "demo", "kind": "email", "recipients": "a@example.com", "min_criticality": "low"}
    post(admin, "/notifications/new/", **mail, on_new="on", quiet_zone="UTC", per_hour="1")
    post(admin, f"/pools/{POOL}/scale/", workers="1", reason=HOSTILE, expected_version="1")
    post(admin, f"/pools/{POOL}/scale/", workers="0", reason=HOSTILE, expected_version="2")
    tried = 0
    for path in form_pages(admin):
        admin.goto(path)
        for form in admin.evaluate(FORMS):
            for name in form["fields"].keys() - {"csrfmiddlewaretoken"}:
                answered_well(send(admin, form, form["fields"] | {name: HOSTILE}), f"{path} {name}")
                tried += 1
            for text in OTHERS:
                filled = dict.fromkeys(form["fields"], text) | csrf(form)
                answered_well(send(admin, form, filled), f"{path} {text[:20]!r}")
    assert tried > 80
    with findings_of(admin) as findings:
        for path in (
            "/",
            "/pools/",
            f"/pools/{POOL}/",
            f"/pools/{POOL}/config/",
            "/secrets/",
            "/operations/",
            "/audit/",
        ):
            findings.where = path
            admin.goto(path)
            assert admin.locator("h1").count() == 1
    admin.goto(f"/pools/{POOL}/")
    expect(admin.get_by_text(HOSTILE, exact=True).first).to_be_visible()
    admin.goto("/access/")
    expect(admin.locator("#person-1")).to_be_visible()


def csrf(form: dict[str, Any]) -> dict[str, str]:
    return {k: v for k, v in form["fields"].items() if k == "csrfmiddlewaretoken"}


def form_pages(page: Page) -> list[str]:
    pool = f"/pools/{POOL}"
    return [
        *("/pools/", "/pools/new/", f"{pool}/edit/", f"{pool}/pause/", f"{pool}/resume/", f"{pool}/drain/"),
        *(f"{pool}/scale/", f"{pool}/config/", f"{pool}/config/?as=yaml", f"{pool}/config/1/restore/"),
        *("/dead-letters/", "/dead-letters/?show=jobs", a_group(page, "stdlib-parse")),
        *("/secrets/new/", "/secrets/hostile/edit/", "/secrets/hostile/remove/"),
        *("/notifications/new/", "/notifications/hostile/edit/", "/notifications/hostile/remove/"),
        *("/access/grant/", "/access/revoke/", "/audit/"),
    ]


@pytest.mark.parametrize("megabytes", [0.003, 1])  # 5 MB: tests/pages, without a browser to lay them out
def test_a_reason_that_is_too_long_is_not_lost(admin: Page, megabytes: float) -> None:
    length = type_much(admin, megabytes)
    expect(admin.locator("#page-reason-error")).to_contain_text("at most 2,000 fit. Nothing was changed.")
    assert admin.get_by_label("Reason").evaluate("field => field.value.length") == length


def type_much(page: Page, megabytes: float) -> int:
    """Send a reason of that size; returns its length."""
    page.goto("/pools/stdlib-parse/pause/")
    length = int(megabytes * 2**20)
    page.get_by_label("Reason").evaluate("(field, n) => { field.value = 'y'.repeat(n) }", length)
    page.get_by_role("button", name="Pause stdlib-parse").click()
    return length


@contextmanager
def without_database(victim: Installation) -> Iterator[None]:
    """The database is away for new connections, and a new web process has no other."""
    url = victim.extra.get("POOLWARDEN_DATABASE_URL", "")
    if url:
        server, _, name = url.rpartition("/")
        with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            try:
                yield
            finally:
                connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        return
    path, elsewhere = victim.home / "poolwarden.sqlite3", victim.home / "elsewhere"
    path.rename(elsewhere)
    path.mkdir()
    web = victim.child("granian")
    processes = [ProcessId.of(pid) for pid in (web, *children(web))]
    os.kill(web, signal.SIGKILL)
    wait_for(lambda: not any(process and process.alive for process in processes), timeout=30, message="it has ended")
    try:
        yield
    finally:
        path.rmdir()
        elsewhere.rename(path)


def test_without_its_database(admin: Page, victim: Installation) -> None:
    admin.goto("/pools/stdlib-parse/pause/")
    token = token_of(admin)
    with without_database(victim):
        wait_for(lambda: victim.get("/readyz")[0] == 503, timeout=90, message="the console notices")
        assert victim.get("/healthz")[0] == 200
        for path in ("/", "/dead-letters/", "/audit/", "/pools/stdlib-parse/"):
            answer = admin.goto(path)
            assert answer is not None
            assert answer.status == 503, path
            expect(admin.get_by_role("heading", level=1)).to_have_text("The console cannot reach its database")
            expect(admin.get_by_role("main")).to_contain_text("Nothing was changed")
        form: dict[str, Any] = {"csrfmiddlewaretoken": token, "reason": "Lost?"}
        refused = admin.context.request.post("/pools/stdlib-parse/pause/", form=form, max_redirects=0)
        assert refused.status == 503
        assert "Traceback" not in victim.get("/api/v1/pools")[1]
    wait_for(lambda: victim.get("/readyz")[0] == 200, timeout=60, message="all is ready again")
    admin.goto("/pools/stdlib-parse/")
    expect(admin.locator("#pool-state")).to_contain_text("Running")


def test_without_its_broker(admin: Page, victim: Installation) -> None:
    """Pages need no Redis: they show what is known, say how old it is, and keep what is asked for."""
    letter = a_letter(admin)
    with nobody_restarts(victim):
        os.kill(victim.child("valkey"), signal.SIGKILL)
        answer = post(admin, "/dead-letters/requeue/", id=letter, reason="While Redis is away")
        assert answer.status == 302, answer.text()
        for path in ("/", "/pools/", "/pools/stdlib-parse/", "/dead-letters/", "/agents/", answer.headers["location"]):
            shown = admin.goto(path)
            assert shown is not None
            assert shown.status == 200, path
        wait_for(lambda: victim.get("/readyz")[0] == 503, timeout=30, message="not ready")
        admin.goto("/")
        expect(admin.locator("#pw-fresh")).to_contain_text("Stale", timeout=40_000)
        expect(admin.locator("#attention")).to_contain_text("broker", timeout=20_000, ignore_case=True)
    wait_for(lambda: broker_answers(victim), timeout=60, message="Valkey is back")
    admin.goto(answer.headers["location"])
    expect(admin.locator("#state")).to_have_text("Ended", timeout=100_000)
    wait_for(lambda: victim.get("/readyz")[0] == 200, timeout=60, message="all is ready again")


def a_letter(page: Page) -> str:
    """The row id of the newest dead letter."""
    a_job(page)
    return (page.locator("#jobs tr").first.get_attribute("id") or "").removeprefix("letter-")


def broker_answers(victim: Installation) -> bool:
    try:
        return bool(broker_of(victim).ping())
    except OSError:
        return False


def test_without_scripts_every_page_reads_and_a_requeue_works(people: People) -> None:
    page = people("oncall", java_script_enabled=False)
    a_job(page)
    page.locator("#jobs input[name=id]").first.check()
    page.get_by_role("button", name="Requeue selected jobs…").click()
    expect(page.get_by_role("heading", name="Requeue 1 dead letter")).to_be_visible()
    page.get_by_label("Reason").fill("By hand and without scripts")
    page.get_by_role("button", name="Requeue 1 job", exact=True).click()
    expect(page.get_by_text("“By hand and without scripts”")).to_be_visible()
    for link in ("Overview", "Pools", "Dead letters", "Operations", "Agents", "Secrets", "Access"):
        page.get_by_role("navigation", name="Main").get_by_role("link", name=link).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(link)
    page.goto("/pools/stdlib-parse/")
    page.get_by_role("link", name="Pause stdlib-parse…").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Pause stdlib-parse")
    page.goto(a_group(page, "stdlib-parse"))
    expect(page.get_by_role("region", name="Requeue this group", exact=True).get_by_label("Reason")).to_be_visible()
