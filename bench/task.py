"""The job of bench.jobs, alone: a process forked for each job imports it each time."""


def nothing() -> None:
    """Does what it says."""
