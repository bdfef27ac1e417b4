"""An operation's page that is open while the operation changes, in a real browser."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pools.models import Operation, OperationState
from pools.operations import Canary, Plan, Selection, requeue_create
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.dead_letters.letters import failed, numbered
from tests.support import factories as make
from tests.support.cast import Cast, actor, make_cast
from tests.support.flush import allow_flush

pytestmark = [pytest.mark.acceptance, pytest.mark.django_db(transaction=True), pytest.mark.xdist_group("look")]


@pytest.fixture
def cast(transactional_db: None) -> Iterator[Cast]:
    cast = make_cast()
    make.broker()
    make.lease()
    yield cast
    allow_flush()  # once more: under Playwright's loop Django opens another connection, with operations of its own


@pytest.fixture
def running(cast: Cast) -> Operation:
    group = failed(make.pool(cast.payments, versions=1), *numbered(12))
    chosen = Selection(ids=tuple(group.dead_letters.values_list("pk", flat=True)))
    plan = Plan(canary=Canary(5, 95))
    return requeue_create(actor=actor(cast.bob), selection=chosen, reason="The gateway is back", plan=plan)


def refresh(page: Page) -> None:
    page.evaluate('document.getElementById("pw-live").dispatchEvent(new CustomEvent("pw:refresh"))')


def test_why_it_stopped_and_the_way_on_arrive_in_place(visit: Any, cast: Cast, running: Operation) -> None:
    page = visit(cast.bob, f"/operations/{running.pk}/")
    expect(page.get_by_role("link", name="Resume")).to_have_count(0)
    Operation.objects.filter(pk=running.pk).update(
        state=OperationState.STOPPED, stopped_because="0 of 5 jobs of the canary succeeded, less than 95 %"
    )
    refresh(page)
    expect(page.get_by_role("alert")).to_contain_text("0 of 5 jobs of the canary succeeded")
    page.get_by_role("link", name="Resume, 12 jobs left…").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("0 of 5 jobs of the canary succeeded")
    dialog.get_by_label("Reason").fill("I know why: v43 is out")
    refresh(page)
    dialog.get_by_role("button", name="Send 12 jobs").click()
    expect(page.locator("#state")).to_have_text("Sending")
    expect(page.locator("#told")).to_be_empty()


def test_what_is_typed_into_a_dialog_stays_when_its_time_has_passed(visit: Any, cast: Cast, running: Operation) -> None:
    page = visit(cast.bob, f"/operations/{running.pk}/")
    page.get_by_role("link", name="Cancel the remaining 12…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("Wrong group, ask Ana")
    Operation.objects.filter(pk=running.pk).update(state=OperationState.ENDED)
    refresh(page)
    expect(page.locator("#state")).to_have_text("Ended")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_label("Reason")).to_have_value("Wrong group, ask Ana")
