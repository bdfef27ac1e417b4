"""Gives the audit log's pending events their leaves."""

from audit.sequencer import BATCH, BATCHES_A_TICK, Sequencer


class LogSequencer:
    name = "sequencer"
    interval = 0.25

    def __init__(self) -> None:
        self._sequencer = Sequencer()

    def tick(self) -> bool:
        return self._sequencer.tick() == BATCH * BATCHES_A_TICK
