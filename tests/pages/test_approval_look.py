"""The pages of an approval in a real browser: who asks and who says yes, wide and narrow, light and dark."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from pools.models import Operation, OperationState, Pool
from pools.operations import Canary, Plan, Selection, requeue_create
from tests.acceptance.conftest import browser_type_launch_args  # noqa: F401 - a fixture
from tests.acceptance.look import findings_of, inspect
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
def payments(cast: Cast) -> Pool:
    pool = make.pool(cast.payments, now={"workers": 4}, approval_limit=5, criticality="critical")
    failed(pool, *numbered(12))
    return pool


@pytest.fixture
def asked(cast: Cast, payments: Pool) -> Operation:
    chosen = Selection(ids=tuple(payments.dead_letters.values_list("pk", flat=True)))
    plan = Plan(canary=Canary(5, 95))
    return requeue_create(actor=actor(cast.bob), selection=chosen, reason="The gateway is back", plan=plan)


@pytest.mark.parametrize("who", ["ada", "bob", "vera"])
def test_the_pages_are_well(visit: Any, cast: Cast, asked: Operation, who: str) -> None:
    page = visit(getattr(cast, who), f"/operations/{asked.pk}/", reduced_motion="reduce")
    expect(page.get_by_role("heading", name="Approval")).to_be_visible()
    with findings_of(page) as findings:
        inspect(page, findings)
        for path in ("/", "/operations/?state=awaiting", "/pools/payments/edit/"):
            page.goto(path)
            inspect(page, findings)


def test_approving_from_the_overview(visit: Any, cast: Cast, asked: Operation) -> None:
    page = visit(cast.ada, "/")
    page.get_by_role("link", name=f"Review operation {asked.pk}").click()
    expect(page.get_by_role("heading", name="The frozen set")).to_be_visible()
    page.locator("#approve-reason").fill("All of the outage")
    page.get_by_role("button", name="Approve and requeue 12 jobs").click()
    expect(page.get_by_text("is approved and has begun")).to_be_visible()
    expect(page.locator("#approval")).to_contain_text("Approved by ada: “All of the outage”")


def test_declining_without_javascript(visit: Any, cast: Cast, asked: Operation) -> None:
    page = visit(cast.ada, f"/operations/{asked.pk}/", java_script_enabled=False)
    page.locator("#approve-reason").fill("The gateway is not back")
    page.get_by_role("button", name="Decline").click()
    expect(page.get_by_text("is declined: nothing was sent")).to_be_visible()
    assert Operation.objects.get().state == OperationState.CANCELLED


def test_asking_in_the_dialog(visit: Any, cast: Cast, payments: Pool) -> None:
    page = visit(cast.bob, f"/dead-letters/groups/{payments.failure_groups.get().pk}/")
    expect(page.get_by_text("12 jobs in payments: more than 5 there need a second person's approval.")).to_be_visible()
    page.get_by_label("Reason").first.fill("The gateway is back")
    page.get_by_role("button", name="Ask to requeue 12 jobs").click()
    expect(page.get_by_text("You asked for it, so another person decides: ada can.")).to_be_visible()
