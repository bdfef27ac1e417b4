"""Which commands the broker runs for a job, as MONITOR tells them: sent by a client, or run by a script of ours."""

import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import redis

END = "the end of what is listened to"
SENT, IN_SCRIPTS = "sent by clients", "run inside scripts"


@contextmanager
def overheard(port: int) -> Iterator[Counter[tuple[str, str]]]:
    """Counts of ``(where, command)`` of everything the broker does meanwhile; complete when the block has ended."""
    heard: Counter[tuple[str, str]] = Counter()
    with redis.Redis(port=port) as client, client.monitor() as monitor:
        listener = threading.Thread(target=_listen, args=(monitor, heard))
        listener.start()
        yield heard
        client.echo(END)
        listener.join()


def _listen(monitor: redis.client.Monitor, heard: Counter[tuple[str, str]]) -> None:
    for said in monitor.listen():
        if END in said["command"]:
            return
        where = IN_SCRIPTS if said["client_type"] == "lua" else SENT
        heard[where, re.split(r"\s", said["command"], maxsplit=1)[0].upper()] += 1


def table(jobs: int, columns: dict[str, Counter[tuple[str, str]]]) -> None:
    """Print them a job, a column for each worker; what comes less than once in twenty jobs is left out."""
    rows = sorted({row for heard in columns.values() for row, count in heard.items() if count > jobs / 20})
    print("\nCommands a job" + "".join(f"{name:>22}" for name in columns))
    for where in (SENT, IN_SCRIPTS):
        sums = [sum(count for row, count in heard.items() if row[0] == where) for heard in columns.values()]
        print(f"{where:24}" + "".join(f"{count / jobs:>12.1f}{'':10}" for count in sums))
        for row in rows:
            if row[0] == where:
                print(f"  {row[1]:22}" + "".join(f"{heard[row] / jobs:>12.1f}{'':10}" for heard in columns.values()))


def settle(client: redis.Redis, seconds: float = 120) -> None:
    """Wait until the queue ``mail`` is worked off, asking seldom: these questions are overheard, too."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (client.llen("rq:queue:mail") or client.zcard("rq:wip:mail")):
        time.sleep(0.5)
