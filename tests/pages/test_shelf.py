"""Setting dead letters aside and restoring them in a real browser: a phone, no JavaScript, both themes; and axe."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from playwright.sync_api import expect
from pytest_django import Settings

from pools.models import DeadLetter, Operation
from pools.operations import Selection, archive_create, discard_create, quarantine_create
from pools.operations.execute import run_operation
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
from tests.broker.records import write_failed
from tests.dead_letters.letters import failed, numbered
from tests.support import factories as make
from tests.support.cast import Cast, actor, make_cast
from tests.support.flush import allow_flush
from tests.support.valkey import ValkeyServer

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]


@pytest.fixture
def cast(transactional_db: None, valkey: ValkeyServer, settings: Settings) -> Iterator[Cast]:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": "here"}}
    cast = make_cast()
    make.broker()
    make.lease()
    pool = make.pool(cast.payments, versions=2)
    ids = numbered(30)
    write_failed(redis.Redis.from_url(valkey.url), *ids, queue="payments")
    failed(pool, *ids, host="pay-01", config_number=2, python_version="3.13.1", rq_version="3.0.0")
    for create, few in ((discard_create, ids[:9]), (quarantine_create, ids[9:12]), (archive_create, ids[12:17])):
        chosen = Selection(ids=tuple(DeadLetter.objects.filter(job_id__in=few).values_list("pk", flat=True)))
        run_operation(create(actor=actor(cast.bob), selection=chosen, reason="Duplicates of yesterday's").pk)
    yield cast
    allow_flush()  # once more: under Playwright's loop Django opens another connection, with operations of its own


def of_kind(kind: str) -> Operation:
    return Operation.objects.get(kind=kind)


def test_axe_finds_nothing_and_nothing_is_cut_off(visit: Any, cast: Cast) -> None:
    group = DeadLetter.objects.latest("pk").group_id
    paths = [
        *("/dead-letters/", "/dead-letters/?show=jobs", f"/dead-letters/groups/{group}/", "/pools/payments/edit/"),
        *(f"/dead-letters/?state={s}&restorable=yes&show=jobs" for s in ("discarded", "quarantined", "archived")),
        *("/jobs/job-0/", "/jobs/job-9/", "/jobs/job-12/", "/jobs/job-29/"),
        *(f"/operations/{of_kind(kind).pk}/" for kind in ("discard", "quarantine", "archive")),
    ]
    page = visit(cast.alice, "/", reduced_motion="reduce")
    with findings_of(page) as findings:
        for path in paths:
            page.goto(path)
            inspect(page, findings)
        for verb in ("Requeue", "Discard", "Quarantine", "Archive"):
            page.goto("/jobs/job-29/")
            page.get_by_role("button", name=f"{verb} this job…").click()
            expect(page.get_by_role("dialog")).to_be_visible()
            inspect(page, findings, f"dialog {verb}")


def test_a_discard_is_undone_from_its_page(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, f"/operations/{of_kind('discard').pk}/")
    page.get_by_role("link", name="Undo: restore 9 jobs…").click()
    dialog = page.get_by_role("dialog", name="Undo this operation?")
    dialog.get_by_label("Reason").fill("They were no duplicates")
    dialog.get_by_role("button", name="Restore 9 jobs").click()
    expect(page.get_by_role("heading", name="Restore 9 dead letters in payments")).to_be_visible()
    run_operation(of_kind("restore").pk)
    expect(page.locator("#progress")).to_contain_text("9 of 9 have an outcome", timeout=15_000)
    page.goto("/dead-letters/")
    expect(page.locator("#places")).not_to_contain_text("Trash")
    expect(page.locator("#places")).to_contain_text("Quarantine 3")


def test_ticked_jobs_are_restored_with_the_keyboard(visit: Any, cast: Cast) -> None:
    page = visit(cast.bob, "/dead-letters/")
    page.get_by_role("link", name="Archive 5").click()
    expect(page.locator("h1")).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("x")
    page.keyboard.press("z")
    dialog = page.get_by_role("dialog", name="Restore 1 dead letter")
    dialog.get_by_label("Reason").fill("Asked for by accounting")
    dialog.get_by_role("button", name="Restore 1 job").click()
    expect(page.get_by_role("heading", name="Restore 1 dead letter in payments")).to_be_visible()
    assert of_kind("restore").source == "archived"


def test_restoring_on_a_phone_without_javascript(visit: Any, cast: Cast) -> None:
    small = {"width": 390, "height": 800}
    page = visit(cast.bob, "/jobs/job-10/", java_script_enabled=False, viewport=small)
    expect(page.locator("#facts")).to_contain_text("the quarantine, until somebody restores or discards it")
    page.get_by_role("button", name="Restore this job…").click()
    page.get_by_label("Reason").fill("Looked at")
    page.get_by_role("button", name="Restore 1 job").click()
    expect(page.get_by_role("heading", name="Restore 1 dead letter in payments")).to_be_visible()


def test_the_group_says_how_many_were_set_aside(visit: Any, cast: Cast) -> None:
    group = DeadLetter.objects.latest("pk").group_id
    page = visit(cast.vera, f"/dead-letters/groups/{group}/")
    expect(page.locator("#facts")).to_contain_text("9 in the trash")
    page.get_by_role("link", name="3 in quarantine").click()
    expect(page.locator("#matching")).to_contain_text("3 jobs in 1 group match")
