"""``python -m tests.runtime.chaos [--jobs 20000] [--seeds 20] [--longest 30] [--stock]``: the full form.

One line a seed. Ends with code 1, and keeps the folders of the rounds that were wrong, when managed workers break a
rule; ``--stock`` runs ``rq worker`` instead, prints what becomes of its jobs, and judges nobody.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.runtime.chaos.pools import PROFILES
from tests.runtime.chaos.round import Plan, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.runtime.chaos")
    parser.add_argument("--jobs", type=int, default=20_000)
    parser.add_argument("--seeds", type=int, default=20, help="how many rounds, each with the next seed")
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--workers", type=int, default=3, help="of each of two pools on each of two hosts")
    parser.add_argument("--longest", type=float, default=30.0, help="longest pause, in seconds")
    parser.add_argument("--every", type=float, default=2.0, help="seconds from one fault to the next, on average")
    parser.add_argument("--storm", type=float, default=3600.0, help="seconds after which no job and no fault is added")
    parser.add_argument("--stock", action="store_true", help="rq worker in place of managed workers")
    parser.add_argument("--profile", choices=PROFILES, default=PROFILES[0], help="the isolation of one of the pools")
    given = parser.parse_args()
    told = {"stock": given.stock, "profile": given.profile}
    plans = [
        Plan(seed, given.jobs, given.workers, given.longest, given.every, given.storm, **told)
        for seed in range(given.first, given.first + given.seeds)
    ]
    green = [_round(plan) for plan in plans]
    return 0 if all(green) or given.stock else 1


def _round(plan: Plan) -> bool:
    began, folder = time.monotonic(), Path(tempfile.mkdtemp(prefix=f"poolwarden-chaos-{plan.seed}-"))
    verdict, storm = run(plan, folder)
    print(f"seed {plan.seed}, {time.monotonic() - began:.0f} s, {storm.struck.total()} faults: {verdict}", flush=True)
    print(f"  {', '.join(f'{count} {name}' for name, count in sorted(storm.struck.items()))}", flush=True)
    if verdict.wrong:
        print(f"  kept: {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return not verdict.wrong


if __name__ == "__main__":
    sys.exit(main())
