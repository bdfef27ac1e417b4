"""Writing small files so that a reader, or a power cut, sees the old or the new content and nothing between."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, value: dict[str, Any], *, durable: bool) -> None:
    """Replace ``path``. ``durable`` also waits for the disk; what only live processes read does without.

    The file is readable by its owner only. Raises OSError.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(value, file)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.rename(path)
    if durable:
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    """A rename is durable only when the directory is."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object in ``path``; None when the file is missing, torn or not an object."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
