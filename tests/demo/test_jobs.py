"""The demo's job functions on real files of the running Python."""

import ast
import json
import sys
import sysconfig
from pathlib import Path

import pytest
import stdlib_jobs

STDLIB = Path(sysconfig.get_path("stdlib"))


def results(out: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in out.rglob("*.json")]


def test_parse_counts_the_nodes_and_writes_the_result(out: Path) -> None:
    path = STDLIB / "json" / "decoder.py"
    result = stdlib_jobs.parse_module(str(path))
    assert result["nodes"] == sum(1 for _ in ast.walk(ast.parse(path.read_text("utf-8"))))
    assert result["imports"] == 3  # json, re and _json
    assert results(out) == [result]


def test_a_second_run_replaces_the_result(out: Path) -> None:
    path = str(STDLIB / "abc.py")
    first, second = stdlib_jobs.parse_module(path), stdlib_jobs.parse_module(path)
    assert first == second
    assert [path.suffix for path in out.rglob("*") if path.is_file()] == [".json"]


@pytest.mark.skipif(sys.platform == "win32", reason="these modules exist on Windows")
def test_a_module_of_another_platform_is_named(out: Path) -> None:
    path = STDLIB / "asyncio" / "windows_utils.py"
    with pytest.raises(stdlib_jobs.UnresolvedImport, match=r"no module named '_winapi' on \w+") as caught:
        stdlib_jobs.parse_module(str(path))
    assert (caught.value.name, caught.value.path) == ("_winapi", str(path))
    assert results(out) == []


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"name = 'caf\xe9'\n", UnicodeDecodeError),
        (b"def f(:\n", SyntaxError),
        (b"import no_such_module\n", stdlib_jobs.UnresolvedImport),
        (b"import json.no_such_part\n", stdlib_jobs.UnresolvedImport),
        (b"import abc.no_such_part\n", stdlib_jobs.UnresolvedImport),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, out: Path, content: bytes, error: type[Exception]) -> None:
    path = tmp_path / "bad.py"
    path.write_bytes(content)
    with pytest.raises(error):
        stdlib_jobs.parse_module(str(path))
    assert results(out) == []


@pytest.mark.parametrize(
    "source", ["from . import sibling", "from .sibling import name", "import os.path", "import __main__"]
)
def test_what_needs_no_search_or_is_there_passes(tmp_path: Path, out: Path, source: str) -> None:
    path = tmp_path / "good.py"
    path.write_text(source)
    assert stdlib_jobs.parse_module(str(path))["path"] == str(path)


def test_looking_up_an_import_runs_no_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "explosive"
    (package / "inner" / "portion").mkdir(parents=True)  # "portion" has no __init__: a namespace package
    for name in ("__init__.py", "inner/__init__.py", "inner/leaf.py", "inner/portion/leaf.py"):
        (package / name).write_text("raise SystemExit('this code must not run')\n")
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    for name in ("explosive", "explosive.inner", "explosive.inner.leaf", "explosive.inner.portion.leaf"):
        assert stdlib_jobs.can_resolve(name), name
    assert not stdlib_jobs.can_resolve("explosive.inner.missing")
    assert set(sys.modules) == known


def test_compress_reports_the_smallest_size(out: Path) -> None:
    path = STDLIB / "textwrap.py"
    result = stdlib_jobs.compress_module(str(path))
    assert result["bytes"] == path.stat().st_size
    assert 0 < result["compressed"] < result["bytes"] / 2
    assert results(out) == [result]


def test_an_empty_module_cannot_be_compressed(out: Path) -> None:
    with pytest.raises(stdlib_jobs.EmptyModule, match="the file is empty"):
        stdlib_jobs.compress_module(str(STDLIB / "urllib" / "__init__.py"))
    assert results(out) == []


def test_the_summary_counts_what_is_there(out: Path) -> None:
    assert stdlib_jobs.summarize() == {}
    for name in ("abc.py", "ast.py"):
        stdlib_jobs.parse_module(str(STDLIB / name))
    stdlib_jobs.compress_module(str(STDLIB / "abc.py"))
    assert stdlib_jobs.summarize() == {"compress": 1, "parse": 2}
