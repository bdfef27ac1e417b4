"""RQ's worker, run in the process of the tests."""

from rq import SimpleWorker
from rq.timeouts import BaseDeathPenalty


class NoDeathPenalty(BaseDeathPenalty):
    """RQ's own takes SIGALRM, and with it the time limit of the test that runs."""

    def setup_death_penalty(self) -> None:
        pass

    def cancel_death_penalty(self) -> None:
        pass


class InProcessWorker(SimpleWorker):
    """Runs jobs as a stock worker would, and leaves the signals of the process to the one who runs the tests."""

    death_penalty_class = NoDeathPenalty

    def _install_signal_handlers(self) -> None:
        pass
