"""Dead letters follow the failed registries, whoever changed those."""

import time
from datetime import timedelta

import pytest
import redis
from django.utils import timezone
from rq import Queue

from pools.broker.connection import Broker
from pools.broker.failed_jobs import FailedJob, read_failed
from pools.controller.books import Books
from pools.controller.lease import LeaderLease, LeaseLost
from pools.controller.read_model import Facts, absorb
from pools.controller.reader import Reader
from pools.controller.sampler import Sampler
from pools.controller.scanner import Scanner
from pools.models import (
    BrokerState,
    ControllerLease,
    DeadLetter,
    DeadLetterState,
    FailedAttempt,
    FailureGroup,
    Team,
)
from tests.broker.records import write_failed
from tests.controller.conftest import Tick
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(broker: Broker) -> redis.Redis:
    return redis.Redis.from_url(broker.url)


@pytest.fixture
def sampler(lease: LeaderLease, broker: Broker, team: Team) -> Sampler:
    return Sampler(lease)


@pytest.fixture
def scanner(lease: LeaderLease, broker: Broker) -> Scanner:
    return Scanner(lease)


def states() -> dict[str, str]:
    return dict(DeadLetter.objects.values_list("job_id", "state"))


def open_count() -> int:
    return sum(FailureGroup.objects.values_list("open_count", flat=True))


def test_what_stock_workers_left_is_found(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis, team: Team
) -> None:
    factories.worker(factories.pool(team, "elsewhere"), "w1", host="pay-07", config_number=None)
    write_failed(client, "j1", "j2")
    write_failed(client, "k1", queue="reports")
    tick(sampler)
    tick(scanner)
    assert states() == dict.fromkeys(("j1", "j2", "k1"), DeadLetterState.OPEN)
    letter = DeadLetter.objects.get(job_id="j1")
    assert (letter.pool.slug, letter.queue, letter.worker, letter.host) == ("attached", "mail", "w1", "pay-07")
    assert letter.expires_at is not None
    assert open_count() == 3
    assert BrokerState.objects.get().scanned_at is not None


def test_what_left_the_registry_is_closed_for_its_reason(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "stays", "requeued", "deleted", "expired", "cleaned")
    tick(sampler)
    tick(scanner)
    Queue("mail", connection=client).failed_job_registry.requeue("requeued")
    client.delete("rq:job:deleted", "rq:results:deleted")
    client.zrem("rq:failed:mail", "deleted", "cleaned")
    client.zadd("rq:failed:mail", {"expired": time.time() - 10})
    client.delete("rq:job:expired")
    tick(sampler)
    tick(scanner)
    assert states() == {
        "stays": DeadLetterState.OPEN,
        "requeued": DeadLetterState.REQUEUED,
        "deleted": DeadLetterState.GONE,
        "expired": DeadLetterState.GONE,
        "cleaned": DeadLetterState.GONE,
    }
    assert open_count() == 1
    assert DeadLetter.objects.get(job_id="requeued").closed_at is not None


def test_a_closed_letter_that_is_back_in_its_registry_is_open_again(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1")
    tick(sampler)
    tick(scanner)
    score = client.zscore("rq:failed:mail", "j1")
    client.zrem("rq:failed:mail", "j1")
    tick(sampler)
    tick(scanner)
    assert states() == {"j1": DeadLetterState.GONE}
    client.zadd("rq:failed:mail", {"j1": score})
    tick(sampler)
    tick(scanner)
    assert states() == {"j1": DeadLetterState.OPEN}
    assert (open_count(), FailureGroup.objects.get().total_count) == (1, 1)


def test_what_was_closed_after_the_job_was_read_stays_closed(
    lease: LeaderLease, broker: Broker, client: redis.Redis, team: Team
) -> None:
    """An operation requeues a job between the scanner's look at the broker and its writing."""
    write_failed(client, "j1")
    read_at = timezone.now()
    (job,) = read_failed(broker, ["j1"], {"j1": "mail"})
    assert isinstance(job, FailedJob)
    absorb(lease, "default", [job], {"j1": Facts("mail")}, read_at)
    DeadLetter.objects.update(state=DeadLetterState.REQUEUED, closed_at=read_at + timedelta(milliseconds=1))
    FailureGroup.objects.update(open_count=0)
    assert absorb(lease, "default", [job], {"j1": Facts("mail")}, read_at) == 0
    assert (states(), open_count()) == ({"j1": DeadLetterState.REQUEUED}, 0)


def test_a_job_that_failed_again_unseen_is_noticed(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1", "j2")
    tick(sampler)
    tick(scanner)
    before = DeadLetter.objects.get(job_id="j1").failed_at
    write_failed(client, "j1", "j3", ttl=4000)
    tick(sampler)
    tick(scanner)
    letter = DeadLetter.objects.get(job_id="j1")
    assert letter.failed_at > before and letter.attempts == 2
    assert FailedAttempt.objects.get().dead_letter == letter
    assert open_count() == 3


def test_entries_without_a_record_are_not_looked_at_for_ever(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1")
    client.zadd("rq:failed:mail", {"ghost": time.time() + 3600})
    tick(sampler)
    tick(scanner)
    assert states() == {"j1": DeadLetterState.OPEN}
    client.config_resetstat()
    tick(scanner)
    assert "cmdstat_zcount" not in client.info("commandstats")


def test_damaged_records_are_shown_and_hold_nobody_up(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "good", "no-origin", "no-payload", "text")
    client.hdel("rq:job:no-origin", "origin")
    client.hdel("rq:job:no-payload", "data")
    client.set("rq:job:text", "not a hash")
    tick(sampler)
    tick(scanner)
    assert states() == dict.fromkeys(("good", "no-origin", "no-payload", "text"), DeadLetterState.OPEN)
    damaged = dict(DeadLetter.objects.values_list("job_id", "damaged"))
    assert damaged["good"] == "" and all(damaged[name] for name in ("no-origin", "no-payload", "text"))
    assert set(DeadLetter.objects.values_list("queue", flat=True)) == {"mail"}


def test_a_changed_count_is_what_wakes_it(sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis) -> None:
    write_failed(client, "j1")
    tick(sampler)
    tick(scanner)
    tick(sampler)
    client.config_resetstat()
    tick(scanner)
    assert "cmdstat_zcount" not in client.info("commandstats")


def test_what_a_controller_read_and_did_not_write_is_indexed_by_the_next(
    sampler: Sampler, broker: Broker, tick: Tick, client: redis.Redis, lease: LeaderLease
) -> None:
    ids = [f"job-{n}" for n in range(7)]
    write_failed(client, *ids)
    tick(sampler)
    books = Books(lease, broker, Reader(broker))
    books.enter("mail", ids[:3])
    books.flush()
    books.enter("mail", ids[3:])
    ControllerLease.objects.update(holder="another")
    with pytest.raises(LeaseLost):
        books.flush()
    assert DeadLetter.objects.count() == open_count() == 3
    ControllerLease.objects.update(holder=lease.holder)
    tick(Scanner(lease))
    assert states() == dict.fromkeys(ids, "open")
    assert open_count() == FailureGroup.objects.get().total_count == 7


def test_what_keeps_the_count_equal_is_found_in_time(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    """One job in place of another at the same score, below an entry that is the same: no sign changes."""
    write_failed(client, "j1", "last")
    client.zadd("rq:failed:mail", {"j1": -1})
    tick(sampler)
    tick(scanner)
    write_failed(client, "j2")
    client.zadd("rq:failed:mail", {"j2": -1})
    client.zrem("rq:failed:mail", "j1")
    for _ in range(4):
        tick(scanner)
    assert states() == {"last": DeadLetterState.OPEN, "j2": DeadLetterState.OPEN, "j1": DeadLetterState.GONE}
    assert open_count() == 2


def test_letters_from_before_scores_were_kept_get_theirs(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1", "j2", "gone")
    tick(sampler)
    tick(scanner)
    DeadLetter.objects.update(score=None)
    client.zrem("rq:failed:mail", "gone")
    client.delete("rq:job:gone")
    tick(sampler)
    tick(scanner)
    for letter in DeadLetter.objects.filter(state=DeadLetterState.OPEN):
        assert letter.score == client.zscore("rq:failed:mail", letter.job_id)
    assert states()["gone"] == DeadLetterState.GONE and open_count() == 2


def test_a_spike_below_an_entry_that_expires_late_is_found(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "late", ttl=1_000_000)
    write_failed(client, "never")
    client.zadd("rq:failed:mail", {"never": -1})
    tick(sampler)
    tick(scanner)
    ids = [f"job-{n}" for n in range(1500)]
    for start in range(0, 1500, 500):
        write_failed(client, *ids[start : start + 500])
    client.zrem("rq:failed:mail", "never")
    tick(scanner)
    assert open_count() == 1501 and states()["never"] == DeadLetterState.GONE


def test_a_queue_whose_registry_vanished_is_closed(
    sampler: Sampler, scanner: Scanner, tick: Tick, client: redis.Redis
) -> None:
    write_failed(client, "j1", "j2")
    tick(sampler)
    tick(scanner)
    client.flushall()
    tick(scanner)
    assert set(states().values()) == {DeadLetterState.GONE} and open_count() == 0
