"""``python -m audit.witness``: run a witness. ``docs/witness.md`` says how."""

import argparse
import fcntl
import os
import re
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from audit.checkpoint import ED25519, NoteError, VerifierKey
from audit.witness import StateError, Witness
from audit.witness.key import KeyFileError, open_key
from audit.witness.server import Server

_LOG = re.compile(r"([^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+)(?:@(.+))?")


class Unusable(Exception):
    """The witness cannot run as it was asked to. The message is one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    try:
        logs = _logs(given.log)
        lock = _locked(given.state)
        key = open_key(given.key, given.name)
        witness = Witness(given.state, key, logs)
        host, port = given.listen
        server = Server(host, port, witness)
    except (Unusable, KeyFileError, StateError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"Cannot start: {error.strerror or error}.\n")
        return 2
    _serve(server, witness)
    os.close(lock)
    return 0


def _serve(server: Server, witness: Witness) -> None:
    """Until SIGTERM or SIGINT."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    host = f"[{server.server_name}]" if ":" in server.server_name else server.server_name
    sys.stdout.write(f"{witness.key.verifier}\nlistening on http://{host}:{server.server_port}\n")
    sys.stdout.flush()
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    serving.start()
    ended.wait()
    server.shutdown()
    serving.join()
    server.server_close()
    witness.close()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit.witness",
        description="Cosign the checkpoints of audit logs, as long as they only grow.",
        epilog="It prints its verifier key and the address that it listens on.",
    )
    parser.add_argument("--state", metavar="DIR", type=Path, required=True, help="what it remembers; never restore it")
    parser.add_argument("--key", metavar="FILE", type=Path, required=True, help="its private key; made when missing")
    parser.add_argument("--name", required=True, help="its name, such as witness.example/poolwarden")
    parser.add_argument(
        "--log",
        metavar="VKEY[@ORIGIN]",
        action="append",
        required=True,
        help="a log's verifier key, and its origin when that is not the key's name; may be repeated",
    )
    parser.add_argument("--listen", metavar="HOST:PORT", type=_address, default=("127.0.0.1", 8011))
    return parser


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise argparse.ArgumentTypeError("write HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _logs(texts: Sequence[str]) -> dict[str, list[VerifierKey]]:
    """Keys by origin. Two keys of one origin are a rotation: either may sign."""
    logs: dict[str, list[VerifierKey]] = {}
    for text in texts:
        found = _LOG.fullmatch(text)
        try:
            key = VerifierKey.parse(found[1] if found else text)
        except NoteError as error:
            raise Unusable(f"--log {text}: {error}") from None
        if key.kind != ED25519:
            raise Unusable(f"--log {text}: this is a witness's key.")
        keys = logs.setdefault((found and found[2]) or key.name, [])
        if key not in keys:
            keys.append(key)
    return logs


def _locked(folder: Path) -> int:
    """Two witnesses with one memory would forget for each other. Held until the process ends."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise Unusable(f"Others can write to {folder}: the witness could be made to forget.")
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Unusable(f"Another witness uses {folder}.") from None
    return descriptor


if __name__ == "__main__":
    sys.exit(main())
