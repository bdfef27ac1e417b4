"""What is foreseen is what a requeue then does."""

import pytest
import redis

from pools.broker.connection import Broker
from pools.broker.moves import Outcome, requeue
from pools.broker.skipping import LIMIT, foresee
from tests.broker.keyspace import dump
from tests.broker.records import write_failed


def test_it_foresees_what_the_requeue_does(broker: Broker, client: redis.Redis) -> None:
    kinds = ["fine", "stopped", "expired", "taken", "queued", "no-data", "no-status", "no-origin", "elsewhere", "text"]
    write_failed(client, *kinds)
    client.hset("rq:job:stopped", "status", "stopped")
    client.delete("rq:job:expired", "rq:job:text")
    client.set("rq:job:text", "text")
    client.zrem("rq:failed:mail", "taken")
    client.hset("rq:job:queued", "status", "queued")
    client.hdel("rq:job:no-data", "data")
    client.hdel("rq:job:no-status", "status")
    client.hdel("rq:job:no-origin", "origin")
    client.hset("rq:job:elsewhere", "origin", "other")
    jobs = [(job_id, "mail") for job_id in (*kinds, "never")]
    before = dump(client)
    foreseen = foresee(broker, jobs)
    assert dump(client) == before
    assert foreseen == [result.outcome for result in requeue(broker, jobs)]
    assert set(foreseen) == {Outcome.REQUEUED, Outcome.GONE, Outcome.NOT_FAILED, Outcome.DAMAGED}


def test_it_looks_at_no_more_than_it_may(broker: Broker) -> None:
    assert foresee(broker, []) == []
    with pytest.raises(ValueError, match="at most"):
        foresee(broker, [("a", "mail")] * (LIMIT + 1))
