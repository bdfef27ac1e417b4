"""Whose process a job is: never root's, and in a user namespace of its own where the host allows one."""

import os
import pwd
from pathlib import Path

from pools.runtime.sandbox import system


class NoUser(Exception):
    """There is no user to run jobs as; the text says why."""


def chosen(name: str) -> tuple[int, int]:
    """The uid and gid that jobs get; ``name`` is the agent's ``--job-user``, or empty. Raises NoUser."""
    if not name:
        if os.getuid() == 0:
            raise NoUser("the agent runs as root, and no --job-user says whose jobs are")
        return os.getuid(), os.getgid()
    try:
        found = pwd.getpwnam(name)
    except KeyError:
        raise NoUser(f"there is no user {name}") from None
    if found.pw_uid == 0:
        raise NoUser(f"{name} is root")
    if os.getuid() not in (0, found.pw_uid):
        raise NoUser(f"only root can run jobs as {name}, and the agent is not root")
    return found.pw_uid, found.pw_gid


def become(uid: int, gid: int) -> None:
    """For good: real, effective and saved ids, and no other group. Nothing to do for a user who is that already.

    The kernel forgets the parent-death signal here, and makes the process undumpable.
    """
    if os.getuid() == 0:
        os.setgroups([gid])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def enter_namespace() -> None:
    """A user namespace in which the user is who he was: its count of processes is its own. Raises OSError.

    The process must have one thread. Its capabilities in the namespace are the caller's to drop.
    """
    uid, gid = os.getuid(), os.getgid()
    system.prctl(system.PR_SET_DUMPABLE, 1)  # the maps below belong to root while it is not
    os.unshare(system.CLONE_NEWUSER)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
