"""The environment, read once and typed. A bad value stops the start with the name of its variable."""

import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit


class EnvError(Exception):
    """A variable is missing or unusable. The message begins with the variable's name."""


class Env:
    """Typed access to ``environ``. Empty values count as unset."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ

    def text(self, name: str, default: str = "") -> str:
        return self._environ.get(name, "").strip() or default

    def flag(self, name: str, *, default: bool) -> bool:
        value = self.text(name).lower()
        if value in {"1", "true", "yes", "on"}:
            return True
        if value in {"0", "false", "no", "off"}:
            return False
        if not value:
            return default
        raise EnvError(f"{name}: expected 1 or 0, not {value!r}")

    def integer(self, name: str, default: int, *, low: int, high: int) -> int:
        value = self.text(name)
        if not value:
            return default
        if not value.lstrip("-").isdecimal() or not low <= int(value) <= high:
            raise EnvError(f"{name}: expected a whole number from {low} to {high}, not {value!r}")
        return int(value)

    def words(self, name: str, default: str = "") -> list[str]:
        """A comma-separated list, blanks dropped."""
        return [word.strip() for word in self.text(name, default).split(",") if word.strip()]

    def folder(self, name: str, default: str) -> Path:
        path = Path(self.text(name, default)).expanduser().absolute()
        if path.exists() and not path.is_dir():
            raise EnvError(f"{name}: {path} is not a folder")
        return path

    def file(self, name: str, default: str) -> Path:
        path = Path(self.text(name, default)).expanduser().absolute()
        if path.is_dir():
            raise EnvError(f"{name}: {path} is a folder, not a file")
        return path

    def secret(self, name: str, default: str = "") -> str:
        """The value of ``NAME``, or the content of the file that ``NAME_FILE`` names; never both."""
        value, file = self.text(name), self.text(f"{name}_FILE")
        if value and file:
            raise EnvError(f"{name}: set {name} or {name}_FILE, not both")
        if not file:
            return value or default
        try:
            content = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise EnvError(f"{name}_FILE: cannot read {file}: {reason}") from error
        if not content:
            raise EnvError(f"{name}_FILE: {file} is empty")
        return content

    def url(self, name: str, default: str, *, schemes: tuple[str, ...]) -> str:
        value = self.secret(name, default)
        try:
            parts = urlsplit(value)
            usable = parts.scheme in schemes and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            # The value may hold a password: name what is expected, never what was found.
            raise EnvError(f"{name}: expected a URL that begins with {' or '.join(f'{s}://' for s in schemes)}")
        return value


def local_secret(path: Path) -> str:
    """The secret kept in ``path`` (mode 0600), made on first use. Refuses a file that others could read."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(handle, "w") as file:
                file.write(secrets.token_urlsafe(48))
        status = path.stat()
        if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid != os.getuid():
            raise EnvError(f"POOLWARDEN_SECRET_KEY: {path} must belong to this user with mode 0600")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise EnvError(f"POOLWARDEN_HOME: cannot keep the secret key in {path}: {error.strerror}") from error
