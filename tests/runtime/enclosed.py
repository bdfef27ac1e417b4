"""Pools with isolation, for tests: run as root with a job user, as anyone else without."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.runtime.conftest import APPLICATION
from tests.runtime.specs import spec
from tests.support.agents import ROOT, AgentHost, new_uid

JOB_USER = "nobody" if os.getuid() == 0 else ""
# An interpreter may lie where other users cannot read: then what is loaded later must be named, too.
PRELOAD = ["tasks", "hogs", "subprocess"]
OF_STRICT = ("bubblewrap", "sandbox", "egress")
ISOLATION = {"profile": "standard", "memory": 100, "processes": 16, "open_files": 256, "output": 4, "cpu": 60}


def missing() -> str:
    """Why this machine cannot isolate by profile standard; empty where it can. In CI it must."""
    if os.environ.get("CI"):
        return ""
    command = [sys.executable, "-m", "pools.runtime.sandbox.probe", *([JOB_USER] if JOB_USER else [])]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()
    return "; ".join(line for line in said if not line.startswith("yes") and line.split()[1] not in OF_STRICT)


MISSING = missing()
needs_isolation = pytest.mark.skipif(bool(MISSING), reason=f"this host lacks {MISSING}")


def enclosed(workers: int = 1, horse: int = 1, retry: Any = (), **changes: Any) -> dict[str, Any]:
    """A spec with isolation; ``changes`` are its limits."""
    application = {"directory": str(APPLICATION), "preload": PRELOAD}
    told = {"application": application, "isolation": ISOLATION | changes, "horse": {"jobs": horse}}
    return spec(workers=workers, retry=list(retry), **told)


def enclosed_pool(host: AgentHost, workers: int = 1, horse: int = 1, **changes: Any) -> str:
    """Start an agent with one isolated pool; returns its uid once its workers run."""
    uid = new_uid()
    host.options = ["--job-user", JOB_USER] if JOB_USER else []
    host.configure(uid, enclosed(workers, horse, **changes))
    host.start()
    host.wait_for_workers(uid, workers)
    return uid


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that jobs of any user reach; pytest's own is closed to others."""
    path = Path(tempfile.mkdtemp(prefix="poolwarden-test-shared-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)
