"""Users of the broker, one for each role, as Redis' and Valkey's ACL rules: what each needs, and nothing else.

Keys are named where their names say whose they are. RQ's keys of jobs do not say of which queue they are, so whoever
runs jobs may touch any job's record. docs/broker-access.md says what follows from that; tests/runtime/test_acl.py runs
every process under these rules, and holds that nothing was refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pools.broker.rq_keys import RqKeys
from pools.runtime.keys import Keys

CONNECT = "hello auth select ping client|setname client|setinfo"
TRANSACT = "multi exec discard watch unwatch"
SCRIPT = "evalsha eval script|load time"
READ = "exists get hexists hget hgetall hlen hmget lindex llen lpos lrange pttl scard sismember smembers ttl type"
READ += " xlen xrange xrevrange zcard zcount zrange zrangebyscore zrevrange zrevrangebyscore zscore"
WRITE = "del expire hdel hincrby hset hsetnx lmove lpop lpush lrem ltrim persist pexpire rpush sadd set srem unlink"
WRITE += " xadd zadd zrem zremrangebyscore"
READER = f"{CONNECT} multi exec {SCRIPT} {READ} info"


@dataclass(frozen=True)
class Place:
    """Where keys lie: RQ's prefix there, and its own keys' names."""

    prefix: str = "rq"

    @property
    def rq(self) -> RqKeys:
        return RqKeys(self.prefix)

    @property
    def ours(self) -> Keys:
        return Keys(self.prefix)


def worker(place: Place, uid: str, queues: Iterable[str]) -> list[str]:
    """The rules of one pool's workers, upkeep included."""
    rq, ours = place.rq, place.ours
    keys = [key for queue in queues for key in _queue_keys(place, queue)]
    keys += [ours.claims, ours.holds, ours.events, f"{ours.gates(uid)}*", ours.weights(uid), ours.retries(uid)]
    keys += [f"{place.prefix}:{part}:*" for part in ("job", "results", "executions", "execution", "worker", "rl")]
    keys += [rq.workers, rq.queues, rq.rate_limits, f"{place.prefix}:suspended"]
    commands = f"{TRANSACT} {SCRIPT} {READ} {WRITE} hincrbyfloat hkeys hvals linsert info"
    return _rules(keys, [rq.groups], f"{CONNECT} client|list client|info {commands}")


def agent(place: Place) -> list[str]:
    """Of the agents, which serve whatever pools their labels fit."""
    ours = place.ours
    keys = [ours.agents, ours.events, ours.reaper, ours.claims, ours.holds]
    keys += [f"{ours.prefix}:{part}:*" for part in ("cron", "promoting", "upkeep", "unsettled", "gates", "weights")]
    keys += [f"{place.prefix}:*"]
    reads = [ours.desired, ours.config("*"), ours.run("*")]
    return _rules(
        keys, reads, f"{CONNECT} client|tracking client|id {TRANSACT} {SCRIPT} {READ} {WRITE} hkeys mget info"
    )


def producer(place: Place, queues: Iterable[str]) -> list[str]:
    """Of an application that only enqueues into these queues. It reads no result."""
    rq = place.rq
    keys = [key for queue in queues for key in (rq.queue(queue), rq.scheduled(queue), rq.deferred(queue))]
    keys += [f"{place.prefix}:job:*", rq.queues]
    commands = "hset hget hgetall hexists exists expire persist rpush lpush sadd zadd publish"
    return _rules(keys, [], f"{CONNECT} {TRANSACT} evalsha script|load {commands}")


def console(place: Place) -> list[str]:
    """Of web processes: they look, and the few things that they write at once lie under our own keys."""
    return _rules([], [f"{place.prefix}:*", f"{place.ours.prefix}:*"], f"{READER} xinfo|stream xinfo|groups")


def controller(place: Place) -> list[str]:
    """Of the controller and of console jobs, which move jobs and publish configs."""
    keys = [f"{place.prefix}:*", f"{place.ours.prefix}:*"]
    groups = "xack xautoclaim xgroup|create xgroup|setid xinfo|groups xinfo|stream xreadgroup"
    more = "client|info client|list hincrbyfloat hkeys hstrlen getrange pexpireat pubsub|channels rename srandmember"
    rqworker = "blmove publish subscribe unsubscribe"
    commands = f"{READER} {TRANSACT} {WRITE} {groups} {more} {rqworker}"
    return _rules(keys, [], commands, channels=[f"{place.prefix}:pubsub:*"])


def _queue_keys(place: Place, queue: str) -> list[str]:
    rq, ours = place.rq, place.ours
    registries = [rq.started, rq.finished, rq.failed, rq.deferred, rq.scheduled, rq.canceled, rq.ready]
    keys = [rq.queue(queue), f"{rq.intermediate(queue)}*", *(registry(queue) for registry in registries)]
    return [*keys, f"{rq.workers}:{queue}", f"{place.prefix}:clean_registries:{queue}", ours.unsettled(queue)]


def _rules(keys: Sequence[str], reads: Sequence[str], commands: str, channels: Sequence[str] = ()) -> list[str]:
    """From nothing: what is not named is refused."""
    rules = ["reset", "on", *(f"~{key}" for key in keys), *(f"%R~{key}" for key in reads)]
    return [*rules, *(f"&{channel}" for channel in channels), *(f"+{command}" for command in commands.split())]
