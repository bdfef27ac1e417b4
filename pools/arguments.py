"""Arguments of jobs that a pool lets be searched: how they are named, and what the database holds of their values.

A path is the name of a keyword argument or the place of a positional one, then names and places inside it, with dots
between: ``user.id``, ``0.lines.2``. A value is known by a digest that nobody can compute without the installation's
secret key, so whoever reads the database finds no value and can try none.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable

from django.conf import settings

PATHS_EACH = 5
"""Paths that one pool names."""
PATH_LIMIT, VALUE_LIMIT = 100, 200
"""Characters."""
DIGEST_BYTES = 16
PATH = re.compile(r"[\w-]+(?:\.[\w-]+)*")
PURPOSE = b"poolwarden: arguments that can be searched"
UNSAID = "•" * 8
"""What a record says in place of a filter's arguments."""


def problem_of(paths: Iterable[str]) -> str:
    """A sentence on what is wrong with a pool's paths, "" when nothing is."""
    paths = list(paths)
    wrong = next((path for path in paths if not is_path(path)), None)
    if wrong is not None:
        return f"{wrong[:PATH_LIMIT]!r} is no path: expected names or places with dots between, such as user.id."
    return f"At most {PATHS_EACH} paths, not {len(paths)}." if len(paths) > PATHS_EACH else ""


def is_path(text: str) -> bool:
    return len(text) <= PATH_LIMIT and PATH.fullmatch(text) is not None


def digest(path: str, value: str) -> bytes:
    """A NUL ends the path, which has none. Half a surrogate pair, which JSON can spell, is a character like others."""
    key = hmac.digest(settings.SECRET_KEY.encode(), PURPOSE, hashlib.sha256)
    said = f"{path}\0{value}".encode("utf-8", "surrogatepass")
    return hmac.digest(key, said, hashlib.sha256)[:DIGEST_BYTES]
