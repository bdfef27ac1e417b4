"""A witness as its own process, over loopback."""

import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from audit.anchors import WitnessClient, add_checkpoint_body
from audit.checkpoint import VerifierKey
from tests.audit.logs import signer

ROOT = Path(__file__).parents[2]


class WitnessProcess:
    """``python -m audit.witness`` with its state and key in ``folder``, on a port that was free."""

    def __init__(self, folder: Path, logs: Sequence[str], *, name: str = "witness.test") -> None:
        self.folder = folder
        self._command = [
            *(sys.executable, "-m", "audit.witness", "--state", str(folder / "state"), "--key", str(folder / "key")),
            *("--name", name, "--listen", "127.0.0.1:0"),
            *(word for log in logs for word in ("--log", log)),
        ]
        self.start()

    def start(self) -> None:
        with (self.folder / "witness.log").open("ab") as log:
            self.process = subprocess.Popen(
                self._command, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT, env={"PYTHONUNBUFFERED": "1"}
            )
        assert self.process.stdout is not None
        self.vkey = self.process.stdout.readline().strip()
        self.url = self.process.stdout.readline().strip().removeprefix("listening on ")
        assert self.url, (self.folder / "witness.log").read_text()

    @property
    def key(self) -> VerifierKey:
        return VerifierKey.parse(self.vkey)

    def client(self) -> WitnessClient:
        return WitnessClient(self.url, self.vkey)

    def post(self, body: bytes, path: str = "/add-checkpoint") -> tuple[int, str, str]:
        """Status, content type, body."""
        request = urllib.request.Request(f"{self.url}{path}", body, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return answer.status, answer.headers["Content-Type"], answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.headers["Content-Type"], error.read().decode()

    def submit(self, old: int, note: bytes, proof: Sequence[bytes] = ()) -> tuple[int, str, str]:
        return self.post(add_checkpoint_body(note, old, proof))

    def summary(self) -> str:
        with urllib.request.urlopen(self.url, timeout=20) as answer:
            return str(answer.read().decode())

    def newest(self) -> tuple[int, bytes]:
        """Size and root of its only log."""
        *_, size, root = self.summary().splitlines()
        return int(size.removeprefix("size ")), bytes.fromhex(root.removeprefix("root "))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(20)

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self.process.terminate()
        return self.process.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running_witness(folder: Path, logs: Sequence[str] = ()) -> Iterator[WitnessProcess]:
    """A witness of the small log of these tests, or of other ``logs``."""
    with WitnessProcess(folder, logs or [str(signer().verifier)]) as witness:
        yield witness
