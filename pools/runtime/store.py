"""What an agent must remember over its own death: the last config it trusted of each pool, and the last run state."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pools.runtime.files import read_json, write_json

POOL_UID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Kept:
    """Envelopes as received, and the Unix time at which each was found good."""

    config: bytes | None = None
    config_at: int = 0
    run: bytes | None = None
    run_at: int = 0


class Store:
    """One file a pool, replaced whole and forced to disk: a power cut must not bring an old version back."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._kept: dict[str, Kept] = {}

    def load(self) -> Iterator[tuple[str, Kept]]:
        """Every pool on disk; nothing in it is trusted until it is verified again. Damaged files are passed over."""
        for path in sorted(self._directory.glob("*.json")):
            data = read_json(path)
            if data is None:
                continue
            config_at, run_at = data.get("config_at"), data.get("run_at")
            if not isinstance(config_at, int) or not isinstance(run_at, int):
                continue
            kept = Kept(_bytes(data.get("config")), config_at, _bytes(data.get("run")), run_at)
            self._kept[path.stem] = kept
            yield path.stem, kept

    def keep_config(self, pool_uid: str, raw: bytes, at: int) -> None:
        """Raises OSError: then the caller must not act on it."""
        self._write(pool_uid, replace(self._kept.get(pool_uid, Kept()), config=raw, config_at=at))

    def keep_run(self, pool_uid: str, raw: bytes, at: int) -> None:
        self._write(pool_uid, replace(self._kept.get(pool_uid, Kept()), run=raw, run_at=at))

    def _write(self, pool_uid: str, kept: Kept) -> None:
        body = {
            "config": kept.config.decode("latin-1") if kept.config else None,
            "config_at": kept.config_at,
            "run": kept.run.decode("latin-1") if kept.run else None,
            "run_at": kept.run_at,
        }
        write_json(self._directory / f"{pool_uid}.json", body, durable=True)
        self._kept[pool_uid] = kept


def _bytes(text: object) -> bytes | None:
    return text.encode("latin-1") if isinstance(text, str) else None
