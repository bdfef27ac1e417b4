"""One broker: where it is, under which prefix RQ keeps its keys there, and a client that fails in plain words."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from urllib.parse import unquote, urlsplit

from django.conf import settings
from redis import Redis, RedisError, exceptions
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from pools.broker.rq_keys import RqKeys
from pools.runtime.connection import UNAVAILABLE
from pools.runtime.keys import Keys

CONNECT_TIMEOUT = 3.0
ANSWER_TIMEOUT = 10.0
RETRIES = 3
WHY_LENGTH = 300


class BrokerUnavailable(Exception):
    """The broker did not do what was asked. ``why`` is a sentence for a person and never holds the password."""

    def __init__(self, alias: str, why: str) -> None:
        super().__init__(f"broker {alias}: {why}")
        self.alias = alias
        self.why = why


@dataclass(frozen=True)
class Broker:
    """A Redis or Valkey that RQ uses. ``prefix`` is RQ's key prefix there, ``region`` a label for people."""

    alias: str
    url: str = field(repr=False)
    prefix: str = "rq"
    region: str = ""

    @property
    def rq(self) -> RqKeys:
        return RqKeys(self.prefix)

    @property
    def keys(self) -> Keys:
        return Keys(self.prefix)

    @cached_property
    def redis(self) -> Redis:
        """The client; it connects at the first command. RESP2 keeps the answers' shapes the same on old servers."""
        try:
            return Redis.from_url(
                self.url,
                protocol=2,
                socket_connect_timeout=CONNECT_TIMEOUT,
                socket_timeout=ANSWER_TIMEOUT,
                health_check_interval=30,
                retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=1.0), RETRIES, UNAVAILABLE),
            )
        except ValueError:
            raise BrokerUnavailable(self.alias, "its URL cannot be read: use redis://, rediss:// or unix://") from None

    @contextmanager
    def use(self) -> Iterator[Redis]:
        """Yield the client; raise ``BrokerUnavailable`` in place of whatever redis-py raises."""
        try:
            yield self.redis
        except RedisError as error:
            raise BrokerUnavailable(self.alias, self._why(error)) from None

    def _why(self, error: RedisError) -> str:
        text = self._without_password(str(error))[:WHY_LENGTH]
        match error:
            case exceptions.BusyLoadingError():
                return f"{self.place} is still loading its data"
            case exceptions.NoPermissionError():
                return f"{self.place} does not permit this to our user: {text}"
            case exceptions.AuthenticationError() | exceptions.AuthorizationError():
                return f"{self.place} refused our user name or password"
            case exceptions.ConnectionError() | exceptions.TimeoutError():
                return f"{self.place} cannot be reached: {text}"
            case exceptions.ResponseError() if "NOAUTH" in text:
                return f"{self.place} refused our user name or password"
        return f"{self.place} answered with an error: {text}"

    @property
    def place(self) -> str:
        """Host and port, or the socket's path; without user and password."""
        parts = urlsplit(self.url)
        if parts.scheme == "unix":
            return parts.path
        return f"{parts.hostname or 'localhost'}:{parts.port or 6379}"

    def _without_password(self, text: str) -> str:
        password = urlsplit(self.url).password
        for secret in {password, unquote(password or "")}:
            if secret:
                text = text.replace(secret, "***")
        return text


@lru_cache(maxsize=32)
def _broker(alias: str, url: str, prefix: str, region: str) -> Broker:
    return Broker(alias, url, prefix, region)


def get_broker(alias: str = "default") -> Broker:
    """The broker that ``settings.POOLWARDEN_BROKERS`` names ``alias``; one client a process and configuration."""
    try:
        found = settings.POOLWARDEN_BROKERS[alias]
    except KeyError:
        raise BrokerUnavailable(alias, "no broker has this name in the settings") from None
    return _broker(alias, found["url"], found.get("prefix", "rq"), found.get("region", ""))
