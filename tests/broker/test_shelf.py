"""The shelf: what is put back is what was taken, byte for byte; meanwhile RQ sees a deleted job."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
import redis
from rq import Queue
from rq.group import Group
from rq.job import Job
from rq.registry import FailedJobRegistry

from pools.broker.connection import Broker
from pools.broker.moves import MoveResult, Outcome
from pools.broker.payload_reveal import read_payload
from pools.broker.shelf import CHUNK, OUTCOMES, Shelf, discard, discard_shelved, reshelve, restore, shelve
from tests.broker import jobs
from tests.broker.keyspace import dump
from tests.broker.records import write_failed
from tests.broker.test_moves_like_rq import (
    KINDS,
    TIMES,
    Prepare,
    Twins,
    fail_in_both,
    grouped,
    in_rq,
    normalised,
    rate_limited_waiting,
    twins,
    with_children,
    work,
)

__all__ = ["twins"]

RECEIPT = "pw:moved:7:1"
ONE = [("one", "mail")]
KEYS = ["rq:job:one", "rq:job:one:dependents", "rq:job::one:dependencies", "rq:results:one"]


def soon(**span: float) -> datetime:
    return datetime.now(UTC) + timedelta(**span)


def outcomes(results: list[MoveResult]) -> list[Outcome]:
    return [result.outcome for result in results]


def exactly(client: redis.Redis) -> dict[str, tuple[bytes, int]]:
    """The job's keys with their bytes, and when they expire in ms from now (-1 never)."""
    found = {key: client.dump(key) for key in KEYS}
    return {key: (value, client.pttl(key)) for key, value in found.items() if value is not None}


def test_what_is_put_back_is_what_was_taken(broker: Broker, client: redis.Redis) -> None:
    """Every key's bytes, expiry and type, the registry's score to the last digit, for each shelf."""
    queue = Queue("mail", connection=client)
    with_children(client, queue)
    queue.enqueue(jobs.fails, job_id="parent")
    work(client, queue)
    client.sadd("rq:job::one:dependencies", "parent")
    client.expire("rq:job::one:dependencies", 2000)
    client.persist("rq:job:one:dependents")
    for shelf in Shelf:
        before, all_keys, score = exactly(client), dump(client), client.zscore("rq:failed:mail", "one")
        assert len(before) == 4
        assert outcomes(shelve(broker, ONE, shelf, soon(days=7))) == [OUTCOMES[shelf]]
        assert exactly(client) == {} and client.zscore("rq:failed:mail", "one") is None
        assert outcomes(restore(broker, ONE, shelf)) == [Outcome.RESTORED]
        after = exactly(client)
        assert {key: value for key, (value, _) in after.items()} == {key: value for key, (value, _) in before.items()}
        assert all(abs(after[key][1] - before[key][1]) < 1000 for key in before)
        assert client.zscore("rq:failed:mail", "one") == score and dump(client) == all_keys


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("prepare", KINDS, ids=lambda kind: kind.__name__)
def test_meanwhile_rq_sees_a_deleted_job(twins: Twins, prepare: Prepare, serializer: str) -> None:
    """Whole key spaces beside RQ's own delete: the shelf adds only keys of ours."""
    fail_in_both(twins, prepare, serializer)
    in_rq(twins, serializer).remove("one", delete_job=True)
    shelve(twins.broker, ONE, Shelf.QUARANTINE)
    ours = normalised(twins.ours, TIMES)
    assert {key: value for key, value in ours.items() if not key.startswith("pw:shelf:")} == normalised(
        twins.rqs, TIMES
    )


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("prepare", [k for k in KINDS if k is not rate_limited_waiting], ids=lambda kind: kind.__name__)
def test_a_restored_job_is_its_untouched_twin(twins: Twins, prepare: Prepare, serializer: str) -> None:
    """RQ's own fetch, registry and requeue cannot tell them apart."""
    fail_in_both(twins, prepare, serializer)
    shelve(twins.broker, ONE, Shelf.TRASH, soon(days=7))
    assert outcomes(restore(twins.broker, ONE, Shelf.TRASH)) == [Outcome.RESTORED]
    assert dump(twins.ours) == dump(twins.rqs)
    for client in (twins.rqs, twins.ours):
        registry = FailedJobRegistry("mail", connection=client, serializer=serializer)
        assert "one" in registry.get_job_ids()
        job = Job.fetch("one", connection=client, serializer=serializer)
        assert job.get_status() == "failed" and job.latest_result() is not None
        registry.requeue("one")
    assert normalised(twins.ours, TIMES) == normalised(twins.rqs, TIMES)


def test_a_job_comes_back_into_its_group_also_when_that_was_emptied(broker: Broker, client: redis.Redis) -> None:
    queue = Queue("mail", connection=client)
    grouped(client, queue)
    work(client, queue)
    shelve(broker, ONE, Shelf.ARCHIVE, soon(days=1))
    assert [job.id for job in Group.fetch("batch", client).get_jobs()] == ["sibling"]
    Job.fetch("sibling", connection=client).delete()
    Group.clean_registries(client)
    assert Group.all(client) == []
    restore(broker, ONE, Shelf.ARCHIVE)
    assert [[job.id for job in group.get_jobs()] for group in Group.all(client)] == [["one"]]


def test_each_shelf_keeps_for_its_time(broker: Broker, client: redis.Redis) -> None:
    """Whatever expiry the job had itself; in the quarantine it has none."""
    write_failed(client, "one", "two", ttl=60)
    shelve(broker, ONE, Shelf.TRASH, soon(days=7))
    shelve(broker, [("two", "mail")], Shelf.QUARANTINE)
    trash = [client.ttl(key) for key in client.keys("pw:shelf:*:one")]
    assert len(trash) == 3 and all(7 * 86_400 - 5 < ttl <= 7 * 86_400 for ttl in trash)
    assert {client.ttl(key) for key in client.keys("pw:shelf:*:two")} == {-1}


def test_an_expiry_that_has_passed_leaves_time_to_act(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", ttl=60)
    client.zadd("rq:failed:mail", {"one": soon(seconds=-5).timestamp()})
    client.expire("rq:results:one", 5)
    shelve(broker, ONE, Shelf.TRASH, soon(days=7))
    assert outcomes(restore(broker, ONE, Shelf.TRASH)) == [Outcome.RESTORED]
    score = client.zscore("rq:failed:mail", "one")
    assert score is not None and 590 < score - datetime.now(UTC).timestamp() <= 600
    assert 590 < client.ttl("rq:job:one") <= 600 and 590 < client.ttl("rq:results:one") <= 600


def test_a_job_that_never_expires_still_does_not(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    client.persist("rq:job:one")
    client.zadd("rq:failed:mail", {"one": -1})
    shelve(broker, ONE, Shelf.TRASH, soon(days=7))
    restore(broker, ONE, Shelf.TRASH)
    assert client.ttl("rq:job:one") == -1 and client.zscore("rq:failed:mail", "one") == -1


def test_another_job_with_the_id_is_not_overwritten(broker: Broker, client: redis.Redis) -> None:
    """Neither by restoring, nor by what is left of it."""
    write_failed(client, "one")
    shelve(broker, ONE, Shelf.QUARANTINE)
    Queue("mail", connection=client).enqueue(jobs.succeeds, job_id="one")
    before = dump(client)
    assert outcomes(restore(broker, ONE, Shelf.QUARANTINE)) == [Outcome.TAKEN] and dump(client) == before
    client.delete("rq:job:one")
    client.xadd("rq:results:one", {"type": 1})
    assert outcomes(restore(broker, ONE, Shelf.QUARANTINE)) == [Outcome.TAKEN]


def test_a_newer_job_with_the_id_takes_its_place_on_the_shelf(broker: Broker, client: redis.Redis) -> None:
    queue = Queue("mail", connection=client)
    with_children(client, queue)
    work(client, queue)
    shelve(broker, ONE, Shelf.QUARANTINE)
    write_failed(client, "one", description="newer")
    shelve(broker, ONE, Shelf.TRASH, soon(days=1))
    assert outcomes(restore(broker, ONE, Shelf.QUARANTINE)) == [Outcome.NOT_SHELVED]
    assert outcomes(restore(broker, ONE, Shelf.TRASH)) == [Outcome.RESTORED]
    assert client.hget("rq:job:one", "description") == b"newer" and not client.exists("rq:job:one:dependents")
    assert not client.keys("pw:shelf:*")


def test_what_has_expired_or_was_restored_is_said_so(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", "two", "three")
    three = [*ONE, ("two", "mail"), ("three", "mail")]
    shelve(broker, three, Shelf.TRASH, soon(days=1))
    client.delete(*client.keys("pw:shelf:*:one"))
    client.delete("pw:shelf:job:two")
    restore(broker, [("three", "mail")], Shelf.TRASH)
    assert outcomes(restore(broker, three, Shelf.TRASH)) == [Outcome.EXPIRED, Outcome.EXPIRED, Outcome.NOT_SHELVED]


@pytest.mark.parametrize("shelf", Shelf)
def test_the_same_call_again_reports_the_same(broker: Broker, client: redis.Redis, shelf: Shelf) -> None:
    write_failed(client, "one", "two")
    assert outcomes(shelve(broker, ONE, shelf, soon(days=1), RECEIPT)) == [OUTCOMES[shelf]]
    both = [*ONE, ("two", "mail")]
    assert outcomes(shelve(broker, both, shelf, soon(days=1), RECEIPT)) == [OUTCOMES[shelf]] * 2
    assert outcomes(shelve(broker, ONE, shelf, soon(days=1))) == [Outcome.GONE]
    client.delete(RECEIPT)
    assert outcomes(restore(broker, ONE, shelf, RECEIPT)) == [Outcome.RESTORED]
    before = dump(client)
    assert outcomes(restore(broker, ONE, shelf, RECEIPT)) == [Outcome.RESTORED]
    assert {key: value for key, value in dump(client).items() if key != RECEIPT} == {
        key: value for key, value in before.items() if key != RECEIPT
    }
    assert outcomes(restore(broker, both, shelf, RECEIPT)) == [Outcome.RESTORED] * 2


def test_from_the_quarantine_into_the_trash_and_back(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    before = exactly(client)
    shelve(broker, ONE, Shelf.QUARANTINE)
    assert outcomes(reshelve(broker, ONE, Shelf.ARCHIVE, Shelf.TRASH, soon(days=1))) == [Outcome.NOT_SHELVED]
    assert outcomes(reshelve(broker, ONE, Shelf.QUARANTINE, Shelf.TRASH, soon(days=1), RECEIPT)) == [Outcome.DISCARDED]
    assert outcomes(reshelve(broker, ONE, Shelf.QUARANTINE, Shelf.TRASH, soon(days=1), RECEIPT)) == [Outcome.DISCARDED]
    assert all(0 < client.ttl(key) <= 86_400 for key in client.keys("pw:shelf:*"))
    assert outcomes(restore(broker, ONE, Shelf.TRASH)) == [Outcome.RESTORED]
    assert {key: value for key, (value, _) in exactly(client).items()} == {k: v for k, (v, _) in before.items()}
    assert outcomes(reshelve(broker, ONE, Shelf.QUARANTINE, Shelf.TRASH, soon(days=1))) == [Outcome.EXPIRED]


def test_away_from_a_shelf(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    shelve(broker, ONE, Shelf.ARCHIVE, soon(days=1))
    assert outcomes(discard_shelved(broker, ONE, Shelf.ARCHIVE)) == [Outcome.DISCARDED]
    assert not client.keys("pw:shelf:*") and not client.keys("rq:job:*")


def test_a_damaged_job_is_shelved_and_restored_too(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    client.delete("rq:job:one", "rq:results:one")
    client.set("rq:job:one", "text")
    before = dump(client)
    assert outcomes(shelve(broker, ONE, Shelf.TRASH, soon(days=1))) == [Outcome.DISCARDED]
    assert outcomes(restore(broker, ONE, Shelf.TRASH)) == [Outcome.RESTORED] and dump(client) == before


def test_the_payload_of_a_shelved_job_can_still_be_read(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one")
    before = read_payload(broker, "one")
    shelve(broker, ONE, Shelf.QUARANTINE)
    assert read_payload(broker, "one") == before and not before.problem


def test_what_lives_elsewhere_is_left_alone(broker: Broker, client: redis.Redis) -> None:
    write_failed(client, "one", "two")
    client.hset("rq:job:one", "status", "queued")
    client.delete("rq:job:two")
    before = dump(client)
    assert outcomes(shelve(broker, ONE, Shelf.TRASH, soon(days=1))) == [Outcome.NOT_FAILED] and dump(client) == before
    assert outcomes(shelve(broker, [("two", "mail")], Shelf.TRASH, soon(days=1))) == [Outcome.GONE]


@pytest.mark.parametrize("job_id", ["a b", "a:b", "slip:one", "job:one", "ünï", "'; --", "x" * 500])
def test_any_id(broker: Broker, client: redis.Redis, job_id: str) -> None:
    write_failed(client, job_id, "one")
    before = dump(client)
    both = [(job_id, "mail"), *ONE]
    assert outcomes(shelve(broker, both, Shelf.TRASH, soon(days=1))) == [Outcome.DISCARDED] * 2
    assert outcomes(restore(broker, both, Shelf.TRASH)) == [Outcome.RESTORED] * 2 and dump(client) == before


def test_under_another_prefix(broker: Broker, client: redis.Redis) -> None:
    acme = Broker("acme", broker.url, "acme")
    write_failed(client, "one", prefix="acme")
    before = dump(client)
    assert outcomes(shelve(acme, ONE, Shelf.TRASH, soon(days=1))) == [Outcome.DISCARDED]
    assert all(key.startswith((b"acme:pw:shelf:", b"acme:queues")) for key in client.scan_iter())
    assert outcomes(restore(acme, ONE, Shelf.TRASH)) == [Outcome.RESTORED] and dump(client) == before


def test_many_on_several_queues_in_the_order_given(broker: Broker, client: redis.Redis) -> None:
    ids = [f"a-{n}" for n in range(2 * CHUNK + 3)]
    write_failed(client, *ids, queue="a")
    write_failed(client, "b-0", queue="b")
    many = [(job_id, "a") for job_id in ids] + [("b-0", "b")]
    assert [result.job_id for result in shelve(broker, many, Shelf.TRASH, soon(days=1))] == [id for id, _ in many]
    assert Counter(outcomes(restore(broker, many[::-1], Shelf.TRASH))) == {Outcome.RESTORED: len(many)}
    assert client.zcard("rq:failed:a") == len(ids) and client.zcard("rq:failed:b") == 1


def test_a_full_broker_can_still_discard(broker: Broker, client: redis.Redis) -> None:
    """Nothing stops half-way when the memory is used up: the first write of a move takes none."""
    write_failed(client, "one", "two")
    client.config_set("maxmemory", "1")
    try:
        done = outcomes(shelve(broker, ONE, Shelf.TRASH, soon(days=1))), outcomes(discard(broker, [("two", "mail")]))
    finally:
        client.config_set("maxmemory", "0")
    assert done == ([Outcome.DISCARDED], [Outcome.DISCARDED])
    assert outcomes(restore(broker, ONE, Shelf.TRASH)) == [Outcome.RESTORED]
