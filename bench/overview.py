"""The overview at 500 queues, 1,000 workers and 100,000 dead letters, beside other consoles' on the same broker.

    python -m bench.overview [--failed 100000] [--queues 500] [--workers 1000] [--seed-script FILE]

Ours reads SQL alone; what it shows was sampled by the controller, whose tick and scan are measured too. Page times are
server time: the whole request through the middleware, in this process.
"""

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import redis

from bench.sampler import ROW, django_rq, fill, parse_arguments, rq_dashboard, show
from bench.server import Measured, measured, running_server

RUNS = 20


def main() -> None:
    arguments = parse_arguments(queues=500, workers=1000)
    with running_server() as port, tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as home:
        client = redis.Redis(port=port)
        fill(arguments, client, port)
        set_up(Path(home), port, client)
        print(f"{arguments.queues} queues, {arguments.workers} workers, {arguments.failed} failed jobs\n")
        tick = sample_and_scan(port, arguments.failed)
        page = view_overview(port)
        print("\n" + ROW.format("one view", "commands", "round trips", "connections", "ms", "times ours"))
        show("Poolwarden, page view", page, page)
        show("Poolwarden, sampler tick", tick, page)
        for name, prepare in (("rq-dashboard, overview", rq_dashboard), ("django-rq, stats", django_rq)):
            show(name, measured(port, prepare(client, port)), page)


def set_up(home: Path, port: int, client: redis.Redis) -> None:
    """A fresh installation on SQLite, with django-rq configured for every queue there is."""
    os.environ |= {
        "POOLWARDEN_HOME": str(home),
        "POOLWARDEN_ENV": "bench",
        "POOLWARDEN_HTTPS": "0",
        "POOLWARDEN_LOG_LEVEL": "ERROR",
        "POOLWARDEN_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "DJANGO_SETTINGS_MODULE": "controlplane.settings",
    }
    import django
    from django.conf import settings
    from django.core.management import call_command

    names = sorted(key.decode().removeprefix("rq:queue:") for key in client.smembers("rq:queues"))  # type: ignore[union-attr]
    settings.RQ_QUEUES |= {name: {"URL": f"redis://127.0.0.1:{port}/0"} for name in ("default", *names)}
    django.setup()
    call_command("prepare", verbosity=0)


def sample_and_scan(port: int, failed: int) -> Measured:
    """Index everything, then measure one tick of the sampler: what it asks of the broker and how long it takes."""
    from pools.controller.lease import LeaderLease
    from pools.controller.sampler import Sampler
    from pools.controller.scanner import Scanner
    from pools.models import DeadLetter

    lease, stop = LeaderLease(), threading.Event()
    lease.renew()
    threading.Thread(target=lease.keep, args=(stop,), daemon=True).start()
    sampler, scanner = Sampler(lease), Scanner(lease)
    sampler.tick()
    began = time.perf_counter()
    while scanner.tick():
        pass
    seconds = time.perf_counter() - began
    assert DeadLetter.objects.count() == failed
    print(f"scanner: {failed / seconds:,.0f} jobs/s indexed")
    found = measured(port, sampler.tick)
    stop.set()
    return found


def view_overview(port: int) -> Measured:
    """The median of ``RUNS`` views by a signed-in administrator, with SQL queries and broker commands counted."""
    from django.contrib.auth.models import User
    from django.db import connection
    from django.test import Client
    from django.test.utils import CaptureQueriesContext

    browser = Client(SERVER_NAME="localhost")
    browser.force_login(User.objects.create_superuser("ada"))

    def view() -> None:
        assert browser.get("/").status_code == 200

    asked = measured(port, view)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        view()
    print(f"overview: {len(queries)} SQL queries, {asked.commands} broker commands")
    return Measured(asked.commands, asked.round_trips, asked.connections, median(timed(view) for _ in range(RUNS)))


def timed(action: Callable[[], None]) -> float:
    began = time.perf_counter()
    action()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
