"""A bad value stops the start with the name of its variable."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controlplane.env import Env, EnvError, local_secret

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("value", ["maybe", "2", "ja"])
def test_a_flag_is_yes_or_no(value: str) -> None:
    with pytest.raises(EnvError, match=r"^SOME_FLAG: expected 1 or 0"):
        Env({"SOME_FLAG": value}).flag("SOME_FLAG", default=False)


@pytest.mark.parametrize("value", ["x", "1.5", "0", "99999", "-3"])
def test_an_integer_names_its_bounds(value: str) -> None:
    with pytest.raises(EnvError, match=r"^SOME_NUMBER: expected a whole number from 1 to 1000"):
        Env({"SOME_NUMBER": value}).integer("SOME_NUMBER", 5, low=1, high=1000)


def test_a_url_error_keeps_the_password_out() -> None:
    with pytest.raises(EnvError) as caught:
        Env({"SOME_URL": "mysql://u:hunter2@host/x"}).url("SOME_URL", "", schemes=("redis",))
    assert str(caught.value).startswith("SOME_URL: expected a URL that begins with redis://")
    assert "hunter2" not in str(caught.value)


def test_a_secret_comes_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("s3cret\n")
    assert Env({"KEY_FILE": str(file)}).secret("KEY") == "s3cret"
    with pytest.raises(EnvError, match=r"^KEY: set KEY or KEY_FILE, not both"):
        Env({"KEY_FILE": str(file), "KEY": "x"}).secret("KEY")
    with pytest.raises(EnvError, match=r"^KEY_FILE: cannot read .*No such file"):
        Env({"KEY_FILE": str(tmp_path / "none")}).secret("KEY")
    file.write_text("\n")
    with pytest.raises(EnvError, match="is empty"):
        Env({"KEY_FILE": str(file)}).secret("KEY")


def test_a_local_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "home" / "secret-key"
    made = local_secret(path)
    assert len(made) >= 48
    assert local_secret(path) == made
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(EnvError, match="mode 0600"):
        local_secret(path)


BAD = {
    "POOLWARDEN_DATABASE_URL": "mysql://localhost/x",
    "POOLWARDEN_REDIS_URL": "http://localhost/",
    "POOLWARDEN_DEBUG": "perhaps",
    "POOLWARDEN_LOG_LEVEL": "LOUD",
    "POOLWARDEN_SIGN_IN_ATTEMPTS": "none",
    "POOLWARDEN_ENV": "my env!",
    "POOLWARDEN_SECRET_KEY_FILE": "/nowhere/at/all",
    "POOLWARDEN_HOME": "/dev/null",
    "POOLWARDEN_ANCHOR_FILE": "/",
    "POOLWARDEN_ANCHOR_DIR": "/dev/null",
    "POOLWARDEN_CHECKPOINT_SECONDS": "0",
    "POOLWARDEN_DATABASE_OWNER": "owner-without-role",
    "POOLWARDEN_PUBLIC_URL": "console.example.com",
    "POOLWARDEN_SMTP_URL": "smtp+plain://mailer:secret@mail.example.com",
    "POOLWARDEN_WEBHOOK_PRIVATE": "somewhat",
}


@pytest.mark.parametrize("name", BAD)
def test_the_start_stops_with_one_line(name: str, tmp_path: Path) -> None:
    environ = {k: v for k, v in os.environ.items() if not k.startswith("POOLWARDEN_")}
    environ |= {"POOLWARDEN_HOME": str(tmp_path)} | {name: BAD[name]}
    done = subprocess.run([sys.executable, "manage.py", "check"], cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(f"poolwarden: {name}: ")
    assert len(done.stderr.splitlines()) == 1
