from collections import Counter
from typing import Any

import pytest
import redis
from django.utils import timezone
from pytest_django import Settings

from pools.arguments import UNSAID, digest
from pools.models import DeadLetter, DeadLetterState, FailureGroup, Operation, Pool, SearchableArgument
from tests.api.calling import Caller, problem
from tests.broker.records import write_failed
from tests.dead_letters.letters import TRACEBACK, failed, with_traceback
from tests.support import factories as make
from tests.support.cast import Cast
from tests.support.valkey import ValkeyServer


def test_a_dead_letter_is_given_whole(alice: Caller, letters: list[DeadLetter]) -> None:
    found = alice.items("dead-letters")
    assert [letter["job_id"] for letter in found] == ["job-2", "job-1", "job-0"]
    first = found[0]
    assert first.pop("failed_at").endswith("Z")
    assert first == {
        "id": letters[2].pk,
        "job_id": "job-2",
        "pool": "payments",
        "queue": "payments",
        "broker": "default",
        "state": "open",
        "task": "shop.payments.capture",
        "arguments": "",
        "error": "TimeoutError",
        "message": "TimeoutError connect to eu2.cardgate.example:443",
        "group": letters[2].group_id,
        "created_at": None,
        "enqueued_at": None,
        "started_at": None,
        "expires_at": None,
        "worker": "",
        "host": "",
        "config_version": None,
        "attempts": 1,
        "came_back": 0,
        "shelved_until": None,
    }


def test_a_group_is_given_whole(alice: Caller, letters: list[DeadLetter]) -> None:
    (group,) = alice.items("failure-groups")
    assert group.pop("first_seen").endswith("Z") and group.pop("last_seen").endswith("Z")
    assert group == {
        "id": letters[0].group_id,
        "pool": "payments",
        "title": "TimeoutError connect to eu2.cardgate.example:443",
        "task": "shop.payments.capture",
        "error": "TimeoutError",
        "count": 3,
        "total_count": 3,
        "state": "new",
        "owner": None,
        "snooze": None,
        "runbook_url": "",
        "revision": 1,
    }
    (group,) = alice.items("failure-groups", q="job-1")
    assert group["count"] == 1


def test_an_outsider_sees_none(charlie: Caller, letters: list[DeadLetter]) -> None:
    assert charlie.items("dead-letters") == charlie.items("failure-groups") == []
    assert charlie.items("dead-letters", pool="payments", state="any") == []


@pytest.mark.parametrize(
    ("query", "jobs"),
    [
        ({"pool": "payments"}, ["job-2", "job-1", "job-0"]),
        ({"pool": "refunds"}, []),
        ({"queue": "payments.high"}, ["job-1"]),
        ({"task": "shop.other"}, ["job-2"]),
        ({"error": "ValueError"}, ["job-2"]),
        ({"error": "requests.ValueError"}, ["job-2"]),
        ({"error": "ValueError,KeyError"}, ["job-2"]),
        ({"error": "-ValueError"}, ["job-1", "job-0"]),
        ({"queue": "-payments.high,-other"}, ["job-2", "job-0"]),
        ({"host": "none"}, ["job-2", "job-1", "job-0"]),
        ({"version": "v7"}, []),
        ({"expires": "<24h"}, []),
        ({"q": "job-1"}, ["job-1"]),
        ({"q": "CARDGATE"}, ["job-2", "job-1", "job-0"]),
        ({"since": "30m"}, ["job-2"]),
        ({"until": "30m"}, ["job-1", "job-0"]),
        ({"state": "discarded"}, ["job-9"]),
        ({"state": "any"}, ["job-2", "job-1", "job-0", "job-9"]),
        ({"queue": "payments.high", "error": "ValueError"}, []),
    ],
)
def test_filters_narrow(alice: Caller, letters: list[DeadLetter], query: dict[str, Any], jobs: list[str]) -> None:
    group = letters[0].group
    make.dead_letter(group, "job-9", state=DeadLetterState.DISCARDED, failed_at=make.ago(hours=9))
    DeadLetter.objects.filter(job_id="job-1").update(queue="payments.high")
    other = {"func": "shop.other", "exc_type": "requests.ValueError"}
    DeadLetter.objects.get(job_id="job-2").delete()
    second = make.failure_group(group.pool, group.title, open_count=0, **other)
    make.dead_letter(second, "job-2", failed_at=make.ago(minutes=5))
    FailureGroup.objects.filter(pk=group.pk).update(open_count=2)
    assert [letter["job_id"] for letter in alice.items("dead-letters", **query)] == jobs
    counts = {found["id"]: found["count"] for found in alice.items("failure-groups", **query)}
    assert counts == Counter(second.pk if job == "job-2" else group.pk for job in jobs)


def test_a_time_that_was_given_finds_its_letter(alice: Caller, letters: list[DeadLetter]) -> None:
    at = alice.items("dead-letters")[1]["failed_at"]
    assert [letter["job_id"] for letter in alice.items("dead-letters", since=at)] == ["job-2", "job-1"]
    assert [letter["job_id"] for letter in alice.items("dead-letters", until=at)] == ["job-0"]


BAD_QUERIES: list[dict[str, Any]] = [
    {"since": "yesterday"},
    {"until": "2026-13-01"},
    {"group": "first"},
    {"state": "lost"},
    {"q": "x" * 2001},
    {"task": "a\0b"},
    {"limit": 501},
    {"cursor": "garbage"},
    {"cursor": "é"},
    {"cursor": "x" * 201},
]


@pytest.mark.parametrize("path", ["dead-letters", "failure-groups"])
def test_what_cannot_be_read_is_named(alice: Caller, payments: Pool, subtests: pytest.Subtests, path: str) -> None:
    for query in BAD_QUERIES:
        with subtests.test(**query):
            problem(alice.get(path, **query), 422, *query)


def test_letters_that_failed_at_one_moment_page_without_gaps(alice: Caller, payments: Pool) -> None:
    group, at = make.failure_group(payments), make.ago(minutes=1)
    for n in range(7):
        make.dead_letter(group, f"job-{n}", failed_at=at)
    pages = alice.all_pages("dead-letters", limit=3)
    assert [[letter["job_id"] for letter in page] for page in pages] == [
        ["job-6", "job-5", "job-4"],
        ["job-3", "job-2", "job-1"],
        ["job-0"],
    ]


def test_groups_page_without_gaps(alice: Caller, payments: Pool) -> None:
    for n in range(5):
        group = make.failure_group(payments, f"Error{n} happened", last_seen=make.ago(minutes=n))
        for m in range(n + 1):
            make.dead_letter(group, f"job-{n}-{m}")
    pages = alice.all_pages("failure-groups", limit=2)
    assert [[(group["error"], group["count"]) for group in page] for page in pages] == [
        [("Error4", 5), ("Error3", 4)],
        [("Error2", 3), ("Error1", 2)],
        [("Error0", 1)],
    ]


def test_a_group_whose_letters_are_closed_is_not_listed(alice: Caller, letters: list[DeadLetter]) -> None:
    DeadLetter.objects.all().close(DeadLetterState.REQUEUED, timezone.now())
    assert alice.items("failure-groups") == [] and FailureGroup.objects.count() == 1
    (group,) = alice.items("failure-groups", state="requeued")
    assert group["count"] == 3


@pytest.fixture
def searchable(payments: Pool, letters: list[DeadLetter]) -> None:
    Pool.objects.filter(pk=payments.pk).update(searchable_arguments=["user.id"])
    values = digest("user.id", "42"), digest("user.id", "43"), digest("user.id", "42")
    SearchableArgument.objects.bulk_create(
        SearchableArgument(dead_letter=letter, path="user.id", digest=value)
        for letter, value in zip(letters, values, strict=True)
    )


@pytest.mark.usefixtures("searchable")
def test_arguments_find_dead_letters_and_their_groups(alice: Caller) -> None:
    assert [each["job_id"] for each in alice.items("dead-letters", args="user.id=42")] == ["job-2", "job-0"]
    assert [each["job_id"] for each in alice.items("dead-letters", args="-user.id=42")] == ["job-1"]
    assert [each["count"] for each in alice.items("failure-groups", args="user.id=42")] == [2]
    assert alice.items("dead-letters", args="user.id=44") == []


@pytest.mark.usefixtures("searchable")
@pytest.mark.parametrize("path", ["dead-letters", "failure-groups"])
@pytest.mark.parametrize("value", ["42", "44"])
def test_arguments_need_the_right_to_reveal(cast: Cast, path: str, value: str) -> None:
    response = Caller(cast.vera).get(path, args=f"user.id={value}")
    (error,) = problem(response, 422, "args")["errors"]
    assert error["message"].startswith("args.user.id: needs the permission pools.reveal_payload on payments.")


@pytest.mark.usefixtures("searchable")
def test_an_operation_takes_arguments_and_does_not_keep_them(alice: Caller) -> None:
    body = {"kind": "requeue", "filter": {"args": "user.id=42"}, "reason": "Their card is mended", "start": False}
    made = alice.post("operations", body)
    assert made.status_code == 201 and made.json()["frozen_count"] == 2
    assert Operation.objects.get().selection == {"filter": {"args": UNSAID}}


def test_one_is_given_with_its_traceback(alice: Caller, charlie: Caller, letters: list[DeadLetter]) -> None:
    DeadLetter.objects.filter(pk=letters[1].pk).update(rq_version="2.6", python_version="3.13")
    with_traceback(letters[1])
    found = alice.get(f"dead-letters/{letters[1].pk}").json()
    assert (found["job_id"], found["rq_version"], found["python_version"]) == ("job-1", "2.6", "3.13")
    assert found["traceback"] == TRACEBACK and found["damaged"] == ""
    assert alice.get(f"dead-letters/{letters[0].pk}").json()["traceback"] == ""
    problem(charlie.get(f"dead-letters/{letters[1].pk}"), 404)
    problem(alice.get("dead-letters/999999999"), 404)


def test_a_group_says_where_it_happens(alice: Caller, letters: list[DeadLetter]) -> None:
    DeadLetter.objects.filter(pk=letters[1].pk).update(host="web-1")
    found = alice.get(f"failure-groups/{letters[0].group_id}").json()
    assert {"name": "Host", "rows": [["not known", 2], ["web-1", 1]], "others": 0} in found["where"]
    assert [facet["name"] for facet in found["where"]] == ["Config version", "Host", "Queue", "Python", "rq"]
    DeadLetter.objects.update(host="web-1")
    assert alice.get(f"failure-groups/{letters[0].group_id}").json()["only"] == "Only on host web-1"


def test_the_matrix_adds_up_to_the_list(alice: Caller, charlie: Caller, letters: list[DeadLetter]) -> None:
    failed(letters[0].pool, "old", title="KeyError: x", failed_at=make.ago(days=2))
    found = alice.get("dead-letters/matrix").json()
    rows = {row["error"]: row["counts"] for row in found["rows"]}
    assert rows["TimeoutError"][-1] == 3 and rows["KeyError"][-1] == 1 and rows["All"][-1] == 4
    for error, counts in rows.items():
        assert sum(counts[:-1]) == counts[-1]
        for age, count in zip(found["ages"], counts, strict=True):
            named = {"error": error} if error != "All" else {}
            assert len(alice.items("dead-letters", **age, **named)) == count
    assert alice.get("dead-letters/matrix", task="none").json()["rows"] == []
    assert charlie.get("dead-letters/matrix").json()["rows"] == []
    problem(alice.get("dead-letters/matrix", since="soonish"), 422, "since")


def test_the_preview_says_what_a_requeue_would_skip(
    alice: Caller, charlie: Caller, letters: list[DeadLetter], valkey: ValkeyServer, settings: Settings
) -> None:
    settings.POOLWARDEN_BROKERS = {"default": {"url": valkey.url, "prefix": "rq", "region": "here"}}
    client = redis.Redis.from_url(valkey.url)
    write_failed(client, "job-0", "job-1", queue="payments", dependency_ids='["parent"]')
    client.hdel("rq:job:job-1", "data")
    failed(letters[0].pool, "other", title="KeyError: x")
    found = alice.get("dead-letters/preview", error="TimeoutError").json()
    assert (found["count"], found["errors"]) == (3, {"rows": [["TimeoutError", 3]], "others": 0})
    assert found["foreseen"] == {
        "looked": 3,
        "requeued": 1,
        "skipped": {"gone": 1, "damaged": 1},
        "orphans": 1,
        "problem": "",
    }
    assert found["ages"] == [["in the last hour", 3]] and found["poison"] == 0 and found["warnings"] == []
    DeadLetter.objects.update(came_back=3)
    found = alice.get("dead-letters/preview").json()
    assert found["poison"] == 4 and found["foreseen"]["skipped"] == {"poison": 4}
    assert "4 jobs came back from as many requeues" in found["warnings"][0]
    assert charlie.get("dead-letters/preview").json()["count"] == 0
    assert not Operation.objects.exists()
