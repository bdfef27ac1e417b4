"""How long a pause or resume takes from the request to the agent's word that it is applied, in a whole installation.

    python -m bench.commands [--rounds 10]

The aim is 2 s. The console answers, the controller signs and publishes, the agent verifies and tells its workers.
"""

import argparse
import json
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import median

import redis

from tests.acceptance.broker import broker_of, heartbeat_of, serving
from tests.support.installation import Installation
from tests.support.waiting import wait_for

AIM = 2.0
POOL = "stdlib-compress"
VERBS = {"pause": "paused", "resume": "running"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="poolwarden-bench-") as folder:
        installation = Installation(Path(folder) / "home")
        installation.start(timeout=180)
        try:
            token = installation.python(
                'from django.core.management import call_command; call_command("token_create", user="operator")'
            )
            broker = broker_of(installation)
            taken = [apply(installation, broker, token, verb) for _ in range(rounds) for verb in VERBS]
        finally:
            installation.stop()
    print(f"{len(taken)} commands: median {median(taken):.2f} s, longest {max(taken):.2f} s")
    print(f"of the aim of {AIM:g} s: median {median(taken) / AIM:.2f}, longest {max(taken) / AIM:.2f}")


def apply(installation: Installation, broker: redis.Redis, token: str, verb: str) -> float:
    """Seconds from the request until the heartbeat says so."""
    request = urllib.request.Request(
        f"{installation.url}/api/v1/pools/{POOL}/{verb}",
        data=json.dumps({"reason": "benchmark"}).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    began = time.monotonic()
    urllib.request.urlopen(request, timeout=30).close()
    state = VERBS[verb]
    wait_for(lambda: serving(heartbeat_of(broker), POOL).get("run_state") == state, timeout=60, every=0.01)
    return time.monotonic() - began


if __name__ == "__main__":
    main()
