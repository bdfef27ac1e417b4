"""Two pools that between them use what can go wrong: gates, retries, cron, long-lived processes, isolation."""

from pathlib import Path
from typing import Any

from tests.runtime.enclosed import JOB_USER, MISSING
from tests.runtime.plain_python import OF_PYTHON, interpreter

APPLICATION = Path(__file__).with_name("application")
QUEUES = {"letters": ("mail", "bills", "photos"), "finds": ("search", "index", "reports")}
ALL_QUEUES = tuple(queue for queues in QUEUES.values() for queue in queues)
CONCURRENCY = 2
AGENT_OPTIONS = ["--job-user", JOB_USER] if JOB_USER else []
ADMITTED = [f"work.{task}" for task in ("effect", "again", "flaky", "gated", "broken", "slot")]


PROFILES = ("standard", "strict")


def spec(pool: str, workers: int, ledger: Path, profile: str) -> dict[str, Any]:
    """``ledger``: the file that jobs write to; ``profile``: of the pool with isolation."""
    common = {
        "queues": list(QUEUES[pool]),
        "workers": workers,
        "application": {"directory": str(APPLICATION), "preload": ["work"]},
        "stop_grace": 20,
        "result_ttl": 86_400,  # a cron slot's job must still be there when all is over
        "policies": [{"task": "work.again", "delivery": "at_least_once", "losses": 10}],
        "retry": [{"task": "work.flaky", "max": 3, "backoff": 1, "cap": 2}],
        "admission": {"tasks": ADMITTED},
    }
    return common | (_gated(ledger) if pool == "letters" else _enclosed(ledger, profile))


def _gated(ledger: Path) -> dict[str, Any]:
    breaker = {"name": "gateway", "tasks": ["work.gated"], "failures": 3, "window": 10, "open_for": 1, "probes": 2}
    limit = {"name": "api", "tasks": ["work.gated"], "per_second": 50, "burst": 10, "concurrency": CONCURRENCY}
    cron = {"name": "minutely", "task": "work.slot", "schedule": "* * * * *", "args": [str(ledger)], "overlap": "allow"}
    return {"breakers": [breaker], "limits": [limit], "cron": [cron | {"catch_up": "all"}]}


def _enclosed(ledger: Path, profile: str) -> dict[str, Any]:
    """Without isolation where this machine cannot give it; in CI it must."""
    if MISSING:
        return {"horse": {"jobs": 5}}
    isolation = {"profile": profile, "memory": 200, "processes": 16, "writable": [str(ledger.parent)]}
    if profile == "standard":
        return {"horse": {"jobs": 5}, "isolation": isolation}
    application = {"directory": str(APPLICATION), "preload": ["work"], "interpreter": interpreter()}
    admission = {"tasks": ADMITTED, "webhooks": "refuse"}
    return {"isolation": isolation, "application": application, "admission": admission, "environment": OF_PYTHON}
