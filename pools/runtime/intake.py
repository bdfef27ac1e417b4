"""From what lies on the broker to what this agent may run. Nothing unverified leaves this module."""

from dataclasses import dataclass
from typing import Any

from pools.runtime.rules import Wish
from pools.runtime.store import Store
from pools.signing import SigningError, Trusted, TrustRoot, VerifiedConfig, VerifiedRun, verify_config, verify_run
from pools.spec import PoolSpec, parse_spec

RQ_FAILURE_TTL = 31_536_000


@dataclass(frozen=True)
class Offer:
    """What the broker holds for one pool. ``told`` and ``name`` are the controller's unsigned hint."""

    pool_uid: str
    name: str
    told: int | None
    config: bytes | None
    run: bytes | None


@dataclass(frozen=True)
class Refusal:
    """``version`` as the hint says; ``at`` Unix time."""

    version: int | None
    code: str
    detail: str
    at: float


@dataclass
class Pool:
    """What is trusted of one pool, and what was refused since."""

    uid: str
    name: str
    told: int | None = None
    config: VerifiedConfig[PoolSpec] | None = None
    run: VerifiedRun | None = None
    config_refused: Refusal | None = None
    run_refused: Refusal | None = None

    @property
    def refused(self) -> Refusal | None:
        return self.config_refused or self.run_refused

    @property
    def state(self) -> str:
        return self.run.state if self.run else "running"

    @property
    def wishes(self) -> tuple[Wish, ...]:
        """What people want of the pool's breakers."""
        told = self.run.payload.breakers if self.run else []
        return tuple(Wish(wish.breaker, wish.state, wish.generation) for wish in told)

    @property
    def settled(self) -> bool:
        """Whether the newest config that the controller speaks of is the one trusted here."""
        return self.refused is None and self.config is not None and self.told in (None, self.config.version)


class Intake:
    """The pools this agent knows. ``take`` and ``restore`` return the refusals that are news, as event bodies."""

    def __init__(self, root: TrustRoot, env: str, store: Store) -> None:
        self.pools: dict[str, Pool] = {}
        self._root = root
        self._env = env
        self._store = store

    def restore(self, now: int) -> list[dict[str, Any]]:
        """Verify what was kept, as of when it was accepted: time alone must not stop a running pool (fail static)."""
        news = []
        for uid, kept in self._store.load():
            pool = self.pools[uid] = Pool(uid, uid)
            try:
                if kept.config:
                    self._trust_config(pool, self._verify_config(pool, kept.config, kept.config_at))
                if kept.run:
                    pool.run = self._verify_run(pool, kept.run, kept.run_at)
            except SigningError as error:
                pool.config_refused = Refusal(None, error.code, str(error), now)
                news.append(_event(pool, pool.config_refused))
        return news

    def take(self, offer: Offer, now: int) -> list[dict[str, Any]]:
        """Look at what the broker offers for one pool. Keeps what is good before it acts on it. Raises OSError."""
        pool = self.pools.setdefault(offer.pool_uid, Pool(offer.pool_uid, offer.name))
        pool.told = offer.told
        config_before, run_before = pool.config_refused, pool.run_refused
        if offer.config is not None:
            pool.config_refused = _lasting(config_before, self._take_config(pool, offer.config, now))
        if offer.run is not None:
            pool.run_refused = _lasting(run_before, self._take_run(pool, offer.run, now))
        changes = ((config_before, pool.config_refused), (run_before, pool.run_refused))
        return [_event(pool, new) for old, new in changes if new is not None and new is not old]

    def failure_ttl(self, uid: str) -> int:
        """Seconds that a dead letter of the pool is kept; RQ's own year for a pool of which nothing is trusted here."""
        pool = self.pools.get(uid)
        return pool.config.spec.failure_ttl if pool and pool.config else RQ_FAILURE_TTL

    def _take_config(self, pool: Pool, raw: bytes, now: int) -> Refusal | None:
        if pool.config is not None and raw == pool.config.raw:
            return None
        try:
            config = self._verify_config(pool, raw, now)
        except SigningError as error:
            return Refusal(pool.told, error.code, str(error), now)
        self._store.keep_config(pool.uid, raw, now)
        self._trust_config(pool, config)
        return None

    def _take_run(self, pool: Pool, raw: bytes, now: int) -> Refusal | None:
        if pool.run is not None and raw == pool.run.raw:
            return None
        try:
            run = self._verify_run(pool, raw, now)
        except SigningError as error:
            return Refusal(pool.told, error.code, str(error), now)
        self._store.keep_run(pool.uid, raw, now)
        pool.run = run
        return None

    def _trust_config(self, pool: Pool, config: VerifiedConfig[PoolSpec]) -> None:
        pool.config = config
        pool.name = config.payload.pool

    def _verify_config(self, pool: Pool, raw: bytes, now: int) -> VerifiedConfig[PoolSpec]:
        last: Trusted | None = pool.config.trusted if pool.config else None
        return verify_config(
            raw,
            root=self._root,
            env=self._env,
            pool_uid=pool.uid,
            last=last,
            now=now,
            parse_spec=parse_spec,
        )

    def _verify_run(self, pool: Pool, raw: bytes, now: int) -> VerifiedRun:
        last = pool.run.generation if pool.run else None
        return verify_run(raw, root=self._root, env=self._env, pool_uid=pool.uid, last_generation=last, now=now)


def _lasting(old: Refusal | None, new: Refusal | None) -> Refusal | None:
    """The same refusal again is the old one: reported once, dated from when it began."""
    same = old is not None and new is not None and (old.version, old.code) == (new.version, new.code)
    return old if same else new


def _event(pool: Pool, refusal: Refusal) -> dict[str, Any]:
    return {
        "pool_uid": pool.uid,
        "pool": pool.name,
        "version": refusal.version,
        "code": refusal.code,
        "detail": refusal.detail,
    }
