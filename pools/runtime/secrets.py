"""``get("name")``: a secret's value, inside a running job.

The pool's signed spec lists the names; the signed config says where each is kept; the agent's host says which places
may be read at all. Every answer, and every refusal, is an event on the broker. The value is in no environment,
command line, log, event, error text or repr of ours, and is read anew each time.

References: ``file:///run/secrets/name`` and ``env://NAME`` (the agent's environment).
"""

import base64
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus, unquote, urlsplit

from rq.job import get_current_job

from pools.runtime import events
from pools.runtime.identity import Identity
from pools.runtime.keys import Keys
from pools.runtime.worker_config import SecretAccess

MAX_BYTES = 64 * 1024


class SecretError(Exception):
    """No value is returned. ``why`` is a stable code; neither it nor the text says where the secret is kept."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"Secret {name!r} was not read: {WHY[why]}.")
        self.name = name
        self.why = why


class SecretRefused(SecretError):
    """The pool may not read it."""


class SecretUnavailable(SecretError):
    """The pool may read it, but it is not there, or not readable as text."""


WHY = {
    "no_job": "secrets are read inside a running job",
    "not_listed": "the pool's spec does not list it",
    "not_allowed": "this host does not allow the place it is kept in",
    "missing": "it is not there",
    "unreadable": "it cannot be read as text of at most 64 KiB",
}


@dataclass(frozen=True)
class _Vault:
    """What this process may read. No repr: it holds values of the agent's environment."""

    access: SecretAccess = field(repr=False)
    identity: Identity = field(repr=False)
    keys: Keys


_vault: _Vault | None = None
# What this process was given, by form in which it could be printed. A horse has its own, and dies with its job.
_given: dict[str, str] = {}


def install(access: SecretAccess, identity: Identity, keys: Keys) -> None:
    """Called once by the launcher, before the first horse is forked."""
    global _vault
    _vault = _Vault(access, identity, keys)


def get(name: str) -> str:
    """The secret's value, without the newline that ends a file. Raises SecretRefused or SecretUnavailable."""
    job = get_current_job()
    if job is None or _vault is None:
        raise SecretUnavailable(name, "no_job")
    body = _vault.identity.secret(name, job.id)
    try:
        value = read(name, _vault.access)
    except SecretError as error:
        events.append(job.connection, _vault.keys.events, "secret.refused", body | {"why": error.why})
        raise
    _given.update(_forms(name, value))
    events.append(job.connection, _vault.keys.events, "secret.resolved", body)
    return value


def redact(text: str) -> str:
    """``text`` with the values that this process was given replaced by their names, in any form that we know of."""
    for form in sorted(_given, key=len, reverse=True):
        text = text.replace(form, f"[redacted secret {_given[form]}]")
    return text


def _forms(name: str, value: str) -> dict[str, str]:
    """The value, its lines, and both as repr, URL, hex and base64 show them; under 4 characters it would hit words."""
    forms: set[str] = set()
    for plain in {value, *value.splitlines()}:
        raw = plain.encode()
        forms |= {plain, repr(plain)[1:-1], quote(plain, safe=""), quote_plus(plain), raw.hex(), raw.hex().upper()}
        forms |= {base64.b64encode(raw).decode().rstrip("="), base64.urlsafe_b64encode(raw).decode().rstrip("=")}
    return {form: name for form in forms if len(form) >= 4}


def read(name: str, access: SecretAccess) -> str:
    """Resolve one name, without an event. Raises SecretRefused or SecretUnavailable."""
    reference = access.references.get(name)
    if reference is None:
        raise SecretRefused(name, "not_listed")
    if reference.startswith("env://"):
        return _from_environment(name, reference, access)
    return _from_file(name, reference, access.prefixes)


def _from_environment(name: str, reference: str, access: SecretAccess) -> str:
    if not access.allows(reference):
        raise SecretRefused(name, "not_allowed")
    value = access.environment.get(reference.removeprefix("env://"))
    if value is None:
        raise SecretUnavailable(name, "missing")
    return value


def _from_file(name: str, reference: str, prefixes: Sequence[str]) -> str:
    path = _file_path(reference)
    # Where the file really is decides, not what its name looks like: neither .. nor a symbolic link leads out.
    real = os.path.realpath(path) if path else ""
    roots = [root for root in (_file_path(prefix) for prefix in prefixes) if root]
    if not real or not any(_within(real, root) for root in roots):
        raise SecretRefused(name, "not_allowed")
    try:
        with open(real, "rb", opener=_open_plainly) as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_BYTES + 1) if plain else b""
    except FileNotFoundError:
        raise SecretUnavailable(name, "missing") from None
    except OSError:
        raise SecretUnavailable(name, "unreadable") from None
    if not plain or len(content) > MAX_BYTES:
        raise SecretUnavailable(name, "unreadable")
    try:
        return content.decode().removesuffix("\n")
    except UnicodeDecodeError:
        raise SecretUnavailable(name, "unreadable") from None


def _open_plainly(path: str, flags: int) -> int:
    """Without following a link that was put there since the check, and without waiting for the writer of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _file_path(reference: str) -> str:
    """The absolute path of a file:// reference on this host, or "" when it is none."""
    parts = urlsplit(reference)
    return unquote(parts.path) if parts.scheme == "file" and not parts.netloc else ""


def _within(real: str, root: str) -> bool:
    """Whether a real path is under an allowed folder, or begins with an allowed path that ends inside a name."""
    folder, _, start = root.rpartition("/")
    return real.startswith(os.path.join(os.path.realpath(folder or "/"), start))
