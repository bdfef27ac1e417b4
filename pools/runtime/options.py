"""An agent's command line. Whatever is wrong with it is said in one sentence, with exit code 2."""

import argparse
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from redis.connection import parse_url

from pools.signing import SigningError, TrustRoot

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
SECRET_PREFIX = re.compile(r"(file:///|env://).*")
URL_VARIABLE = "POOLWARDEN_REDIS_URL"


@dataclass(frozen=True)
class Options:
    """``stop_timeout`` in seconds; None: each pool's own stop_grace. ``worker_urls``: of the broker, by pool, ``*`` for
    all others, where their workers are users of their own there."""

    redis_url: str = field(repr=False)
    worker_urls: Mapping[str, str] = field(repr=False)
    root: TrustRoot = field(repr=False)
    state: Path
    name: str
    env: str
    labels: dict[str, str]
    secret_prefixes: list[str]
    stop_timeout: float | None
    job_user: str

    def worker_url(self, pool: str) -> str:
        return self.worker_urls.get(pool) or self.worker_urls.get("*") or self.redis_url

    @property
    def signature(self) -> dict[str, object]:
        """What every event of this agent begins with."""
        return {"agent": self.name, "host": socket.gethostname()}


def parse(arguments: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Read the command line. Exits with code 2 and a sentence on standard error when something is wrong."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        root = TrustRoot.parse(given.trust_root.read_bytes())
        return Options(
            redis_url=_redis_url(given.redis, environ),
            worker_urls=_worker_urls(given.worker_redis),
            root=root,
            state=given.state.absolute(),
            name=given.name,
            env=given.env or environ.get("POOLWARDEN_ENV") or root.env,
            labels=dict(given.label),
            secret_prefixes=given.secret_prefix,
            stop_timeout=given.stop_timeout,
            job_user=given.job_user,
        )
    except (SigningError, OSError, ValueError) as error:
        parser.error(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m pools.runtime.agent",
        description="Runs on a worker host: verifies signed pool configs and keeps their RQ workers running.",
    )
    parser.add_argument(
        "--redis", metavar="URL", help=f"default: {URL_VARIABLE}, or the file {URL_VARIABLE}_FILE names"
    )
    parser.add_argument(
        "--worker-redis",
        metavar="FILE",
        type=Path,
        help="lines of a pool, or *, and the Redis URL that its workers use; default: the agent's own",
    )
    parser.add_argument("--trust-root", metavar="FILE", type=Path, required=True, help="which keys may sign configs")
    parser.add_argument("--state", metavar="DIR", type=Path, required=True, help="this agent's own folder")
    parser.add_argument("--name", type=_name, default=socket.gethostname(), help="unique; default: the host's name")
    parser.add_argument("--label", metavar="K=V", type=_label, action="append", default=[], help="for pools' placement")
    parser.add_argument(
        "--env", metavar="NAME", help="environment served; default: POOLWARDEN_ENV, or the trust root's"
    )
    parser.add_argument(
        "--secret-prefix",
        metavar="URI",
        type=_prefix,
        action="append",
        default=[],
        help="where secrets may be read: file:///folder/ or env://START; none by default",
    )
    parser.add_argument(
        "--stop-timeout",
        metavar="SECONDS",
        type=float,
        help="when the agent stops, kill workers after this; default: the pool's stop_grace",
    )
    parser.add_argument(
        "--job-user",
        metavar="NAME",
        default="",
        help="whose jobs of isolated pools are, when the agent runs as root; default: the agent's own user",
    )
    return parser


def _redis_url(given: str | None, environ: Mapping[str, str]) -> str:
    """A URL on the command line shows its password to every user of the host, so there are other ways."""
    url = given or environ.get(URL_VARIABLE)
    if not url and (file := environ.get(f"{URL_VARIABLE}_FILE")):
        url = Path(file).read_text().strip()
    if not url:
        raise ValueError(f"no Redis URL: give --redis, or set {URL_VARIABLE} or {URL_VARIABLE}_FILE")
    return _checked(url, "the Redis URL")


def _worker_urls(file: Path | None) -> dict[str, str]:
    """Never quoted in an error: a URL holds a password."""
    if file is None:
        return {}
    if file.stat().st_mode & 0o077:
        raise ValueError(f"--worker-redis: {file} can be read by others: chmod 600 {file}")
    found = {}
    for number, line in enumerate(file.read_text().splitlines(), 1):
        match line.split():
            case [] | ["#", *_]:
                continue
            case [pool, url]:
                found[pool] = _checked(url, f"--worker-redis: {file}, line {number}: the URL")
            case _:
                raise ValueError(f"--worker-redis: {file}, line {number}: a pool's name, or *, and a URL are wanted")
    return found


def _checked(url: str, what: str) -> str:
    try:
        parse_url(url)  # type: ignore[no-untyped-call]
    except ValueError:
        raise ValueError(f"{what} must look like redis://, rediss:// or unix://") from None
    return url


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("must be 1 to 63 letters, digits, '_', '.' or '-'")
    return text


def _label(text: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError("must look like key=value")
    return key, value


def _prefix(text: str) -> str:
    if not SECRET_PREFIX.fullmatch(text):
        raise argparse.ArgumentTypeError("must begin with file:/// or env://")
    return text
