"""Deciding about failure groups in a real browser: dialogs, keyboard, a phone, no JavaScript; and axe."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from playwright.sync_api import Page, expect

from pools.models import FailureGroup, GroupNote, GroupState, Pool
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
from tests.dead_letters.letters import failed, numbered
from tests.support import factories as make
from tests.support.cast import Cast, make_cast
from tests.support.flush import allow_flush

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]


@pytest.fixture
def cast(transactional_db: None) -> Iterator[Cast]:
    cast = make_cast()
    make.broker()
    make.lease()
    groups(cast)
    yield cast
    allow_flush()  # once more: under Playwright's loop Django opens another connection, with operations of its own


def groups(cast: Cast) -> None:
    """One in each state; the new one, the largest, has nobody's eye on it yet."""
    pool = make.pool(cast.payments, versions=2, runbook_url="https://runbooks.example/payments")
    ran = {"host": "pay-01", "config_number": 2, "python_version": "3.13.1", "rq_version": "3.0.0"}
    new = failed(pool, *numbered(12), **ran)
    make.failure_hours(new, 0, 3, 9)
    for n, (title, changed) in enumerate(
        [
            ("MemoryError: cannot allocate 268,435,456 bytes", {"state": GroupState.REGRESSED, "owner": cast.alice}),
            ("KeyError: 'vat_region'", {"state": GroupState.ACKNOWLEDGED, "owner": cast.bob}),
            ("HTTPError: 429 Too Many Requests", {"snoozed_until": timezone.now() + timedelta(days=2)}),
            ("ValueError: unknown currency 'XTS'", {"state": GroupState.RESOLVED}),
        ]
    ):
        group = failed(pool, *numbered(3 + n, f"g{n}"), title=title, func=f"shop.tasks.f{n}")
        FailureGroup.objects.filter(pk=group.pk).update(state_at=make.ago(minutes=9), **changed)


def the(title: str) -> FailureGroup:
    return FailureGroup.objects.get(title__startswith=title)


def address(title: str) -> str:
    return f"/dead-letters/groups/{the(title).pk}/"


def test_axe_finds_nothing_and_nothing_is_cut_off(visit: Any, cast: Cast) -> None:
    note = GroupNote(group=the("TimeoutError"), author_name="alice", text="Ask the gateway's people\nfirst")
    note.save()
    page: Page = visit(cast.bob, "/sign-in/", reduced_motion="reduce")
    with findings_of(page) as findings:
        for path in ("/dead-letters/", "/", *(address(group.title) for group in FailureGroup.objects.all())):
            page.goto(path)
            inspect(page, findings)
        page.goto(address("TimeoutError"))
        for name in ("Snooze…", "Assign…", "Resolve…", "Set the runbook…"):
            page.get_by_role("button", name=name).click()
            expect(page.get_by_role("dialog")).to_be_visible()
            inspect(page, findings, f"dialog {name}")
            page.keyboard.press("Escape")


def test_a_viewer_finds_out_what_is_missing(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.vera, "/sign-in/", reduced_motion="reduce")
    with findings_of(page) as findings:
        page.goto(address("TimeoutError"))
        inspect(page, findings)
    expect(page.locator("#why-decide")).to_contain_text(
        "needs pools.requeue_dead_letters on payments. ada can grant it"
    )
    expect(page.get_by_role("button", name="Snooze…")).to_have_count(0)


def test_from_new_to_resolved_with_dialogs(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.bob, address("TimeoutError"))
    facts = page.locator("#facts")
    page.get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("Acknowledged this failure group.")).to_be_visible()
    expect(facts).to_contain_text("Acknowledged")
    page.get_by_role("button", name="Assign…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Owner").select_option("alice")
    dialog.get_by_role("button", name="Assign this failure group").click()
    expect(facts).to_contain_text("alice")
    page.get_by_role("button", name="Snooze…").click()
    dialog.get_by_label("How long").select_option("failures")
    dialog.get_by_label("More failures").fill("50")
    dialog.get_by_label("Reason").fill("A few are normal")
    dialog.get_by_role("button", name="Snooze this failure group").click()
    expect(facts).to_contain_text("Snoozed for 50 more")
    page.get_by_role("button", name="Resolve…").click()
    expect(dialog).to_contain_text("12 jobs stay dead letters")
    dialog.get_by_label("Reason").fill("Fixed with config v3")
    dialog.get_by_role("button", name="Resolve this failure group").click()
    expect(facts).to_contain_text("Resolved")
    page.get_by_role("textbox", name="Note").fill("The gateway's people know")
    page.get_by_role("button", name="Add the note").click()
    expect(page.locator("#notes li")).to_have_count(5)
    expect(page.locator("#notes li").first).to_contain_text("The gateway's people know")
    assert the("TimeoutError").state == GroupState.RESOLVED


def test_several_by_keyboard_and_the_filter_stays(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.bob, "/dead-letters/?pool=payments&group_state=new,regressed")
    expect(page.locator("#groups tr")).to_have_count(2)
    for key in ("j", "x", "j", "x", "s"):
        page.keyboard.press(key)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Snooze 2 failure groups")
    dialog.get_by_label("How long").select_option("version")
    dialog.get_by_label("Reason").fill("Fixed in the next one")
    dialog.get_by_role("button", name="Snooze 2 failure groups").click()
    expect(page.get_by_text("Snoozed 2 failure groups.")).to_be_visible()
    assert "pool=payments" in page.url and "group_state=" in page.url
    expect(page.get_by_text("No dead letters match")).to_be_visible()
    Pool.objects.update(published_number=3)
    page.reload()
    expect(page.locator("#groups tr")).to_have_count(2)
    for key in ("j", "e"):
        page.keyboard.press(key)
    expect(page.get_by_text("Acknowledged this failure group.")).to_be_visible()
    expect(page.locator("#groups tr")).to_have_count(1)


def test_without_javascript_on_a_phone(visit: Any, cast: Cast) -> None:
    page: Page = visit(
        cast.bob, address("MemoryError"), java_script_enabled=False, viewport={"width": 390, "height": 844}
    )
    expect(page.locator("#facts")).to_contain_text("Regressed")
    page.get_by_role("button", name="Resolve…").click()
    page.get_by_label("Reason").fill("More memory")
    page.get_by_role("button", name="Resolve this failure group").click()
    expect(page).to_have_url(re.compile(address("MemoryError") + "$"))
    expect(page.locator("#facts")).to_contain_text("Resolved")


def test_a_decision_of_somebody_else_arrives_in_place(visit: Any, cast: Cast) -> None:
    page: Page = visit(cast.vera, address("TimeoutError"))
    expect(page.locator("#facts")).to_contain_text("New")
    FailureGroup.objects.update(state=GroupState.ACKNOWLEDGED, owner=cast.bob)
    expect(page.locator("#facts")).to_contain_text("Acknowledged", timeout=15_000)
    expect(page.locator("#facts")).to_contain_text("bob")
