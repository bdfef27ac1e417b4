"""What this host can give, found out by trying: each control in a child that is thrown away, and its effect looked at.

A kernel that has a control may still refuse it, and a control that was granted may do nothing: only the effect counts.
``python -m pools.runtime.sandbox.probe [JOB_USER]`` prints it.
"""

import errno
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pools.runtime.sandbox import bubble, egress, landlock, meter, seccomp, system, user
from pools.runtime.sandbox.enclosure import Enclosure
from pools.runtime.sandbox.limits import MIB, Isolation

NAMESPACE, EGRESS = "namespace", "egress"
# Without it the standard profile still holds: the worker counts a job's processes itself.
OPTIONAL = (NAMESPACE,)

_CPU_SECONDS, _MEMORY_MIB, _FILES, _PROCESSES, _OUTPUT_MIB = 60, 64, 64, 8, 1
_LONGEST = 300


@dataclass(frozen=True)
class Control:
    """``how``: what is in force, or why not."""

    holds: bool
    how: str


class NotGiven(Exception):
    """The host cannot give what the signed spec asks for; the text names the controls."""


def vector(job_user: str, *, strict: bool = False, lets_out: bool = False) -> dict[str, Control]:
    """Every control by name, with those of profile strict where it is asked for, and of its egress. Takes some
    milliseconds, in children of this process.
    """
    found = {name: _tried(attempt, job_user) for name, attempt in _ATTEMPTS.items()}
    together = _tried(_together, job_user) if not lacking(found) else Control(False, "not tried, as one is missing")
    found |= {"together": together}
    if strict:
        asked = {name: attempt for name, attempt in _STRICT.items() if lets_out or name != EGRESS}
        found |= {name: _tried(attempt, job_user) for name, attempt in asked.items()}
    return found


def lacking(found: dict[str, Control]) -> dict[str, str]:
    """What keeps a host from the standard profile, and why. Of several controls that are missing, all are named."""
    missing = {name: one.how for name, one in found.items() if not one.holds and name not in OPTIONAL}
    return {name: how for name, how in missing.items() if name != "together" or len(missing) == 1}


def required(isolation: Isolation, job_user: str) -> dict[str, Control]:
    """The vector, when it has what the profile needs. Raises NotGiven."""
    found = vector(job_user, strict=isolation.sandboxed, lets_out=bool(isolation.egress))
    reasons: dict[str, list[str]] = {}
    for name, how in lacking(found).items():
        reasons.setdefault(how, []).append(name)
    missing = [f"{', '.join(names)} ({how})" for how, names in reasons.items()]
    missing += [f"writable folder {path} (missing)" for path in isolation.writable if not os.path.isdir(path)]
    if missing:
        raise NotGiven(f"profile {isolation.profile} is refused, as this host lacks {'; '.join(missing)}")
    return found


def _tried(attempt: Callable[[str], str], job_user: str) -> Control:
    """Run one attempt in a child; what it returns is how the control holds, what it raises is why it does not."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            said = "1" + attempt(job_user)
        except BaseException as error:  # whatever it is, the control does not hold
            said = "0" + (str(error) or type(error).__name__)
        os.write(write, said.encode(errors="replace")[:_LONGEST])
        os._exit(0)
    os.close(write)
    with os.fdopen(read, errors="replace") as answer:
        said = answer.read()
    _, status = os.waitpid(pid, 0)
    if not said:
        return Control(False, f"the attempt ended with status {status}")
    return Control(said[0] == "1", said[1:])


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise OSError(what)


def _refused(action: Callable[[], object], *numbers: int) -> bool:
    try:
        action()
    except OSError as error:
        return error.errno in numbers
    return False


def _user(job_user: str) -> str:
    uid, gid = user.chosen(job_user)
    user.become(uid, gid)
    _expect(os.getresuid() == (uid, uid, uid) and _refused(lambda: os.setuid(0), errno.EPERM), "it is still root")
    return f"jobs run as uid {uid}"


def _privileges(job_user: str) -> str:
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
    system.drop_capabilities()
    _expect(system.prctl(system.PR_GET_NO_NEW_PRIVS) == 1, "the kernel ignored no_new_privs")
    _expect(os.getuid() != 0 or _refused(lambda: os.chroot("/"), errno.EPERM), "capabilities were kept")
    return "none, and no way to new ones"


def _limits(job_user: str) -> str:
    most = 128 * MIB
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        bytearray(2 * most)
    except MemoryError:
        return "for each process by the kernel; for the job by its worker, which looks four times a second"
    raise OSError("memory beyond the limit was given")


def _landlock(job_user: str) -> str:
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
    with tempfile.TemporaryDirectory() as allowed, tempfile.TemporaryDirectory() as other:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            landlock.restrict([allowed])
            with open(f"{allowed}/file", "w"):
                held = _refused(lambda: open(f"{other}/file", "w"), errno.EACCES)  # noqa: SIM115
            scoped = _refused(lambda: os.kill(parent, 0), errno.EPERM)
            os._exit((0 if held else 1) | (0 if scoped else 2))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    _expect(status in (0, 2), "a folder outside could be written")
    version = landlock.abi()
    if status == 0:
        return f"version {version}: files, signals and abstract sockets"
    _expect(version < landlock.SCOPES_SINCE, "a process outside could be signalled")
    return f"version {version}: files; signals and abstract sockets only from version {landlock.SCOPES_SINCE} on"


def _seccomp(job_user: str) -> str:
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.install(seccomp.program())
    _expect(_refused(lambda: os.unshare(system.CLONE_NEWUSER), errno.EPERM), "the filter does nothing")
    _expect(_refused(lambda: os.memfd_create("probe"), errno.EPERM), "the filter does nothing")
    return "about 50 system calls refused"


def _dumpable(job_user: str) -> str:
    system.prctl(system.PR_SET_DUMPABLE, 0)
    _expect(system.prctl(system.PR_GET_DUMPABLE) == 0, "the kernel ignored it")
    return "memory and environment are closed to other processes"


def _meter(job_user: str) -> str:
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    os.close(read)
    seen = pid in meter.children(os.getpid()) and meter.memory(pid) > 0
    os.close(write)
    os.waitpid(pid, 0)
    _expect(seen, "/proc does not show a process's children")
    system.prctl(system.PR_SET_CHILD_SUBREAPER, 1)
    return "the worker sees all that a job starts"


def _namespace(job_user: str) -> str:
    uid, gid = user.chosen(job_user)
    user.become(uid, gid)
    try:
        user.enter_namespace()
    except OSError as error:
        raise OSError(f"no user namespace ({error}): the worker counts a job's processes") from None
    system.drop_capabilities()
    resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
    _expect(_refused(_fork, errno.EAGAIN), "a process beyond the limit was given")
    return "a user namespace for jobs: the kernel counts their processes"


def _bubblewrap(job_user: str) -> str:
    return bubble.program()


# Prints the first thing that a sandbox has and must not have: uid, a listener's port and a pid are of outside.
_LOOK = """import os, socket, sys
port, pid, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
def can(action):
    try: action()
    except OSError: return False
    return True
print("it is root" if os.getuid() == 0 else
      "the network is the host's" if can(lambda: socket.create_connection(("127.0.0.1", port), 1)) else
      "the host's processes are visible" if len([x for x in os.listdir("/proc") if x.isdigit()]) > 8 else
      "the host's files can be written" if can(lambda: open(folder + "/x", "w")) else "ok")
"""


def _sandbox(job_user: str) -> str:
    """A sandbox with the application's own interpreter, in which a horse's user namespace can be made, too."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        os.chmod(folder, 0o777)  # noqa: S103  # its permissions would refuse, too
        command = [sys.executable, "-c", _LOOK, str(server.getsockname()[1]), str(os.getpid()), folder]
        uid, gid = user.chosen(job_user)
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = bubble.start(command, uid, gid, writable=[], environment=dict(os.environ), **pipes)
        said, wrong = (part.decode(errors="replace").strip() for part in process.communicate(timeout=30))
    _expect(said == "ok", said or wrong or f"bubblewrap ended with {process.returncode}")
    return "no network, no processes of the host, a read-only root"


# Makes the proxy's socket, hands it out, and prints what the proxy says to an address on its list and to another.
_KNOCK = """import socket, sys
control, place, port = socket.socket(fileno=int(sys.argv[1])), (sys.argv[2], int(sys.argv[3])), sys.argv[4]
with socket.create_server(place) as server:
    socket.send_fds(control, [b"x"], [server.fileno()])
for number in (port, "1"):
    with socket.create_connection(place, 10) as line:
        line.sendall(f"CONNECT 127.0.0.1:{number} HTTP/1.1\\r\\n\\r\\n".encode())
        print(line.recv(100).split()[1].decode())
"""


def _egress(job_user: str) -> str:
    """The proxy of a sandbox, which lets out to a listener of this process, and nowhere else."""
    uid, gid = user.chosen(job_user)
    ours, theirs = socket.socketpair()
    with socket.create_server((egress.HOST, 0)) as server, ours:
        port = str(server.getsockname()[1])
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-c", _KNOCK, str(fd), egress.HOST, str(egress.PORT), port]
            pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "pass_fds": [fd]}
            process = bubble.start(command, uid, gid, writable=[], environment=dict(os.environ), **pipes)
        _, given, _, _ = socket.recv_fds(ours, 1, 1)
        if given:
            with socket.socket(fileno=given[0]) as listening:
                proxy = egress.Proxy(listening, [f"{egress.HOST}:{port}"], uid, gid, worker="probe")
        said, wrong = (part.decode(errors="replace").strip() for part in process.communicate(timeout=30))
        if given:
            proxy.end()
    _expect(said.split() == ["200", "403"], said or wrong or f"bubblewrap ended with {process.returncode}")
    return "a proxy leads to the addresses that the spec names, and to no other"


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _together(job_user: str) -> str:
    """All of it, as a stable and its horse do it; then what any job needs."""
    uid, gid = user.chosen(job_user)
    allowed = Isolation("standard", _MEMORY_MIB, _CPU_SECONDS, _FILES, _PROCESSES, _OUTPUT_MIB, [], [])
    namespace = _tried(_namespace, job_user).holds
    enclosure = Enclosure(allowed, "probe", uid, gid, namespace=namespace)
    folder = enclosure.prepare()
    try:
        control = _tried(lambda _: _enclosed(enclosure, folder.temporary), job_user)
    finally:
        folder.remove()
    _expect(control.holds, control.how)
    return "all of it at once"


def _enclosed(enclosure: Enclosure, temporary: str) -> str:
    enclosure.share()
    entered = _tried(lambda _: _entered(enclosure, temporary), "")
    _expect(entered.holds, entered.how)
    return ""


def _entered(enclosure: Enclosure, temporary: str) -> str:
    enclosure.enter()
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    _expect(tempfile.gettempdir() == temporary, "the temporary folder is another")
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return ""


_ATTEMPTS: dict[str, Callable[[str], str]] = {
    "user": _user,
    "privileges": _privileges,
    "limits": _limits,
    "landlock": _landlock,
    "seccomp": _seccomp,
    "dumpable": _dumpable,
    "meter": _meter,
    NAMESPACE: _namespace,
}


_STRICT: dict[str, Callable[[str], str]] = {"bubblewrap": _bubblewrap, "sandbox": _sandbox, EGRESS: _egress}


def main() -> int:
    """Exit codes: 0 when the standard profile can be given, 1 when not. Profile strict needs the last three as well,
    the very last where it has an egress.
    """
    found = vector(*sys.argv[1:2] or [""], strict=True, lets_out=True)
    for name, control in found.items():
        print(f"{'yes' if control.holds else 'no ':3} {name:10} {control.how}")  # noqa: T201
    return 1 if set(lacking(found)) - set(_STRICT) else 0


if __name__ == "__main__":
    sys.exit(main())
