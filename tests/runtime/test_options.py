"""A wrong command line ends with one sentence and exit code 2; a wrong host with exit code 1."""

import subprocess
import sys
from pathlib import Path

import pytest

from pools.runtime.options import Options, parse
from tests.support.agents import ROOT
from tests.support.simulator import Simulator


@pytest.fixture
def root(tmp_path: Path) -> Path:
    file = tmp_path / "root.json"
    file.write_bytes(Simulator("staging").root_bytes)
    return file


def read(root: Path, *more: str, **environ: str) -> Options:
    required = ["--trust-root", str(root), "--state", str(root.parent / "state")]
    return parse([*required, *more], {"POOLWARDEN_REDIS_URL": "redis://localhost"} | environ)


def test_defaults(root: Path) -> None:
    options = read(root)
    assert (options.redis_url, options.env, options.labels) == ("redis://localhost", "staging", {})
    assert (options.secret_prefixes, options.stop_timeout, options.job_user) == ([], None, "")


def test_url_on_the_command_line_wins_and_file_is_read_last(root: Path) -> None:
    file = root.with_name("url")
    file.write_text("redis://:secret@file/0\n")
    assert read(root, "--redis", "redis://given").redis_url == "redis://given"
    assert (
        read(root, POOLWARDEN_REDIS_URL="", POOLWARDEN_REDIS_URL_FILE=str(file)).redis_url == "redis://:secret@file/0"
    )
    assert "hush" not in repr(read(root, "--redis", "redis://:hush@given"))


def test_labels_and_prefixes_may_be_given_several_times(root: Path) -> None:
    options = read(root, "--label", "a=1", "--label", "b=x=y", "--secret-prefix", "file:///run/", "--env", "other")
    assert (options.labels, options.secret_prefixes, options.env) == ({"a": "1", "b": "x=y"}, ["file:///run/"], "other")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--redis", "http://localhost"], "must look like redis://"),
        (["--redis", "redis://:hush@local host:port"], "must look like redis://"),
        (["--trust-root", "/nowhere/root.json"], "/nowhere/root.json"),
        (["--name", "two words"], "letters, digits"),
        (["--label", "zone"], "key=value"),
        (["--secret-prefix", "/run/secrets"], "file:/// or env://"),
    ],
)
def test_each_wrong_option_is_named(
    root: Path, wrong: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        read(root, *wrong)
    assert caught.value.code == 2
    text = capsys.readouterr().err
    assert said in text
    assert "hush" not in text
    assert "Traceback" not in text


def test_trust_root_that_is_none_and_no_url(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read(root, POOLWARDEN_REDIS_URL="")
    assert "no Redis URL" in capsys.readouterr().err
    root.write_text("{}")
    with pytest.raises(SystemExit):
        read(root)
    assert "trust root" in capsys.readouterr().err


def test_state_folder_that_cannot_be_used_is_said_without_a_traceback(root: Path) -> None:
    blocked = root.with_name("file")
    blocked.write_text("not a folder")
    command = [sys.executable, "-m", "pools.runtime.agent", "--redis", "redis://localhost:1"]
    command += ["--trust-root", str(root), "--state", str(blocked / "state")]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert "state folder cannot be used" in ended.stderr
    assert "Traceback" not in ended.stderr
