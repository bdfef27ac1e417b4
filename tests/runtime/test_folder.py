"""A job's folder becomes the next job's only if it is as it was made."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pools.runtime.sandbox.enclosure import Enclosure
from pools.runtime.sandbox.folder import Folder
from pools.runtime.sandbox.limits import Isolation
from tests.runtime.enclosed import enclosed_pool, needs_isolation
from tests.runtime.test_isolation import result
from tests.support.agents import AgentHost


def replace_temporary(path: Path) -> None:
    (path / "tmp").rename(path / "old")
    (path / "tmp").mkdir(0o700)
    (path / "old").rmdir()


def link_temporary(path: Path) -> None:
    (path / "tmp").rmdir()
    (path / "tmp").symlink_to("/tmp")


def replace_output(path: Path) -> None:
    (path / "new").touch(0o600)
    (path / "new").rename(path / "output")


def replace_all(path: Path) -> None:
    path.rename(path.with_name("other"))
    path.mkdir(0o700)
    (path / "tmp").mkdir(0o700)
    (path / "output").touch(0o600)


LEFT: list[Callable[[Path], object]] = [
    lambda path: (path / "tmp" / "file").touch(),
    lambda path: (path / "tmp" / ".hidden").mkdir(),
    lambda path: (path / "beside").touch(),
    lambda path: (path / "tmp").chmod(0o777),
    lambda path: path.chmod(0o755),
    lambda path: (path / "output").chmod(0o666),
    lambda path: os.setxattr(path / "tmp", "user.note", b"1"),
    lambda path: os.link(path / "output", path.parent / "kept"),
    lambda path: (path / "output").unlink(),
    lambda path: (path / "tmp").rmdir(),
    replace_temporary,
    link_temporary,
    replace_output,
    replace_all,
]


def made(tmp_path: Path) -> Folder:
    return Folder("folder", os.getuid(), os.getgid(), str(tmp_path))


@pytest.mark.parametrize("leave", LEFT)
def test_a_folder_in_which_a_job_left_something_is_no_others(tmp_path: Path, leave: Callable[[Path], object]) -> None:
    folder = made(tmp_path)
    leave(Path(folder.path))
    assert folder.clear() is False
    folder.remove()
    assert not Path(folder.path).exists()


def test_what_a_job_printed_is_passed_on_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = made(tmp_path)
    for text in ("one\n", "two\n"):
        with open(f"{folder.path}/output", "a") as output:
            output.write(text)
        assert folder.clear() is True
        assert (Path(folder.path) / "output").read_bytes() == b""
        assert capfd.readouterr().err == text
    with open(f"{folder.path}/output", "a") as output:
        output.write("three\n")
    (Path(folder.temporary) / "left").touch()
    assert folder.clear() is False
    folder.remove()
    assert capfd.readouterr().err == "three\n"


def test_a_worker_keeps_a_few_folders_and_removes_them_at_its_end(tmp_path: Path) -> None:
    allowed = Isolation("standard", 64, 60, 64, 8, 1, [], [])
    enclosure = Enclosure(allowed, "folder", os.getuid(), os.getgid(), namespace=False)
    enclosure.base = str(tmp_path)
    folders = [enclosure.prepare() for _ in range(3)]
    for folder in folders:
        enclosure.part(folder)
    assert {path.name for path in tmp_path.iterdir()} == {Path(folder.path).name for folder in folders[:2]}
    assert enclosure.prepare() is folders[1]
    enclosure.part(folders[1])
    enclosure.close()
    assert not list(tmp_path.iterdir())


@needs_isolation
def test_no_job_finds_what_another_left(host: AgentHost) -> None:
    enclosed_pool(host)
    found = [
        result(host, "hogs.leave_files", leaves) for leaves in (False, False, False, False, True, True, False, False)
    ]
    assert [names for _, names in found] == [[]] * len(found)
    places = [place for place, _ in found]
    assert len(set(places[:4])) < 4, "what was left as it was is used again"
    assert not {places[4], places[5]} & set(places[6:])
