"""Search in messages: what whole groups say, what single jobs say of their own, and that its index follows the rows."""

from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from pools.broker.fingerprint import fingerprint
from pools.models import DeadLetter, FailureGroup, Pool
from pools.selectors import search as searching
from pools.selectors.dead_letters import DeadLetterFilter, dead_letter_page, dead_letters, group_counts
from pools.words import COUNT, own_words, words_in
from tests.dead_letters.letters import failed
from tests.support.cast import Cast, actor


def said(pool: Pool, exc_type: str, *messages: str, **more: Any) -> FailureGroup:
    """A group of these messages' common cause; its jobs are numbered ``order-0`` and so on."""
    short = exc_type.lower()
    title = fingerprint("shop.run", exc_type, messages[0], ()).title
    group = failed(pool, *(f"{short}-{n}" for n in range(len(messages))), title=title, **more)
    for n, message in enumerate(messages):
        assert fingerprint("shop.run", exc_type, message, ()).title == title
        DeadLetter.objects.filter(job_id=f"{short}-{n}").update(message=message, words=own_words(message, title))
    return group


@pytest.fixture
def incident(payments: Pool, reports: Pool) -> None:
    said(payments, "TimeoutError", "stripe timed out after 30s, order 4711", "stripe timed out after 31s, order 99")
    said(payments, "CardDeclined", "order 4711: card of 'Zoë Müller' declined", "order 99: card of 'Al' declined")
    said(reports, "KeyError", "'order'", "'vat_4711'")


FOUND = {
    "timed out": {"timeouterror-0", "timeouterror-1"},
    "TIMED OUT": {"timeouterror-0", "timeouterror-1"},
    "out timed": {"timeouterror-0", "timeouterror-1"},
    "TimeoutError": {"timeouterror-0", "timeouterror-1"},
    "4711": {"timeouterror-0", "carddeclined-0", "keyerror-1"},
    "471": {"timeouterror-0", "carddeclined-0", "keyerror-1"},
    "order": {"timeouterror-0", "timeouterror-1", "carddeclined-0", "carddeclined-1", "keyerror-0"},
    "order 4711": {"timeouterror-0", "carddeclined-0"},
    "vat_4711": {"keyerror-1"},
    "4711 30s": {"timeouterror-0"},
    "declined 99": {"carddeclined-1"},
    "declined, 31s": set(),
    "zoë müller": {"carddeclined-0"},
    "Müll": {"carddeclined-0"},
    "uller": set(),
    "zoe": set(),
    "no such text": set(),
    "timeouterror-1": {"timeouterror-1"},
    "%": set(),
    "'": set(),
    '" OR rowid:*': set(),
    "NEAR(order": set(),
    "); DROP TABLE pools_deadletter; --": set(),
}


@pytest.mark.usefixtures("incident")
@pytest.mark.parametrize("text", FOUND)
def test_what_a_search_finds(cast: Cast, text: str) -> None:
    bob, wanted = actor(cast.bob), DeadLetterFilter.from_query({"q": text})
    page = dead_letter_page(bob, wanted)
    assert {letter.job_id for letter in page.items} == FOUND[text]
    assert set(dead_letters(bob, wanted).values_list("job_id", flat=True)) == FOUND[text]
    assert sum(group_counts(bob, wanted).values()) == len(FOUND[text])


@pytest.mark.usefixtures("incident")
def test_a_search_keeps_to_the_rest_of_the_filter_and_to_what_one_may_see(cast: Cast) -> None:
    bob = actor(cast.bob)
    found = dead_letters(bob, DeadLetterFilter(q="4711", pool="payments", error="CardDeclined"))
    assert [letter.job_id for letter in found] == ["carddeclined-0"]
    assert not dead_letters(bob, DeadLetterFilter(q="4711", until="1h")).exists()
    assert not dead_letters(actor(cast.charlie), DeadLetterFilter(q="4711", pool="payments")).exists()


@pytest.mark.usefixtures("incident")
def test_pages_go_through_whole_groups_and_single_jobs_together(cast: Cast) -> None:
    bob, wanted = actor(cast.bob), DeadLetterFilter(q="order")
    said_by_group = set(search_in(cast, "order").jobs)
    seen: list[str] = []
    cursor = ""
    while page := dead_letter_page(bob, wanted, cursor, size=2):
        seen += [letter.job_id for letter in page.items]
        if not (cursor := page.next):
            break
    assert len(seen) == len(set(seen)) == 5 and said_by_group
    newest = dead_letters(bob, wanted).values_list("job_id", flat=True)
    assert seen == list(newest)


def search_in(cast: Cast, text: str) -> searching.Found:
    return searching.search(
        text, FailureGroup.objects.filter(open_count__gt=0), DeadLetter.objects.filter(state="open")
    )


@pytest.mark.usefixtures("incident")
def test_the_index_follows_what_is_written(cast: Cast) -> None:
    """Inserts are in ``FOUND``; here are the changes, those that put a row in the place of another, and deletions."""
    letter = DeadLetter.objects.get(job_id="timeouterror-0")
    DeadLetter.objects.filter(pk=letter.pk).update(words="812")
    assert set(search_in(cast, "812").jobs) == {letter.pk}
    assert letter.pk not in search_in(cast, "4711").jobs
    DeadLetter.objects.filter(pk=letter.pk).update(words="")
    assert letter.pk not in search_in(cast, "812").jobs
    DeadLetter.objects.bulk_create(
        [DeadLetter(broker=letter.broker, job_id=letter.job_id, words="813", pool=letter.pool, group=letter.group,
                    queue="q", func="f", exc_type="E", message="", failed_at=timezone.now())],
        update_conflicts=True, unique_fields=["broker", "job_id"], update_fields=["words"],
    )  # fmt: skip
    assert set(search_in(cast, "813").jobs) == {letter.pk}
    DeadLetter.objects.filter(pk=letter.pk).delete()
    assert not search_in(cast, "813").jobs


def test_at_most_the_newest_jobs_are_found_one_by_one(cast: Cast, payments: Pool, monkeypatch: Any) -> None:
    said(payments, "TimeoutError", *(f"order 7{n}" for n in range(6)))
    monkeypatch.setattr(searching, "FOUND_LIMIT", 4)
    wanted = DeadLetterFilter(q="7")
    newest = [f"timeouterror-{n}" for n in (5, 4, 3, 2)]
    assert [letter.job_id for letter in dead_letter_page(actor(cast.bob), wanted).items] == newest
    assert sum(group_counts(actor(cast.bob), wanted).values()) == 4
    assert dead_letters(actor(cast.bob), wanted).count() == 4


def test_a_list_never_reads_rows_to_count_or_to_find_them(cast: Cast, payments: Pool) -> None:
    """By the plans: an index that covers the question."""
    failed(payments, "a", "b")
    bob = actor(cast.bob)
    for query in ({"queue": "x"}, {"since": "1h"}, {"queue": "x", "since": "1h", "until": "5m"}):
        [part] = searching_parts(bob, DeadLetterFilter.from_query(query))
        for everywhere in (False, True):
            found = part.newest(Q(), 50, everywhere=everywhere).values_list("failed_at", "pk")
            if connection.vendor == "sqlite":
                assert "USING COVERING INDEX dead_letter_" in found.explain(), query
    assert group_counts(bob, DeadLetterFilter(queue="x")) == {}


def searching_parts(who: Any, wanted: DeadLetterFilter) -> Any:
    from pools.selectors.dead_letters import matching

    return matching(who, wanted)


def test_words_are_letters_and_digits_once_each_and_not_too_many() -> None:
    assert words_in("Order 4711 of ORDER-4711_x, 30s é\u0301!") == ["order", "4711", "of", "x", "30s", "é"]
    assert own_words("order 4711 failed", "Error: order … failed") == "4711"
    assert len(own_words(" ".join(map(str, range(1000))), "").split()) == COUNT
    assert max(map(len, words_in("x" * 10_000))) == 64
