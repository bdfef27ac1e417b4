"""A worker kills its horse: what the horse had said by then still counts, and it has no next job."""

import os
import select
import time
from collections.abc import Iterator

import pytest

from pools.runtime.horse import Horse, Line
from pools.runtime.stable import Stable


@pytest.fixture
def stable() -> Iterator[Stable]:
    def serve(line: Line, told: str) -> None:
        """Its job is a text to be written upwards; then it stays."""
        os.write(line._up, line.next(done=False).encode())
        time.sleep(60)

    made = Stable(serve)
    yield made
    made.close()


def killed(stable: Stable, said: str) -> tuple[Horse, int]:
    """A horse that had said that much when it was killed; how it ended."""
    horse = stable.horse(5, None)
    assert horse.pid
    horse.send(said)
    if said:
        select.select([horse._up], [], [], 30)
    horse.kill()
    return horse, horse.last_word().status


@pytest.mark.parametrize(("said", "done"), [(",.", True), (",;", False)])
def test_one_that_was_over_ended_in_good_order(stable: Stable, said: str, done: bool) -> None:
    horse, status = killed(stable, said)
    assert (status, horse.done) == (os.EX_OK, done)
    assert not horse.takes_another()


@pytest.mark.parametrize("said", ["", ","])
def test_one_that_was_not_was_killed(stable: Stable, said: str) -> None:
    horse, status = killed(stable, said)
    assert os.WTERMSIG(status) == 9
    assert not horse.done and not horse.takes_another()


@pytest.mark.parametrize("said", ["?", ",,,"])
def test_one_that_says_something_else_is_killed(stable: Stable, said: str) -> None:
    horse = stable.horse(5, None)
    assert horse.pid
    horse.send(said)
    heard: list[str] = []
    ended = horse.wait(30, lambda: heard.append(","))
    assert ended is not None and os.WTERMSIG(ended.status) == 9
    assert len(heard) == said.count(",") - (said == ",,,")
