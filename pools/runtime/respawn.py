"""How long to wait before a pool's next start. Pure: times are given, in seconds of one monotonic clock."""

from dataclasses import dataclass

BOOT_ATTEMPTS = 3
BOOT_RETRY_SECONDS = 60.0
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
# A worker that lived this long was not part of a crash loop.
SETTLED_SECONDS = 60.0


@dataclass(frozen=True)
class BootFailure:
    """A build whose workers end before they have loaded the application. ``at`` Unix time."""

    at: float
    exit_code: int
    message: str


@dataclass
class Respawn:
    """One pool's record of failures. ``restarts`` counts for as long as the agent lives."""

    build: str = ""
    failure: BootFailure | None = None
    restarts: int = 0
    last: str = ""
    _boots_failed: int = 0
    _crashes: int = 0
    _not_before: float = 0.0

    def may_start(self, build: str, now: float) -> bool:
        """Whether to start a worker of ``build`` now. A build not tried before has a clean record."""
        if build != self.build:
            self.build, self.failure = build, None
            self._boots_failed = self._crashes = 0
            self._not_before = 0.0
        return now >= self._not_before

    @property
    def waiting(self) -> bool:
        return self._crashes > 0 or self._boots_failed > 0

    def ready(self) -> None:
        """A worker of the current build has loaded the application."""
        self.failure, self._boots_failed = None, 0

    def boot_failed(self, worker: str, failure: BootFailure, now: float) -> bool:
        """Returns True when this failure stops the storm: the one to tell people about."""
        self._boots_failed += 1
        self.last = worker
        if self._boots_failed < BOOT_ATTEMPTS:
            self._not_before = now + FIRST_WAIT * 2 ** (self._boots_failed - 1)
            return False
        self.failure = failure
        self._not_before = now + BOOT_RETRY_SECONDS
        return self._boots_failed == BOOT_ATTEMPTS

    def crashed(self, worker: str, lived: float, now: float) -> None:
        """The first crash is replaced at once, the next ones wait 0.5, 1, 2 … 30 s."""
        self._crashes = 1 if lived >= SETTLED_SECONDS else self._crashes + 1
        self.restarts += 1
        self.last = worker
        if self._crashes > 1:
            self._not_before = now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self._crashes - 2, 16))
