"""What a bundle looks like, byte by byte, and that it is written as a stream."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from audit.bundle import BundleError, Disclosed, SizedNote, StoredLeaf, thinned, write_log, write_part
from audit.merkle import leaf_hash
from tests.audit.logs import ABOUT, ORIGIN, log_bundle, part_bundle, signer, small_log

LOG = small_log(6)


def stored(index: int) -> StoredLeaf:
    return StoredLeaf(index, LOG.leaves[index], leaf_hash(LOG.leaves[index]))


def kinds(bundle: bytes) -> str:
    return "".join(line[:1].decode() for line in bundle.splitlines())


def test_the_bytes_of_a_log() -> None:
    personal = {1: [Disclosed("address", b"\x07" * 32, "192.0.2.7 “büro”")]}
    first, second = (json.dumps(LOG.note(size).decode(), ensure_ascii=False) for size in (2, 3))
    hints = [leaf_hash(leaf).hex()[:8] for leaf in LOG.leaves]
    key = f'"key":"{signer().verifier}","kind":"log"'
    body = (
        "B poolwarden.bundle/1\n"
        f'H {{"created_at":"2026-11-22T09:30:00Z","filters":{{}},{key},"origin":"{ORIGIN}","size":3}}\n'
        'L {"event":0}\n'
        'L {"event":1}\n'
        f'P {{"field":"address","salt":"{"07" * 32}","value":"192.0.2.7 “büro”"}}\n'
        f"N {hints[0]}{hints[1]}\n"
        f"C {first}\n"
        'L {"event":2}\n'
        f"N {hints[2]}\n"
        f"C {second}\n"
    ).encode()
    ends = f'E {{"events":3,"sha256":"{hashlib.sha256(body).hexdigest()}"}}\n'.encode()
    assert log_bundle(LOG, [2, 3], personal=personal) == body + ends


def test_the_bytes_of_a_part() -> None:
    bundle = part_bundle(LOG, 6, [1, 4], consistency=[3])
    assert kinds(bundle) == "BHCKILILE"
    head, note, consistency, proof = bundle.splitlines()[1:5]
    assert json.loads(head[2:])["filters"] == {"pool": "mail"}
    assert json.loads(note[2:]).encode() == LOG.note(6)
    assert json.loads(consistency[2:]) == {"from": 3, "proof": [hashed.hex() for hashed in LOG.consistency(3, 6)]}
    assert json.loads(proof[2:]) == {"index": 1, "proof": [hashed.hex() for hashed in LOG.inclusion(1, 6)]}
    assert bundle.splitlines()[5] == b"L " + LOG.leaves[1]


def test_what_was_written_is_told() -> None:
    out = io.BytesIO()
    written = write_log(out, ABOUT, [SizedNote(4, LOG.note(4))], (stored(index) for index in range(6)))
    whole = out.getvalue()
    assert (written.events, written.bytes, written.sha256) == (4, len(whole), hashlib.sha256(whole).hexdigest())


def test_hints_come_every_256_events_and_before_each_checkpoint() -> None:
    bundle = log_bundle(small_log(600), [300, 600])
    pattern = [
        f"{len(line[2:]) // 8}N" if line[:1] == b"N" else "C" for line in bundle.splitlines() if line[:1] in b"NC"
    ]
    assert pattern == ["256N", "44N", "C", "256N", "44N", "C"]


@pytest.mark.parametrize(
    ("without", "gaps"),
    [
        ({0}, [(0, 0)]),
        ({2, 3}, [(2, 3)]),
        ({1, 4}, [(1, 1), (4, 4)]),
        ({5}, [(5, 5)]),
        ({4, 5}, [(4, 5)]),
        (range(6), [(0, 5)]),
    ],
)
def test_what_the_tables_lost_is_written_as_a_gap(without: set[int], gaps: list[tuple[int, int]]) -> None:
    lines = [json.loads(line[2:]) for line in log_bundle(LOG, [6], without=without).splitlines() if line[:1] == b"X"]
    assert lines == [{"from": first, "reason": "missing", "to": last} for first, last in gaps]


def test_an_event_with_a_line_break_cannot_forge_lines() -> None:
    """The recorder writes none; whoever writes one into the table could otherwise make lines of his own."""
    leaf = StoredLeaf(0, b'{"event":0}\nL {"event":1}', leaf_hash(LOG.leaves[0]))
    for write in (
        lambda out: write_log(out, ABOUT, [SizedNote(1, LOG.note(1))], [leaf]),
        lambda out: write_part(out, ABOUT, SizedNote(1, LOG.note(1)), [(leaf, [])], filters={}),
    ):
        out = io.BytesIO()
        assert write(out).events == 0
        assert b'X {"from":0,"reason":"unreadable","to":0}\n' in out.getvalue()


def test_without_a_checkpoint_there_is_no_bundle() -> None:
    with pytest.raises(BundleError, match="no checkpoint"):
        write_log(io.BytesIO(), ABOUT, [], [])


def test_events_out_of_order_are_a_mistake() -> None:
    with pytest.raises(BundleError, match="comes after"):
        write_log(io.BytesIO(), ABOUT, [SizedNote(6, LOG.note(6))], [stored(1), stored(0)])


def test_checkpoints_are_thinned_evenly() -> None:
    assert thinned([3, 5, 9], keep=3) == [3, 5, 9]
    chosen = thinned(range(1, 100_001), keep=1000)
    assert len(chosen) == 1000
    assert chosen[-1] == 100_000
    assert {later - earlier for earlier, later in pairwise(chosen)} == {100}
    assert thinned(range(1, 1003), keep=1000)[-1] == 1002


SCRIPTS = re.findall(
    r"```bash\n(.*?)```", (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8"), re.DOTALL
)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-uo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, timeout=60
    )


@pytest.mark.parametrize("size", [1, 4, 6])
def test_standard_tools_find_the_root(size: int, tmp_path: Path) -> None:
    """Leaf hashes and the root by printf and sha256sum, with the script that docs/bundle.md shows."""
    bundle = log_bundle(LOG, [size])
    (tmp_path / "bundle").write_bytes(bundle)
    done = run(SCRIPTS[0], tmp_path)
    assert (done.stdout, done.stderr) == (f"root {LOG.roots[size].hex()}: as signed\n", "")
    (tmp_path / "bundle").write_bytes(bundle.replace(b'L {"event":0}', b'L {"event":7}'))
    assert "not as signed" in run(SCRIPTS[0], tmp_path).stdout


@pytest.mark.skipif(not shutil.which("openssl") and not os.environ.get("CI"), reason="OpenSSL is not installed")
def test_standard_tools_check_the_signature(tmp_path: Path) -> None:
    bundle = log_bundle(LOG, [4])
    (tmp_path / "bundle").write_bytes(bundle)
    (tmp_path / "log.vkey").write_text(f"{signer().verifier}\n")
    assert "Verified Successfully" in run(SCRIPTS[1], tmp_path).stdout
    (tmp_path / "log.vkey").write_text(f"{signer(seed=2).verifier}\n")
    assert run(SCRIPTS[1], tmp_path).returncode == 1
