"""Dead letters at growing sizes: indexing a broker's failed jobs, keeping up with new ones, and the pages.

    python -m bench.dead_letters [--sizes 10000,100000,1000000]
    python -m tests.support.postgres python -m bench.dead_letters

On SQLite in a temporary folder, or in the PostgreSQL database that POOLWARDEN_DATABASE_URL names. Page times are server
time: the whole request through the middleware, in this process. Then 100,000 jobs have failed in one queue when a
controller's sampler and scanner start. Pages of that queue's failed jobs are asked for on the same broker:
rq-dashboard's, what django-rq's page fetches, ours, and our API for as many rows.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from statistics import median

import redis

from bench.overview import set_up
from bench.seed import seed
from bench.server import running_server

QUEUES, WORKERS, CAUSES, NEW, RUNS = 50, 100, 2_000, 1_000, 10
SPIKE = 100_000
QUEUE, ROWS = "svc00", 8  # rows of a page of rq-dashboard's
PAGES = {
    "inbox": "/dead-letters/",
    "pool": "/dead-letters/?pool=attached",
    "queue": "/dead-letters/?queue=svc07",
    "error": "/dead-letters/?error=Error3",
    "last 15 minutes": "/dead-letters/?since=15m",
    "last week, a queue": "/dead-letters/?queue=svc07&since=7d",
    "host, none: what all have": "/dead-letters/?host=none",
    "version, none: what all have": "/dead-letters/?version=none",
    "expires within a day": "/dead-letters/?expires=%3C24h",
    "in any state": "/dead-letters/?state=any",
    "search, what groups say": "/dead-letters/?q=failed",
    "search, a job's own word": "/dead-letters/?q=4f3",
    "search, nothing found": "/dead-letters/?q=no+such+text",
    "jobs, first page": "/dead-letters/?show=jobs",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,100000")
    sizes = [int(size) for size in parser.parse_args().sizes.split(",")]
    with running_server() as port, tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as home:
        client = redis.Redis(port=port)
        seed(client, QUEUES, WORKERS, 0)
        set_up(Path(home), port, client)
        from django.db import connection

        print(connection.vendor)
        with scanning() as scan:
            figures = [measured(client, scan, size) for size in sizes]
            report(sizes, figures)
        spike(client, SPIKE)
        compare(client, port)


def report(sizes: list[int], figures: list[dict[str, float]]) -> None:
    print(f"{'':34}" + "".join(f"{size:>14,}" for size in sizes) + f"{'last / first':>14}")
    for name in figures[-1]:
        found = [figure[name] for figure in figures]
        print(f"{name:34}" + "".join(f"{value:>14,.1f}" for value in found) + f"{found[-1] / found[0]:>14.2f}")


@contextmanager
def scanning() -> Iterator[Callable[..., None]]:
    """A function that samples, and scans until all that failed is indexed; every queue, if ``anew``, as once a minute,
    else those whose registries changed."""
    from pools.controller.lease import LeaderLease
    from pools.controller.sampler import Sampler
    from pools.controller.scanner import Scanner

    lease, stop = LeaderLease(), threading.Event()
    lease.renew()
    threading.Thread(target=lease.keep, args=(stop,), daemon=True).start()
    sampler, scanners = Sampler(lease), [Scanner(lease)]

    def scan(anew: bool = False) -> None:
        if anew:
            scanners[:] = [Scanner(lease)]
        sampler.tick()
        while scanners[0].tick():
            pass

    scan()
    try:
        yield scan
    finally:
        stop.set()


def spike(client: redis.Redis, size: int) -> None:
    """Let so many jobs be in one queue's registry when a controller starts, and say when it has grouped the last."""
    from pools.controller.lease import LeaderLease
    from pools.controller.runner import Runner
    from pools.controller.sampler import Sampler
    from pools.controller.scanner import Scanner
    from pools.models import DeadLetter

    wanted = DeadLetter.objects.count() + size
    seed(client, 1, 0, size, CAUSES)
    lease = LeaderLease()
    while not lease.renew():
        time.sleep(0.1)  # until the lease of the one before has ended
    runner = Runner([Sampler(lease), Scanner(lease)], lease)
    began = time.perf_counter()
    runner.start()
    while DeadLetter.objects.count() < wanted:
        time.sleep(0.1)
    taken = time.perf_counter() - began
    print(f"\na spike of {size:,} failures in a queue: all grouped after {taken:.1f} s, {size / taken:,.0f} jobs/s")
    runner.stop(10.0)


def measured(client: redis.Redis, scan: Callable[..., None], size: int) -> dict[str, float]:
    """Fill the broker up to ``size`` failed jobs, index them, and measure there."""
    from pools.models import DeadLetter

    before = DeadLetter.objects.count()
    seed(client, QUEUES, 0, size - before, CAUSES)
    began, cpu = time.perf_counter(), time.process_time()
    scan()
    figures = {"indexed, jobs/s": (size - before) / (time.perf_counter() - began)}
    figures["... processor, its own process, µs"] = (time.process_time() - cpu) * 1e6 / (size - before)
    assert DeadLetter.objects.count() == size
    for anew, name in ((True, "once a minute: nothing new, ms"), (False, "a scan of nothing new, ms")):
        began = time.perf_counter()
        scan(anew)
        figures[name] = (time.perf_counter() - began) * 1000
    seed(client, QUEUES, 0, NEW, CAUSES)
    client.config_resetstat()
    began = time.perf_counter()
    scan()
    figures[f"a scan with {NEW:,} new, ms"] = (time.perf_counter() - began) * 1000
    figures["... broker's commands"] = sum(row["calls"] for row in client.info("commandstats").values())
    return figures | pages()


def pages() -> dict[str, float]:
    from django.contrib.auth.models import User
    from django.test import Client

    from pools.models import DeadLetter, FailureGroup
    from pools.selectors.dead_letters import _cursor

    browser = Client(SERVER_NAME="localhost")
    browser.force_login(User.objects.filter(username="ada").first() or User.objects.create_superuser("ada"))
    middle = DeadLetter.objects.order_by("-failed_at", "-pk")[DeadLetter.objects.count() * 9 // 10]
    group = FailureGroup.objects.order_by("-open_count")[0]
    wanted = PAGES | {
        "jobs, nine tenths down": f"/dead-letters/?show=jobs&cursor={_cursor(middle.failed_at, middle.pk)}",
        "a group": f"/dead-letters/groups/{group.pk}/",
    }

    def view(path: str) -> None:
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.status_code)

    return {f"page: {name}, ms": median(times(lambda path=path: view(path))) for name, path in wanted.items()}  # type: ignore[misc]


def compare(client: redis.Redis, port: int) -> None:
    """Pages of one queue's failed jobs, by us and by others, and how many times ours theirs take."""
    held = int(client.zcard(f"rq:failed:{QUEUE}"))  # type: ignore[arg-type]
    print(f"\na queue with {held:,} failed jobs, milliseconds:")
    deep_down = held * 9 // 10
    first, deep = listed(0), listed(deep_down)
    shown: dict[str, tuple[Callable[[], object], Callable[[], object] | None]] = {
        "our page with 50 of them, first": (page_of(QUEUE), None),
        f"our API, {ROWS} of them, first": (first, None),
        f"our API, {ROWS} of them, nine tenths down": (deep, None),
    }
    try:
        view = rq_dashboard(port)
        shown[f"rq-dashboard, {ROWS} of them, first"] = (lambda: view(QUEUE, 1), first)
        shown[f"rq-dashboard, {ROWS} of them, nine tenths down"] = (lambda: view(QUEUE, deep_down // ROWS), deep)
    except ImportError as missing:
        print(f"rq-dashboard cannot be measured ({missing}): install requirements/bench.txt")
    failed = django_rq(QUEUE)
    hundred = listed(0, 100)
    shown["django-rq, 100 of them fetched, first"] = (lambda: failed(1), hundred)
    for name, (action, ours) in shown.items():
        action()
        taken = median(times(action, 5))
        ratio = f"{taken / median(times(ours, 5)):>8.1f} times our API's for as many" if ours else ""
        print(f"{name:52}{taken:>10.1f}{ratio}")


def page_of(queue: str) -> Callable[[], object]:
    from django.contrib.auth.models import User
    from django.test import Client

    browser = Client(SERVER_NAME="localhost")
    browser.force_login(User.objects.get(username="ada"))
    return lambda: browser.get(f"/dead-letters/?show=jobs&queue={queue}").content


def listed(before: int, rows: int = ROWS) -> Callable[[], object]:
    """Ask our API for so many of the queue's failed jobs, after the first ``before``."""
    from django.contrib.auth.models import User
    from django.test import Client

    from audit.actor import system_actor
    from controlplane.tokens import create_token
    from pools.models import DeadLetter
    from pools.selectors.dead_letters import _cursor

    token = create_token(actor=system_actor("bench"), user=User.objects.get(username="ada"), ttl=timedelta(hours=1))
    client = Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {token}"})
    last = DeadLetter.objects.filter(queue=QUEUE).order_by("-failed_at", "-pk")[before - 1] if before else None
    cursor = f"&cursor={_cursor(last.failed_at, last.pk)}" if last else ""
    path = f"/api/v1/dead-letters?queue={QUEUE}&limit={rows}{cursor}"

    def ask() -> None:
        answer = client.get(path)
        assert answer.status_code == 200 and len(answer.json()["items"]) == rows, (path, answer.status_code)

    return ask


def rq_dashboard(port: int) -> Callable[[str, int], None]:
    from flask import Flask  # type: ignore[import-not-found,unused-ignore]
    from rq_dashboard.web import blueprint, setup_rq_connection  # type: ignore[import-not-found,unused-ignore]

    app = Flask("bench")
    app.config["RQ_DASHBOARD_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    app.register_blueprint(blueprint, url_prefix="/rq")
    setup_rq_connection(app)
    browser = app.test_client()

    def view(queue: str, page: int) -> None:
        jobs = f"jobs/{queue}/failed/{ROWS}/asc/{page}"
        for path in (f"/rq/0/view/{jobs}", f"/rq/0/data/{jobs}.json"):
            assert browser.get(path).status_code == 200, path

    return view


def django_rq(queue: str) -> Callable[[int], None]:
    """What its page of a failed registry does: a hundred jobs, fetched and rendered by its own view's helpers."""
    from django_rq.queues import get_queue
    from rq.job import Job
    from rq.registry import FailedJobRegistry

    def view(page: int) -> None:
        found = get_queue(queue)
        ids = FailedJobRegistry(queue, connection=found.connection).get_job_ids((page - 1) * 100, page * 100 - 1)
        Job.fetch_many(ids, connection=found.connection)

    return view


def times(action: Callable[[], object], runs: int = RUNS) -> Iterator[float]:
    for _ in range(runs):
        began = time.perf_counter()
        action()
        yield (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
