"""Profile *standard*: what a horse gives up before its first job, in this order, all of it or nothing.

What all horses of a worker give up alike may be given up before by the process that forks them, once for all.
"""

import os
import resource

from pools.runtime.processes import die_with_parent
from pools.runtime.sandbox import landlock, seccomp, system, user
from pools.runtime.sandbox.folder import Folder
from pools.runtime.sandbox.limits import MIB, Isolation

# How a horse ends that could not be enclosed: before any job's code ran.
NOT_ENCLOSED = 78
# Beside a job's own processes its namespace holds what forks the horses, and the next horse.
OTHERS = 2
# Folders that are kept for horses to come: one is taken before the last one is given back.
SPARE = 2


class Enclosure:
    """One worker's horses. ``uid``, ``gid``: the jobs'; ``namespace``: the host allows it.

    ``folder`` is that of the horse to be forked.
    """

    def __init__(
        self,
        isolation: Isolation,
        worker: str,
        uid: int,
        gid: int,
        *,
        namespace: bool,
        jobs: int = 1,
    ) -> None:
        """Raises OSError on a processor that seccomp.py does not know."""
        self.isolation = isolation
        self.folder: Folder | None = None
        self._worker, self._uid, self._gid = worker, uid, gid
        self._namespace, self._jobs = namespace, jobs
        self.base: str | None = None  # where folders are made (folder.py)
        self._shared = False  # with what forked this process
        self._clear: list[Folder] = []
        # A socket with a path would lead out of a network namespace.
        self._filter = seccomp.program(local=not isolation.sandboxed)

    def prepare(self) -> Folder:
        """In the worker, before each horse. Raises OSError."""
        self.folder = self._clear.pop() if self._clear else Folder(self._worker, self._uid, self._gid, self.base)
        return self.folder

    def part(self, folder: Folder) -> None:
        """In the worker, when a horse and all that its jobs started are gone."""
        if len(self._clear) < SPARE and folder.clear():
            self._clear.append(folder)
        else:
            folder.remove()

    def close(self) -> None:
        """In the worker, at its end."""
        while self._clear:
            self._clear.pop().remove()

    def share(self) -> None:
        """In the process that is to fork the horses, once; it must have one thread. Raises OSError: they try, too."""
        self._give_up()
        self._shared = True

    def enter(self) -> None:
        """In the horse, which must have one thread. Raises OSError: then no job may run here."""
        assert self.folder is not None
        if not self._shared:
            self._give_up()
        self.folder.enter()
        self._limit_job()
        landlock.restrict([self.folder.path, *self.isolation.writable])

    def _give_up(self) -> None:
        parent = os.getppid()
        user.become(self._uid, self._gid)
        if self._namespace:
            user.enter_namespace()
        self._limit()
        system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
        system.drop_capabilities()
        if not die_with_parent(parent):  # a change of user made the kernel forget the first
            raise OSError("the worker is gone")
        system.prctl(system.PR_SET_DUMPABLE, 0)
        seccomp.install(self._filter)

    def _limit(self) -> None:
        """Memory is limited for each process here, and for the job as a whole by the worker, which looks (meter.py)."""
        allowed = self.isolation
        _at_most(resource.RLIMIT_CORE, 0)
        _at_most(resource.RLIMIT_NOFILE, allowed.open_files)
        _at_most(resource.RLIMIT_FSIZE, allowed.output * MIB)
        _at_most(resource.RLIMIT_DATA, _data() + allowed.memory * MIB)

    def _limit_job(self) -> None:
        """What forks the horses works for longer than a job, and must be able to fork beside one."""
        allowed = self.isolation
        cpu = allowed.cpu * self._jobs
        _at_most(resource.RLIMIT_CPU, cpu, cpu + 5)  # first SIGXCPU, which has a name, then SIGKILL
        if self._namespace:  # else it would count all processes of the user
            _at_most(resource.RLIMIT_NPROC, allowed.processes + (OTHERS if self._shared else 0))


def _at_most(kind: int, soft: int, hard: int | None = None) -> None:
    """``hard``: by default the same. Never more than what the worker has."""
    _, most = resource.getrlimit(kind)
    bound = soft if hard is None else hard
    bound = bound if most == resource.RLIM_INFINITY else min(bound, most)
    resource.setrlimit(kind, (min(soft, bound), bound))


def _data() -> int:
    """Bytes of private writable memory that this process has mapped already: its application, and its stack."""
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[5]) * resource.getpagesize()
