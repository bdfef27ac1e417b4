"""The Lua scripts beside this file, read once a process."""

from functools import cache
from pathlib import Path

import redis
from redis.commands.core import Script

LUA = Path(__file__).parent / "lua"


@cache
def source(name: str) -> str:
    return (LUA / f"{name}.lua").read_text()


def script(client: redis.Redis, *names: str) -> Script:
    """The scripts ``names``, one after the other, as one callable: ``script(client, "a")(keys=[…], args=[…])``."""
    return client.register_script("\n".join(source(name) for name in names))
