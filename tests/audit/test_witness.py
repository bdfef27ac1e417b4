"""The witness as a process over loopback: the published cases, rollback, races, kill -9."""

import base64
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from audit.anchors import AnchorError, Inconsistent, SizeDiffers, WitnessClient, add_checkpoint_body
from audit.checkpoint import COSIGNATURE, Checkpoint, Note, NoteError, sign_note
from audit.merkle import EMPTY_ROOT, ProofError, verify_consistency
from tests.audit.logs import ORIGIN, SmallLog, signer, small_log
from tests.audit.vectors import vectors
from tests.audit.witnesses import ROOT, WitnessProcess, running_witness
from tests.support.waiting import wait_for

PUBLISHED = vectors("witness_tlog")
LOG = small_log(40)
BRANCH = small_log(40, branch=10)
KILLS = int(os.environ.get("POOLWARDEN_TEST_KILLS", "8"))
LOG_KEY = str(signer().verifier)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[WitnessProcess]:
    with running_witness(tmp_path) as process:
        yield process


def grow(witness: WitnessProcess, old: int, size: int, log: SmallLog = LOG) -> tuple[int, str, str]:
    return witness.submit(old, log.note(size), log.consistency(old, size))


@pytest.mark.parametrize(
    "case", PUBLISHED["add_checkpoint_cases"], ids=[case["desc"] for case in PUBLISHED["add_checkpoint_cases"]]
)
def test_published_cases(case: dict[str, object], tmp_path: Path) -> None:
    with running_witness(tmp_path, [PUBLISHED["log_vkey"]]) as witness:
        if case["state_checkpoint"]:
            assert witness.submit(0, str(case["state_checkpoint"]).encode())[0] == 200
        proof = [bytes.fromhex(hashed) for hashed in case["proof_hex"]]  # type: ignore[attr-defined]
        note = str(case["checkpoint"])
        status, kind, body = witness.submit(int(str(case["old"])), note.encode(), proof)
        assert status == case["status"]
        if status == 200:
            assert witness.key in Note.parse((note + body).encode()).signed_by([witness.key])
        if status == 409:
            assert (kind, body) == ("text/x.tlog.size", f"{case['state_size']}\n")


class TestWhatItSigns:
    def test_growth(self, witness: WitnessProcess) -> None:
        old = 0
        for size in (1, 2, 7, 8, 31, 40):
            status, _, line = grow(witness, old, size)
            assert status == 200
            assert Note.parse(LOG.note(size) + line.encode()).signed_by([witness.key])[witness.key] > 1_700_000_000
            old = size
        assert witness.summary().splitlines() == [
            "witness witness.test",
            witness.vkey,
            "",
            f"log {ORIGIN}",
            "size 40",
            f"root {LOG.roots[40].hex()}",
        ]

    def test_the_same_checkpoint_again(self, witness: WitnessProcess) -> None:
        assert grow(witness, 0, 9)[0] == 200
        assert grow(witness, 9, 9)[0] == 200
        assert witness.submit(9, LOG.note(9), [b"x" * 32])[0] == 422

    def test_another_history(self, witness: WitnessProcess) -> None:
        assert grow(witness, 0, 20)[0] == 200
        assert grow(witness, 20, 30, BRANCH)[0] == 422
        assert witness.submit(20, BRANCH.note(30), LOG.consistency(20, 30))[0] == 422
        assert grow(witness, 20, 20, BRANCH) == (409, "text/x.tlog.size", "20\n")
        assert grow(witness, 0, 30, BRANCH) == (409, "text/x.tlog.size", "20\n")
        assert grow(witness, 8, 9) == (409, "text/x.tlog.size", "20\n")
        assert grow(witness, 20, 30)[0] == 200
        assert "NOT A CONTINUATION" in (witness.folder / "witness.log").read_text()

    def test_a_log_without_events(self, witness: WitnessProcess) -> None:
        empty = sign_note(Checkpoint(ORIGIN, 0, EMPTY_ROOT).text, [signer()])
        assert witness.submit(0, empty)[0] == 200
        assert witness.submit(0, sign_note(Checkpoint(ORIGIN, 0, LOG.roots[1]).text, [signer()]))[0] == 409
        assert grow(witness, 0, 9)[0] == 200
        assert witness.submit(0, empty) == (409, "text/x.tlog.size", "9\n")

    def test_an_unknown_log(self, witness: WitnessProcess) -> None:
        other = sign_note(Checkpoint("other.test", 9, LOG.roots[9]).text, [signer()])
        assert witness.submit(0, other)[0] == 404

    def test_another_key(self, witness: WitnessProcess) -> None:
        forged = small_log(9, key=signer(seed=2))
        assert witness.submit(0, forged.note(9))[0] == 403
        text, _, line = LOG.note(9).decode().partition("\n\n")
        name, encoded = line.rsplit(" ", 1)
        raw = bytearray(base64.b64decode(encoded))
        raw[20] ^= 1
        assert witness.submit(0, f"{text}\n\n{name} {base64.b64encode(raw).decode()}\n".encode())[0] == 403
        assert "size 0" in witness.summary()

    def test_two_logs_and_a_rotated_key(self, tmp_path: Path) -> None:
        """Of a log whose name is not its key's, and of one with two keys."""
        other = signer("other.key", seed=5)
        logs = [LOG_KEY, str(signer(seed=2).verifier), f"{other.verifier}@log of others/2"]
        with running_witness(tmp_path, logs) as witness:
            assert grow(witness, 0, 9)[0] == 200
            assert grow(witness, 9, 12, SmallLog(LOG.leaves, signer(seed=2)))[0] == 200
            text = Checkpoint("log of others/2", 9, BRANCH.roots[9]).text
            assert witness.submit(0, sign_note(text, [other]))[0] == 200
            assert witness.submit(9, sign_note(text.replace("\n9\n", "\n10\n"), [signer()]))[0] == 403
            assert "log log of others/2\nsize 9" in witness.summary()

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"old 0",
            b"old 0\n\n",
            b"old 0\n" + LOG.note(9),
            b"old -1\n\n" + LOG.note(9),
            b"old 00\n\n" + LOG.note(9),
            b"old  0\n\n" + LOG.note(9),
            b"new 0\n\n" + LOG.note(9),
            b"old 99999999999999999999\n\n" + LOG.note(9),
            b"old 10\n\n" + LOG.note(9),
            b"old 0\n!!!!\n\n" + LOG.note(9),
            b"old 0\n\n" + LOG.note(9)[:-1],
            b"old 0\n\n" + LOG.note(9).replace(b"\n9\n", b"\n09\n"),
            b"old 0\n\n" + b"\xff" * 50,
            b"old 0\n" + b"AAAA\n" * 64 + b"\n" + LOG.note(9),
        ],
    )
    def test_requests_that_are_none(self, witness: WitnessProcess, body: bytes) -> None:
        assert witness.post(body)[0] == 400
        assert "size 0" in witness.summary()


class TestMemory:
    def test_rollback_is_refused_after_a_restart(self, witness: WitnessProcess) -> None:
        assert grow(witness, 0, 30)[0] == 200
        before = witness.vkey
        assert witness.stop() == 0
        witness.start()
        assert witness.vkey == before
        assert grow(witness, 0, 20) == (409, "text/x.tlog.size", "30\n")
        assert grow(witness, 30, 40, BRANCH)[0] == 422
        assert grow(witness, 30, 40)[0] == 200

    def test_damage_stops_it(self, witness: WitnessProcess) -> None:
        """Forgetting what was signed would be worse than not running."""
        assert grow(witness, 0, 30)[0] == 200
        witness.stop()
        (state,) = (witness.folder / "state").glob("*.note")
        state.write_bytes(state.read_bytes()[:20])
        with pytest.raises(AssertionError, match="is damaged"):
            witness.start()
        assert witness.process.wait(20) == 2

    def test_what_cannot_be_recorded_is_not_signed(self, witness: WitnessProcess) -> None:
        assert grow(witness, 0, 9)[0] == 200
        (state,) = (witness.folder / "state").glob("*.note")
        (witness.folder / "state" / f".{state.name}.new").mkdir()
        status, _, body = grow(witness, 9, 20)
        assert (status, "—" in body) == (500, False)
        assert grow(witness, 0, 20) == (409, "text/x.tlog.size", "9\n")

    def test_two_witnesses_with_one_memory(self, witness: WitnessProcess) -> None:
        with pytest.raises(AssertionError, match="Another witness uses"):
            WitnessProcess(witness.folder, [LOG_KEY])

    def test_of_requests_at_once_one_wins(self, witness: WitnessProcess) -> None:
        assert grow(witness, 0, 5)[0] == 200
        wanted = [(size, log) for size in range(11, 41, 2) for log in (LOG, BRANCH)]
        random.Random(1).shuffle(wanted)
        start = threading.Barrier(8)

        def race(pair: tuple[int, SmallLog]) -> int:
            start.wait(20)
            return grow(witness, 5, *pair)[0]

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(race, wanted[:8]))
        assert sorted(answers) == [200] + [409] * 7

    def test_kill_at_any_moment(self, witness: WitnessProcess) -> None:
        """Two histories push at once while it is killed again and again: whatever it cosigned is one history."""
        chance = random.Random(20261122)
        signed: list[tuple[int, bytes]] = []
        histories = [small_log(2000 + 100 * KILLS, branch=branch) for branch in (None, 10)]
        for _ in range(KILLS):
            ended = threading.Event()
            pushers = [
                threading.Thread(target=push, args=(witness, log, signed, ended, chance.random()))
                for log in histories * 2
            ]
            for pusher in pushers:
                pusher.start()
            enough = len(signed) + chance.randint(1, 25)
            wait_for(lambda enough=enough: len(signed) >= enough, timeout=30, every=0.001, message="cosignatures")  # type: ignore[misc]
            witness.kill()
            ended.set()
            for pusher in pushers:
                pusher.join(20)
            witness.start()
        size, root = witness.newest()
        history = next(log for log in histories if log.roots[size] == root)
        assert set(signed) <= set(enumerate(history.roots))
        assert max(signed)[0] <= size
        assert size > 20


class TestStart:
    def run(self, tmp_path: Path, **changed: object) -> subprocess.CompletedProcess[str]:
        options = {"state": tmp_path / "state", "key": tmp_path / "key", "name": "w", "log": LOG_KEY, "listen": "x"}
        words = [word for name, value in (options | changed).items() for word in (f"--{name}", str(value))]
        return subprocess.run(
            [sys.executable, "-m", "audit.witness", *words], capture_output=True, text=True, timeout=60, cwd=ROOT
        )

    def test_the_key_is_made_for_its_owner_alone(self, witness: WitnessProcess) -> None:
        assert stat.S_IMODE((witness.folder / "key").stat().st_mode) == 0o600
        assert stat.S_IMODE((witness.folder / "state").stat().st_mode) == 0o700
        assert witness.key.kind == COSIGNATURE
        assert [path.name for path in witness.folder.iterdir() if path.name.startswith(".")] == []

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
    def test_a_key_that_others_can_read(self, tmp_path: Path, mode: int) -> None:
        self.run(tmp_path, listen="127.0.0.1:1", log="nonsense")
        (tmp_path / "key").write_text("x")
        (tmp_path / "key").chmod(mode)
        done = self.run(tmp_path, listen="127.0.0.1:0")
        assert done.returncode == 2
        assert f"has mode {mode:04o}" in done.stderr

    def test_files_that_are_no_keys(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("no key")
        (tmp_path / "key").chmod(0o600)
        assert "not an unencrypted private key" in self.run(tmp_path, listen="127.0.0.1:0").stderr
        (tmp_path / "key").unlink()
        (tmp_path / "key").symlink_to("/dev/null")
        assert "Cannot keep the key" in self.run(tmp_path, listen="127.0.0.1:0").stderr
        (tmp_path / "key").unlink()
        os.mkfifo(tmp_path / "key", 0o600)
        assert "is not a plain file" in self.run(tmp_path, listen="127.0.0.1:0").stderr

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
    def test_a_key_of_somebody_else(self, tmp_path: Path) -> None:
        (tmp_path / "key").write_text("x")
        (tmp_path / "key").chmod(0o600)
        os.chown(tmp_path / "key", 12345, 12345)
        assert "belongs to another user (uid 12345)" in self.run(tmp_path, listen="127.0.0.1:0").stderr

    def test_a_memory_that_others_can_change(self, tmp_path: Path) -> None:
        (tmp_path / "state").mkdir()
        (tmp_path / "state").chmod(0o777)
        assert "Others can write" in self.run(tmp_path, listen="127.0.0.1:0").stderr

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"listen": "8011"}, "HOST:PORT"),
            ({"listen": "127.0.0.1:99999"}, "HOST:PORT"),
            ({"listen": "127.0.0.1:0", "log": "nonsense"}, "--log nonsense"),
            ({"listen": "127.0.0.1:0", "log": str(signer("w", COSIGNATURE).verifier)}, "this is a witness's key"),
            ({"listen": "127.0.0.1:0", "name": "two words"}, "without spaces"),
            ({"listen": "192.0.2.1:1"}, "Cannot start"),
        ],
    )
    def test_what_cannot_be_used(self, tmp_path: Path, changed: dict[str, object], sentence: str) -> None:
        done = self.run(tmp_path, **changed)
        assert done.returncode == 2
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr

    def test_neither_django_nor_sql_is_loaded(self) -> None:
        script = (
            "import sys, audit.witness.__main__; "
            "print([name for name in ('django', 'sqlite3', 'psycopg', 'controlplane') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=ROOT)
        assert done.stdout == "[]\n", done.stderr

    def test_sigint_ends_it_too(self, witness: WitnessProcess) -> None:
        witness.process.send_signal(signal.SIGINT)
        assert witness.process.wait(20) == 0


class TestHttp:
    def raw(self, witness: WitnessProcess, request: bytes) -> bytes:
        host, port = witness.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as peer:
            peer.sendall(request)
            answer = b""
            while part := peer.recv(65536):
                answer += part
        return answer

    def test_requests_are_bounded(self, witness: WitnessProcess) -> None:
        head = b"POST /add-checkpoint HTTP/1.1\r\nHost: w\r\n"
        assert b" 411 " in self.raw(witness, head + b"Transfer-Encoding: chunked\r\n\r\n")
        assert b" 411 " in self.raw(witness, head + b"\r\n")
        assert b" 411 " in self.raw(witness, head + b"Content-Length: -5\r\n\r\n")
        assert b" 413 " in self.raw(witness, head + b"Content-Length: 131073\r\n\r\n")
        assert b" 413 " in self.raw(witness, head + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")
        assert b" 414 " in self.raw(witness, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")

    def test_other_paths_and_methods(self, witness: WitnessProcess) -> None:
        assert witness.post(b"old 0\n\n", "/other")[0] == 404
        assert b" 404 " in self.raw(witness, b"GET /etc/passwd HTTP/1.0\r\n\r\n")
        assert b" 501 " in self.raw(witness, b"DELETE / HTTP/1.0\r\n\r\n")

    def test_silent_peers_keep_nobody_out(self, witness: WitnessProcess) -> None:
        host, port = witness.url.removeprefix("http://").split(":")
        silent = [socket.create_connection((host, int(port)), timeout=20) for _ in range(30)]
        try:
            assert grow(witness, 0, 9)[0] == 200
        finally:
            for peer in silent:
                peer.close()


def cosignature(at: int) -> bytes:
    """That of a good key, at a time of its own choice."""
    return signer("witness.test", COSIGNATURE, 7).line(Note.parse(LOG.note(9)).text, at).encode()


class TestClient:
    """``WitnessClient`` against the process, and against servers that misbehave."""

    def test_it_brings_back_the_cosignature(self, witness: WitnessProcess) -> None:
        client = witness.client()
        line = client.cosign(LOG.note(9), 0, [])
        assert line.startswith("— witness.test ")
        assert witness.key in Note.parse(LOG.note(9) + line.encode()).signed_by([witness.key])
        assert client.cosign(LOG.note(20), 9, LOG.consistency(9, 20)).endswith("\n")

    def test_it_learns_the_size_that_the_witness_knows(self, witness: WitnessProcess) -> None:
        client = witness.client()
        client.cosign(LOG.note(9), 0, [])
        with pytest.raises(SizeDiffers, match="last saw the log with 9 events") as caught:
            client.cosign(LOG.note(20), 0, [])
        assert caught.value.size == 9

    def test_another_history_is_an_alarm(self, witness: WitnessProcess) -> None:
        client = witness.client()
        client.cosign(LOG.note(20), 0, [])
        with pytest.raises(Inconsistent, match="saw another history"):
            client.cosign(BRANCH.note(30), 20, BRANCH.consistency(20, 30))
        with pytest.raises(Inconsistent, match="saw another history"):
            client.cosign(BRANCH.note(20), 20, [])

    def test_refusals_are_told_apart(self, witness: WitnessProcess) -> None:
        client = witness.client()
        with pytest.raises(AnchorError, match="does not know the key"):
            client.cosign(small_log(9, key=signer(seed=2)).note(9), 0, [])
        with pytest.raises(AnchorError, match="does not know this log"):
            client.cosign(sign_note(Checkpoint("other.test", 9, LOG.roots[9]).text, [signer()]), 0, [])

    def test_another_witness_answers(self, witness: WitnessProcess) -> None:
        client = WitnessClient(witness.url, str(signer("witness.test", COSIGNATURE, 9).verifier))
        with pytest.raises(AnchorError, match="without its cosignature"):
            client.cosign(LOG.note(9), 0, [])

    def test_nobody_listens(self) -> None:
        with pytest.raises(AnchorError, match="cannot be reached"):
            WitnessClient("http://127.0.0.1:1", VKEY).cosign(LOG.note(9), 0, [])

    @pytest.mark.parametrize(
        ("answer", "sentence"),
        [
            (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", r"refused \(302\)"),
            (b"HTTP/1.1 200 OK\r\n\r\n", "without its cosignature"),
            (b"HTTP/1.1 200 OK\r\n\r\nhello\n", "bad cosignature"),
            (b"HTTP/1.1 200 OK\r\n\r\n\xff\xff\n", "bad cosignature"),
            *((b"HTTP/1.1 200 OK\r\n\r\n" + cosignature(at), "bad cosignature") for at in (10**12, 2**64 - 1)),
            (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000, "without end"),
            (b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\n\r\nmany\n", "another history"),
            (b"HTTP/1.1 500 Oops\r\n\r\n", r"refused \(500\)"),
            (b"hello\r\n\r\n", "cannot be reached"),
            (b"", "cannot be reached"),
        ],
    )
    def test_servers_that_misbehave(self, answer: bytes, sentence: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.handle_request, daemon=True).start()
            client = WitnessClient(f"http://127.0.0.1:{server.server_port}", VKEY)
            with pytest.raises(AnchorError, match=sentence):
                client.cosign(LOG.note(9), 0, [])

    def test_a_server_that_never_answers(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            client = WitnessClient(f"http://127.0.0.1:{server.getsockname()[1]}", VKEY, timeout=0.2)
            with pytest.raises(AnchorError, match="cannot be reached: timed out"):
                client.cosign(LOG.note(9), 0, [])


VKEY = str(signer("witness.test", COSIGNATURE, 7).verifier)


def push(
    witness: WitnessProcess, log: SmallLog, signed: list[tuple[int, bytes]], ended: threading.Event, seed: float
) -> None:
    """Grow ``log`` at the witness by small steps until it is gone."""
    chance, client, old = random.Random(seed), witness.client(), 0
    while not ended.is_set():
        size = old + chance.randint(1, 3)
        try:
            client.cosign(log.note(size), old, log.consistency(old, size))
        except SizeDiffers as error:
            old = error.size
        except AnchorError:
            ended.wait(0.01)  # gone, or of the other history
        else:
            signed.append((size, log.roots[size]))
            old = size


def test_the_body_is_as_the_specification_shows_it() -> None:
    body = add_checkpoint_body(b"log\n9\nroot\n\nsignature\n", 5, [b"\x01" * 32, b"\x02" * 32])
    first, second = (base64.b64encode(bytes([number]) * 32) for number in (1, 2))
    assert body == b"old 5\n" + first + b"\n" + second + b"\n\nlog\n9\nroot\n\nsignature\n"
    assert add_checkpoint_body(b"log\n", 0, []) == b"old 0\n\nlog\n"


def test_proofs_of_the_small_log_verify() -> None:
    """What the other tests lean on."""
    verify_consistency(9, 20, LOG.roots[9], LOG.roots[20], LOG.consistency(9, 20))
    with pytest.raises(ProofError):
        verify_consistency(20, 30, LOG.roots[20], BRANCH.roots[30], BRANCH.consistency(20, 30))
    with pytest.raises(NoteError):
        Note.parse(b"")
