"""One look at a large broker, and a mass requeue: ours beside rq-dashboard's, django-rq's and RQ's, on the same broker.

    python -m bench.sampler [--failed 100000] [--queues 50] [--workers 100] [--seed-script FILE]

Absolute times are this machine's; the ratios hold elsewhere.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import django
import redis
from django.conf import settings
from rq.registry import FailedJobRegistry

from bench.seed import seed
from bench.server import Measured, measured, running_server
from pools.broker.connection import Broker
from pools.broker.moves import CHUNK, requeue
from pools.broker.sampler import take_sample

SEED_SCRIPT = Path("../shared/bench/seed_failed.py")
WINDOW = 500
ROW = "{:<34}{:>10}{:>13}{:>13}{:>11}{:>12}"


def main() -> None:
    arguments = parse_arguments()
    with running_server() as port:
        broker, client = Broker("bench", f"redis://127.0.0.1:{port}/0"), redis.Redis(port=port)
        fill(arguments, client, port)
        print(f"{arguments.queues} queues, {arguments.workers} workers, {arguments.failed} failed jobs\n")
        compare_looks(broker, client, port)
        compare_requeues(broker, client, arguments.requeue)


def parse_arguments(queues: int = 50, workers: int = 100) -> argparse.Namespace:
    """The sizes, with these defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--failed", type=int, default=100_000)
    parser.add_argument("--queues", type=int, default=queues)
    parser.add_argument("--workers", type=int, default=workers)
    parser.add_argument("--requeue", type=int, default=10_000, help="jobs that each side requeues")
    parser.add_argument("--seed-script", type=Path, default=SEED_SCRIPT, help="fills the broker; our own where missing")
    return parser.parse_args()


def fill(arguments: argparse.Namespace, client: redis.Redis, port: int) -> None:
    if not arguments.seed_script.exists():
        seed(client, arguments.queues, arguments.workers, arguments.failed)
        return
    sizes = {
        "port": port,
        "db": 0,
        "failed": arguments.failed,
        "queues": arguments.queues,
        "workers": arguments.workers,
    }
    options = [part for name, value in sizes.items() for part in (f"--{name}", str(value))]
    subprocess.run([sys.executable, str(arguments.seed_script), *options], check=True)


def compare_looks(broker: Broker, client: redis.Redis, port: int) -> None:
    ours = measured(port, lambda: take_sample(broker))
    print(ROW.format("one look", "commands", "round trips", "connections", "ms", "times ours"))
    show("Poolwarden, sampler tick", ours, ours)
    for name, prepare in (("rq-dashboard, overview", rq_dashboard), ("django-rq, stats", django_rq)):
        try:
            look = prepare(client, port)
        except ImportError as missing:
            print(f"{name:<34}cannot be measured ({missing}): install requirements/bench.txt")
        else:
            show(name, measured(port, look), ours)


def show(name: str, found: Measured, ours: Measured) -> None:
    ratio = f"{found.milliseconds / ours.milliseconds:.1f}"
    print(ROW.format(name, found.commands, found.round_trips, found.connections, f"{found.milliseconds:.1f}", ratio))


def rq_dashboard(client: redis.Redis, port: int) -> Callable[[], object]:
    """What a browser asks for when it opens the dashboard: the page, then the numbers in it."""
    from flask import Flask  # type: ignore[import-not-found,unused-ignore]
    from rq_dashboard.web import blueprint, setup_rq_connection  # type: ignore[import-not-found,unused-ignore]

    app = Flask("bench")
    app.config["RQ_DASHBOARD_REDIS_URL"] = f"redis://127.0.0.1:{port}/0"
    app.register_blueprint(blueprint, url_prefix="/rq")
    setup_rq_connection(app)
    browser = app.test_client()

    def view() -> None:
        for path in ("/rq/", "/rq/0/data/queues.json"):
            assert browser.get(path).status_code == 200, path

    return view


def django_rq(client: redis.Redis, port: int) -> Callable[[], object]:
    """The numbers of django-rq's overview, configured for every queue there is."""
    names = sorted(str(key, "utf-8").removeprefix("rq:queue:") for key in client.smembers("rq:queues"))  # type: ignore[arg-type]
    queues = {name: {"URL": f"redis://127.0.0.1:{port}/0"} for name in ("default", *names)}
    if not settings.configured:
        settings.configure(RQ_QUEUES=queues, INSTALLED_APPS=["django_rq"], USE_TZ=True)
        django.setup()
    from django_rq.utils import get_statistics

    return get_statistics


def compare_requeues(broker: Broker, client: redis.Redis, count: int) -> None:
    queue = max(take_sample(broker).queues, key=lambda found: found.failed).name
    ids = [job_id.decode() for job_id in client.zrange(f"rq:failed:{queue}", 0, 2 * count - 1)]
    ours, theirs = ids[: len(ids) // 2], ids[len(ids) // 2 :]
    client.config_resetstat()
    fast = timed(lambda: [requeue(broker, [(job_id, queue) for job_id in part]) for part in parts(ours)])
    scripts = client.info("commandstats")["cmdstat_evalsha"]
    slow = timed(lambda: requeue_as_rq_does(client, queue, theirs))
    print(f"\nrequeue of {len(ours)} jobs")
    print(
        f"{'Poolwarden':<34}{len(ours) / fast:>10,.0f} jobs/s, the broker held {scripts['usec_per_call'] / 1000:.1f} ms"
    )
    print(f"{'rq requeue --all':<34}{len(theirs) / slow:>10,.0f} jobs/s, three round trips a job")
    print(f"{'ratio':<34}{len(ours) / fast / (len(theirs) / slow):>10.1f}   (chunks of {CHUNK})")


def parts(ids: list[str]) -> list[list[str]]:
    return [ids[start : start + WINDOW] for start in range(0, len(ids), WINDOW)]


def requeue_as_rq_does(client: redis.Redis, queue: str, ids: list[str]) -> None:
    """The loop of ``rq requeue --all``."""
    registry = FailedJobRegistry(queue, connection=client)
    for job_id in ids:
        registry.requeue(job_id)


def timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
