"""Whole key spaces, copied and compared."""

from typing import Any

import redis


def copy_all(source: redis.Redis, target: redis.Redis) -> None:
    """Every key with its expiry, byte for byte."""
    for key in source.scan_iter():
        ttl = source.pttl(key)
        target.restore(key, max(ttl, 0), source.dump(key))


def dump(client: redis.Redis) -> dict[str, Any]:
    """Every key → (has an expiry, its value as plain Python); for a sorted set's scores and a stream's ids too."""
    return {key.decode(): (client.ttl(key) >= 0, _value(client, key)) for key in sorted(client.keys())}


def _value(client: redis.Redis, key: bytes) -> Any:
    match client.type(key):
        case b"hash":
            return client.hgetall(key)
        case b"list":
            return client.lrange(key, 0, -1)
        case b"set":
            return client.smembers(key)
        case b"zset":
            return dict(client.zrange(key, 0, -1, withscores=True))
        case b"stream":
            return client.xrange(key)
    return client.get(key)
