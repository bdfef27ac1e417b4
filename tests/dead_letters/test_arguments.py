"""Dead letters by what their jobs were called with: what a filter finds, and that only those learn of it who may."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

import pytest

from audit.models import Event
from pools.arguments import UNSAID, digest
from pools.models import (
    DeadLetter,
    DeadLetterState,
    DefaultView,
    Operation,
    Pool,
    PoolGroupPermission,
    SavedView,
    SearchableArgument,
)
from pools.operations import Selection, discard_create, requeue_create, view_remove, view_save
from pools.operations.errors import Refused
from pools.selectors.dead_letters import (
    DeadLetterFilter,
    FilterError,
    dead_letter_page,
    dead_letters,
    group_counts,
)
from pools.selectors.matrix import counts_by_age, matrix
from pools.selectors.saved_views import saved_views
from pools.selectors.suggestions import suggestions
from tests.dead_letters.letters import failed
from tests.support.cast import Cast, actor, signed_in

URL = "/dead-letters/"
VALUES = {
    "a-1": {"user.id": "42", "0": "eu"},
    "a-2": {"user.id": "42", "0": "us"},
    "a-3": {"user.id": "43"},
    "a-4": {},
    "b-1": {"user.id": "42"},
    "r-1": {"user.id": "42"},
    "h-1": {"user.id": "42"},
}


@pytest.fixture(autouse=True)
def incident(payments: Pool, reports: Pool, hidden: Pool) -> None:
    """Reports names no paths any more, though something is indexed there."""
    for pool, paths in ((payments, ["user.id", "0"]), (hidden, ["user.id"])):
        Pool.objects.filter(pk=pool.pk).update(searchable_arguments=paths)
    failed(payments, "a-1", "a-2", "a-3", "a-4", message="order lost", words="order lost")
    failed(payments, "b-1", title="KeyError: 'vat'", minutes=3000)
    failed(reports, "r-1")
    failed(hidden, "h-1")
    keys = dict(DeadLetter.objects.values_list("job_id", "pk"))
    SearchableArgument.objects.bulk_create(
        SearchableArgument(dead_letter_id=keys[job_id], path=path, digest=digest(path, value))
        for job_id, values in VALUES.items()
        for path, value in values.items()
    )


def wanted(line: str) -> DeadLetterFilter:
    return DeadLetterFilter.from_line(line)


def log() -> str:
    """All events, as they are stored."""
    found = repr([vars(event) for event in Event.objects.all()])
    assert "args" in found
    return found


MATCHES = [
    ("args.user.id:42", {"a-1", "a-2", "b-1"}),
    ('args.user.id:"42"', {"a-1", "a-2", "b-1"}),
    ("args.user.id:42,43", {"a-1", "a-2", "a-3", "b-1"}),
    ("args.user.id:44", set()),
    ("args.0:42", set()),
    ("-args.user.id:42", {"a-3"}),
    ("-args.user.id:44", {"a-1", "a-2", "a-3", "b-1"}),
    ("args.user.id:42,43 -args.user.id:43", {"a-1", "a-2", "b-1"}),
    ("args.user.id:42 args.0:eu", {"a-1"}),
    ("args.user.id:42 -args.0:eu", {"a-2"}),
    ("args.user.id:42 error:KeyError", {"b-1"}),
    ("args.user.id:42 age:<24h", {"a-1", "a-2"}),
    ("args.user.id:42 lost", {"a-1", "a-2"}),
    ("args.user.id:42 connect", {"a-1", "a-2"}),
    ("args.user.id:42 a-2", {"a-2"}),
    ("args.user.id:42 pool:payments,reports", {"a-1", "a-2", "b-1"}),
    ("args.user.id:42 state:requeued", set()),
]


@pytest.mark.parametrize(("line", "expected"), MATCHES)
def test_list_page_counts_and_matrix_agree(cast: Cast, line: str, expected: set[str]) -> None:
    who, asked = actor(cast.bob), wanted(line)
    assert set(dead_letters(who, asked).values_list("job_id", flat=True)) == expected
    assert {letter.job_id for letter in dead_letter_page(who, asked).items} == expected
    counts = group_counts(who, asked)
    assert sum(counts.values()) == len(expected)
    rows = matrix(asked, counts_by_age(who, asked))
    assert (rows[-1].cells[-1].count if rows else 0) == len(expected)
    for cell in (cell for row in rows for cell in row.cells):
        assert dead_letters(who, cell.filter).count() == cell.count


def test_everybody_finds_in_their_own_pools(cast: Cast) -> None:
    found = dead_letters(actor(cast.charlie), wanted("args.user.id:42"))
    assert [letter.job_id for letter in found] == ["h-1"]


NEEDS = "needs the permission pools.reveal_payload on"
REFUSED = [
    ("args.user.id:42", "vera", f"args.user.id: {NEEDS} payments. ada can grant it"),
    ("args.user.id:999", "vera", f"args.user.id: {NEEDS} payments."),
    ("-args.user.id:42", "otto", f"args.user.id: {NEEDS} payments."),
    ("args.other:42", "vera", f"args.other: {NEEDS} a pool."),
    ("args.other:42", "bob", "args.other: is not among the searchable arguments of these pools: those are 0, user.id"),
    ("args.user.id:42 pool:reports", "bob", "there is none; the page that edits a pool sets them"),
    ("args.user.id:42 pool:hidden", "bob", f"{NEEDS} a pool."),
    ("args.user.id:42 -pool:payments", "bob", "there is none"),
    ("args.0:eu", "charlie", "those are user.id"),
]


@pytest.mark.parametrize(("line", "who", "said"), REFUSED)
def test_what_cannot_be_asked_is_explained_in_its_place(cast: Cast, line: str, who: str, said: str) -> None:
    asked = wanted(line)
    for ask in (dead_letters, group_counts, dead_letter_page):
        with pytest.raises(FilterError) as refused:
            ask(actor(getattr(cast, who)), asked)  # type: ignore[operator]
        error = refused.value
        assert said in error.message and error.field == "args"
        assert error.line == asked.as_line()
        assert re.fullmatch(r"args\.[a-z0-9.]+:", error.line[error.start : error.end])


def test_paths_of_different_pools_are_not_asked_together(cast: Cast, reports: Pool) -> None:
    Pool.objects.filter(pk=reports.pk).update(searchable_arguments=["order"])
    with pytest.raises(FilterError, match="no pool has all these arguments"):
        dead_letters(actor(cast.bob), wanted("args.user.id:42 args.order:1"))


def test_without_the_right_every_value_is_answered_alike(cast: Cast) -> None:
    """What the page says does not depend on what is there."""
    browser = signed_in(cast.vera)
    pages = [browser.get(URL, {"args": f"user.id={value}"}) for value in ("42", "49")]
    own = r'nonce="[^"]*"|data-now="[^"]*"|csrf[^>]*'
    texts = [re.sub(own, "", page.content.decode()).replace("49", "42") for page in pages]
    assert [page.status_code for page in pages] == [400, 400]
    assert texts[0] == texts[1]
    assert "job-" not in texts[0] and "a-1" not in texts[0]


def test_the_page_lists_what_matches_and_keeps_the_line(cast: Cast) -> None:
    browser = signed_in(cast.bob)
    to = browser.get(URL, {"filter": "args.user.id:42,43 -args.user.id:43", "show": "jobs"})
    assert dict(parse_qsl(urlsplit(to["location"]).query))["args"] == "user.id=42,user.id=43,-user.id=43"
    page = browser.get(to["location"]).content.decode()
    assert 'value="args.user.id:42,43 -args.user.id:43"' in page
    assert "3 jobs in 2 groups match" in page and "a-1" in page and "a-3" not in page


def test_the_page_marks_the_path_that_nobody_may_ask_for(cast: Cast) -> None:
    page = signed_in(cast.bob).get(URL, {"pool": "payments", "args": "user.name=x,user.id=1"}, follow=True)
    assert page.status_code == 400
    assert page.context["fault"] == ("pool:payments ", "args.user.name:", "x args.user.id:1")
    assert "args.user.name:</mark>" in page.content.decode()


def test_keys_are_offered_to_those_who_may_ask(cast: Cast) -> None:
    def offered(who: str, line: str) -> list[str]:
        return [each.text for each in suggestions(actor(getattr(cast, who)), line, len(line))]

    assert offered("bob", "ar") == ["args.0:", "args.user.id:"]
    assert offered("bob", "-args.u") == ["-args.user.id:"]
    assert offered("bob", "args.user.id:") == offered("bob", "args.user.id:4") == []
    assert offered("charlie", "args") == ["args.user.id:"]
    assert offered("vera", "args") == offered("otto", "args.") == []


@pytest.mark.parametrize("create", [requeue_create, discard_create])
def test_an_operation_takes_what_matches_and_does_not_say_by_what(cast: Cast, create: Callable[..., Operation]) -> None:
    chosen = Selection(filter=wanted("args.user.id:their-card,42 pool:payments"))
    row = create(actor=actor(cast.bob), selection=chosen, reason="Their card is mended", start=False)
    assert row.frozen_count == 3
    assert row.selection == {"filter": {"pool": "payments", "args": UNSAID}}
    assert "their-card" not in log()
    page = signed_in(cast.vera).get(f"/operations/{row.pk}/").content.decode()
    assert "their-card" not in page and "user.id" not in page


def test_whoever_may_requeue_but_not_reveal_gets_no_preview_and_no_operation(cast: Cast) -> None:
    PoolGroupPermission.objects.filter(permission__codename="reveal_payload").delete()
    chosen = Selection(filter=wanted("args.user.id:42"))
    with pytest.raises(Refused, match="reveal_payload"):
        requeue_create(actor=actor(cast.bob), selection=chosen, reason="To see how many")
    page = signed_in(cast.bob).get("/dead-letters/preview/", {"args": "user.id=42"}).content.decode()
    assert "reveal_payload" in page and "a-1" not in page
    assert not Operation.objects.exists()


def test_what_is_left_unsaid_is_no_filter() -> None:
    with pytest.raises(FilterError, match="is not kept; write it again"):
        DeadLetterFilter.from_query({"args": UNSAID})


def test_a_view_is_for_those_who_may_ask_and_its_event_says_no_value(cast: Cast) -> None:
    view = view_save(actor=actor(cast.bob), name="Theirs", wanted=wanted("args.user.id:their-card"), team=cast.payments)
    plain = view_save(actor=actor(cast.bob), name="Plain", wanted=wanted("pool:payments"), team=cast.payments)
    assert DeadLetterFilter.from_query(dict(parse_qsl(view.query))) == wanted("args.user.id:their-card")
    assert {each.row.name for each in saved_views(actor(cast.alice))} == {"Theirs", "Plain"}
    assert [each.row for each in saved_views(actor(cast.vera))] == [plain]
    DefaultView.objects.create(user=cast.vera, view=view)
    assert signed_in(cast.vera).get(URL).status_code == 200
    view_remove(actor=actor(cast.bob), pk=view.pk)
    assert not SavedView.objects.filter(pk=view.pk).exists()
    assert "their-card" not in log()


def test_closed_ones_are_found_as_well(cast: Cast) -> None:
    DeadLetter.objects.filter(job_id="a-1").update(state=DeadLetterState.REQUEUED)
    found = dead_letters(actor(cast.bob), wanted("args.user.id:42 state:any"))
    assert {letter.job_id for letter in found} == {"a-1", "a-2", "b-1"}
