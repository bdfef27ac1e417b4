"""Names of Poolwarden's own keys on the broker. Standard library only: agents, workers and the console share it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Keys:
    """Our keys beside RQ's. ``rq_prefix`` is RQ's own prefix (environment RQ_KEY_PREFIX, by default ``rq``).

    | key | type | owner | bound |
    |---|---|---|---|
    | desired | HASH pool uid → hint | controller | one field a pool |
    | config(uid), run(uid) | STRING, DSSE envelope | controller | 256 KiB each |
    | agents | HASH agent → heartbeat | agents | swept by the controller after 24 h |
    | events | STREAM | agents, workers | about 100,000 entries |
    | claims | HASH worker → queue key, newline, job id | workers | one field a worker; swept by upkeep |
    | weights(uid) | HASH queue key → credit | workers | one field a queue of a pool with weights |
    | holds | HASH worker → what it took at its claim, lua/holds.lua | workers | one field a worker; swept by upkeep |
    | gates(uid), then a kind and a name | as lua/gates.lua says | workers | breakers stay, limits expire |
    | once(uid), then a digest | HASH, as lua/once.lua says | workers | one for each idempotency key; expires |
    | cron(uid) | HASH, as lua/cron_adopt.lua says | agents | three fields a cron entry |
    | promoting(queue) | STRING, a lease | agents | expires after a second |
    | upkeep(uid) | STRING, a lease | agents | expires after a minute |
    | reaper | STRING, a lease | agents, controller | expires after three seconds |
    | unsettled(queue) | SET of job ids | agents | emptied by upkeep |
    | retries(uid) | HASH, as lua/finish.lua says | workers | expires after an hour |
    | moved(chunk) | SET of job ids | console jobs | one chunk of an operation; deleted after it, or expires in 7 days |
    | shelf, then a part's name and a job id | as in RQ; slips are HASHes | console jobs | expire, or are restored |
    """

    rq_prefix: str = "rq"

    @property
    def prefix(self) -> str:
        return "pw" if self.rq_prefix == "rq" else f"{self.rq_prefix}:pw"

    @property
    def desired(self) -> str:
        return f"{self.prefix}:desired"

    @property
    def agents(self) -> str:
        return f"{self.prefix}:agents"

    @property
    def events(self) -> str:
        return f"{self.prefix}:events"

    @property
    def claims(self) -> str:
        return f"{self.prefix}:claims"

    @property
    def holds(self) -> str:
        return f"{self.prefix}:holds"

    @property
    def shelf(self) -> str:
        return f"{self.prefix}:shelf"

    @property
    def reaper(self) -> str:
        return f"{self.prefix}:reaper"

    def config(self, pool_uid: str) -> str:
        return f"{self.prefix}:config:{pool_uid}"

    def run(self, pool_uid: str) -> str:
        return f"{self.prefix}:run:{pool_uid}"

    def weights(self, pool_uid: str) -> str:
        return f"{self.prefix}:weights:{pool_uid}"

    def gates(self, pool_uid: str) -> str:
        return f"{self.prefix}:gates:{pool_uid}"

    def once(self, pool_uid: str) -> str:
        return f"{self.gates(pool_uid)}:once"

    def cron(self, pool_uid: str) -> str:
        return f"{self.prefix}:cron:{pool_uid}"

    def promoting(self, queue: str) -> str:
        return f"{self.prefix}:promoting:{queue}"

    def upkeep(self, pool_uid: str) -> str:
        return f"{self.prefix}:upkeep:{pool_uid}"

    def unsettled(self, queue: str) -> str:
        return f"{self.prefix}:unsettled:{queue}"

    def retries(self, pool_uid: str) -> str:
        return f"{self.prefix}:retries:{pool_uid}"

    def moved(self, chunk: str) -> str:
        return f"{self.prefix}:moved:{chunk}"
