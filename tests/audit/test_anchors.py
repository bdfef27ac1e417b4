"""Where checkpoints go: what is put is there, also after a crash in the middle of a write."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from audit.anchors import Anchor, AnchorError, DirectoryAnchor, FileAnchor, WitnessClient
from audit.checkpoint import NoteError
from tests.audit.logs import signer, small_log

LOG = small_log(40)
KINDS = [FileAnchor, DirectoryAnchor]


@pytest.mark.parametrize("kind", KINDS)
class TestAnchors:
    def test_one_that_holds_nothing(self, kind: Callable[[Path], Anchor], tmp_path: Path) -> None:
        assert kind(tmp_path / "anchor").newest() is None

    def test_the_newest_note_comes_back_byte_for_byte(self, kind: Callable[[Path], Anchor], tmp_path: Path) -> None:
        anchor = kind(tmp_path / "folder" / "anchor")
        for size in (1, 9, 10, 40):
            anchor.put(LOG.note(size), size)
            assert anchor.newest() == LOG.note(size)
        assert kind(tmp_path / "folder" / "anchor").newest() == LOG.note(40)

    def test_the_same_note_twice_is_kept_once(self, kind: Callable[[Path], Anchor], tmp_path: Path) -> None:
        anchor = kind(tmp_path / "anchor")
        anchor.put(LOG.note(9), 9)
        before = content(tmp_path)
        anchor.put(LOG.note(9), 9)
        assert content(tmp_path) == before

    def test_a_write_cut_at_any_byte_is_passed_over_and_mended(
        self, kind: Callable[[Path], Anchor], tmp_path: Path
    ) -> None:
        whole = kind(tmp_path / "whole")
        whole.put(LOG.note(9), 9)
        newest = tmp_path / "whole" if kind is FileAnchor else next((tmp_path / "whole").iterdir())
        written = newest.read_bytes()
        for cut in [*range(0, len(written), 9), len(written) - 1]:
            path = tmp_path / f"cut-{cut}"
            anchor = kind(path)
            anchor.put(LOG.note(5), 5)
            with (path if kind is FileAnchor else path / newest.name).open("ab") as file:
                file.write(written[:cut])
            assert anchor.newest() == LOG.note(5)
            anchor.put(LOG.note(9), 9)
            assert anchor.newest() == LOG.note(9)

    def test_it_says_where_it_cannot_write(self, kind: Callable[[Path], Anchor], tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder")
        anchor = kind(tmp_path / "file" / "anchor")
        with pytest.raises(AnchorError, match="Cannot write"):
            anchor.put(LOG.note(1), 1)
        with pytest.raises(AnchorError, match="Cannot read"):
            anchor.newest()

    def test_an_older_note_that_comes_late_does_not_become_the_newest(
        self, kind: Callable[[Path], Anchor], tmp_path: Path
    ) -> None:
        """Two controllers for a moment: the slower one's checkpoint is over fewer events."""
        anchor = kind(tmp_path / "anchor")
        anchor.put(LOG.note(9), 9)
        with suppress(AnchorError):
            anchor.put(LOG.note(5), 5)
        assert anchor.newest() == LOG.note(9)


def test_a_file_keeps_every_note_in_order(tmp_path: Path) -> None:
    anchor = FileAnchor(tmp_path / "checkpoints")
    for size in (3, 7, 8):
        anchor.put(LOG.note(size), size)
    notes = [json.loads(line).encode() for line in (tmp_path / "checkpoints").read_text().splitlines()]
    assert notes == [LOG.note(3), LOG.note(7), LOG.note(8)]


def test_a_crash_while_mending_is_mended_too(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    anchor = FileAnchor(path)
    anchor.put(LOG.note(3), 3)
    with path.open("ab") as file:
        file.write(b'"poolwarden/test\\n9\n"poolw')
    assert anchor.newest() == LOG.note(3)
    anchor.put(LOG.note(9), 9)
    assert anchor.newest() == LOG.note(9)


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    line = json.dumps(LOG.note(3).decode()).encode() + b"\n"
    with path.open("wb") as file:
        file.truncate(8 * 1024**3)  # a hole: reading it all would take long
        file.seek(0, 2)
        file.write(b"\n" + line * 2000 + b'"torn')
    assert FileAnchor(path).newest() == LOG.note(3)


def test_a_file_that_the_host_holds_append_only(tmp_path: Path) -> None:
    """Nothing in it is rewritten or cut, also not when half a line is mended. Not every host can hold a file so: a hook
    refuses what the kernel refuses with ``chattr +a``."""
    path = tmp_path / "checkpoints"
    FileAnchor(path).put(LOG.note(3), 3)
    with path.open("ab") as file:
        file.write(b'"poolw')
    before, inode = path.read_bytes(), path.stat().st_ino
    done = subprocess.run(
        [sys.executable, "-c", APPEND_ONLY, path, "9"], input=LOG.note(9), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert path.stat().st_ino == inode and path.read_bytes().startswith(before)
    assert FileAnchor(path).newest() == LOG.note(9)


APPEND_ONLY = """
import os, sys
from pathlib import Path
from audit.anchors import FileAnchor

path, size, note = Path(sys.argv[1]), int(sys.argv[2]), sys.stdin.buffer.read()

def host(event, arguments):
    if event == "open" and arguments[0] in (path, str(path)):
        flags = arguments[2]
        may = flags & os.O_ACCMODE == os.O_RDONLY or flags & os.O_APPEND and not flags & os.O_TRUNC
    else:
        may = event not in {"os.truncate", "os.rename", "os.remove", "os.link"}
    if not may:
        raise PermissionError(event)

sys.addaudithook(host)
for refused in (lambda: path.open("wb"), lambda: path.open("r+b"), path.unlink, lambda: os.truncate(path, 0)):
    try:
        refused()
    except PermissionError:
        continue
    sys.exit("the hook lets through what it should refuse")
FileAnchor(path).put(note, size)
"""


def test_lines_longer_than_what_is_read_at_once_come_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    path.write_bytes(
        json.dumps(LOG.note(3).decode()).encode() + b"\n" + b'"' + b"x" * 200_000 + b'"\n' + b"y" * 100_000
    )
    assert FileAnchor(path).newest() == LOG.note(3)


def test_a_file_of_something_else_is_not_taken_for_an_empty_anchor(tmp_path: Path) -> None:
    path = tmp_path / "checkpoints"
    path.write_text("hello\n" * 10)
    with pytest.raises(AnchorError, match="holds no checkpoint"):
        FileAnchor(path).newest()
    path.write_bytes(b"x" * 5_000_000)
    with pytest.raises(AnchorError, match="not a file of checkpoints"):
        FileAnchor(path).newest()


def test_a_folder_never_replaces_a_checkpoint(tmp_path: Path) -> None:
    anchor = DirectoryAnchor(tmp_path)
    anchor.put(LOG.note(9), 9)
    with pytest.raises(AnchorError, match="already holds another checkpoint"):
        anchor.put(small_log(9, branch=3).note(9), 9)
    assert anchor.newest() == LOG.note(9)


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class TestWitnessClientSettings:
    VKEY = str(signer("witness.test", 4, 7).verifier)

    def test_a_setting_is_url_and_key(self) -> None:
        client = WitnessClient.parse(f"https://witness.test/log/|{self.VKEY}")
        assert (client.url, client.name) == ("https://witness.test/log/add-checkpoint", "witness.test")

    @pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://witness.test", "witness.test", ""])
    def test_only_http_is_spoken(self, url: str) -> None:
        with pytest.raises(NoteError, match="http"):
            WitnessClient.parse(f"{url}|{self.VKEY}")

    def test_a_logs_key_is_not_a_witnesses(self) -> None:
        with pytest.raises(NoteError, match="not one for cosignatures"):
            WitnessClient("http://witness.test", str(signer("witness.test", 1, 7).verifier))
