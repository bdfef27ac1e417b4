"""What a worker's horses share with the process that forks them, and a stable that does not answer."""

import subprocess
import sys

from tests.support.valkey import ValkeyServer

# In a process of its own: what forks has one thread.
LAID_IN = """
import os, sys
from pools.runtime import connection

client = connection.patient(sys.argv[1])
print("parent", client.client_id(), flush=True)
connection.lay_in(client)
pool = client.connection_pool
(made,) = pool._available_connections
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        connection.warm(client)
        (mine,) = pool._available_connections
        print("made" if mine is made else "anew", client.client_id(), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
print("parent", client.client_id(), flush=True)
"""

STOPPED = """
import os, signal, time
from pools.runtime import stable

stable.ANSWER_SECONDS = 0.5
stopped = stable.Stable(lambda line, folder: os._exit(0))
os.kill(stopped.pid, signal.SIGSTOP)
first, second = stopped.horse(1, None), stopped.horse(1, None)
for horse in (first, second):
    try:
        print(horse.pid)
    except OSError as error:
        print(error.strerror)
try:
    stopped.horse(1, None)
except OSError as error:
    print(error.strerror)
print(stopped.broken, stopped.reap(1).status)
stopped.close()
again = stable.Stable(lambda line, folder: os._exit(7))
print(os.waitstatus_to_exitcode(again.reap(again.horse(1, None).pid).status))
again.close()
"""


def run(code: str, *arguments: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_each_horse_opens_the_connection_that_was_made_for_it(valkey: ValkeyServer) -> None:
    said = [line.split() for line in run(LAID_IN, valkey.url)]
    assert [how for how, _ in said] == ["parent", "made", "made", "parent"]
    assert len({connection for _, connection in said}) == 4


def test_a_stable_that_does_not_answer_is_given_up() -> None:
    assert run(STOPPED) == ["no process could be made for a job"] * 2 + ["the stable is gone", "True 9", "7"]
