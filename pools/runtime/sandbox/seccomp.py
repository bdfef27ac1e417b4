"""A seccomp filter: system calls that no job needs, and that break out of, look into or outlive what is around it.

Memory that belongs to no process (memfd, System V) is among them: its limit could not be told. They fail with EPERM, as
for any unprivileged user. Numbers are from the kernel's tables, x86-64 and 64-bit ARM.
"""

import ctypes
import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from pools.runtime.sandbox import system

_SECCOMP_SET_MODE_FILTER = 1
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data; arguments follow from 16, eight bytes each
_X32 = 0x40000000

# New user, mount, network, process, IPC, host name and cgroup namespaces.
_NAMESPACES = 0x10000000 | 0x00020000 | 0x40000000 | 0x20000000 | 0x08000000 | 0x04000000 | 0x02000000
# Local, IPv4, IPv6, and netlink, which name resolution asks for this host's addresses.
_SOCKETS = (1, 2, 10, 16)
_TIOCSTI = 0x5412
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True)
class _Processor:
    audit: int
    seccomp: int
    clone: int
    socket: int
    ioctl: int
    prctl: int
    forbidden: dict[str, int]


# From number 424 on, every processor has the same.
_COMMON = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "pidfd_getfd": 438,
    "mount_setattr": 442,
    "quotactl_fd": 443,
}
_CLONE3 = 435
_X86_64 = {
    "ptrace": 101, "syslog": 103, "uselib": 134, "modify_ldt": 154, "vhangup": 153, "pivot_root": 155,
    "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164, "mount": 165, "umount2": 166, "swapon": 167,
    "swapoff": 168, "reboot": 169, "sethostname": 170, "setdomainname": 171, "iopl": 172, "ioperm": 173,
    "init_module": 175, "delete_module": 176, "quotactl": 179, "clock_settime": 227, "kexec_load": 246,
    "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272, "perf_event_open": 298,
    "fanotify_init": 300, "open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310,
    "process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321,
    "userfaultfd": 323, "shmget": 29, "msgget": 68, "memfd_create": 319,
}  # fmt: skip
_AARCH64 = {
    "umount2": 39, "mount": 40, "pivot_root": 41, "vhangup": 58, "quotactl": 60, "acct": 89, "unshare": 97,
    "kexec_load": 104, "init_module": 105, "delete_module": 106, "clock_settime": 112, "syslog": 116,
    "ptrace": 117, "reboot": 142, "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "adjtimex": 171,
    "add_key": 217, "request_key": 218, "keyctl": 219, "swapon": 224, "swapoff": 225, "perf_event_open": 241,
    "fanotify_init": 262, "open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270,
    "process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "bpf": 280, "userfaultfd": 282,
    "kexec_file_load": 294, "chroot": 51, "shmget": 194, "msgget": 186, "memfd_create": 279,
}  # fmt: skip
_PROCESSORS = {
    "x86_64": _Processor(0xC000003E, 317, clone=56, socket=41, ioctl=16, prctl=157, forbidden=_X86_64 | _COMMON),
    "aarch64": _Processor(0xC00000B7, 277, clone=220, socket=198, ioctl=29, prctl=167, forbidden=_AARCH64 | _COMMON),
}


def program(*, local: bool = True) -> bytes:
    """The filter for this processor: made once in a worker, for all its horses. Raises OSError.

    ``local``: whether there may be Unix sockets other than pairs.
    """
    return b"".join(_program(_PROCESSORS[system.machine()], _SOCKETS if local else _SOCKETS[1:]))


def install(program: bytes) -> None:
    """Filter this process and its children from here on. ``no_new_privs`` must be set. Raises OSError."""
    processor = _PROCESSORS[system.machine()]
    buffer = ctypes.create_string_buffer(program)
    filter_ = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    system.call(processor.seccomp, ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(0), filter_)


def _program(processor: _Processor, sockets: Sequence[int]) -> list[bytes]:
    """Each rule returns or falls through to the next; the system call's number is loaded before each."""
    number = _step(_LOAD, _NUMBER)
    program = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, processor.audit, 1, 0), _step(_RETURN, _KILL), number]
    if processor.audit == _PROCESSORS["x86_64"].audit:
        program += [_step(_AT_LEAST, _X32, 0, 1), _refuse(errno.ENOSYS)]
    for forbidden in processor.forbidden.values():
        program += [_step(_EQUAL, forbidden, 0, 1), _refuse(errno.EPERM)]
    # Its flags lie in memory, which a filter cannot read; C libraries fall back to clone.
    program += [_step(_EQUAL, _CLONE3, 0, 1), _refuse(errno.ENOSYS)]
    program += _rule(processor.clone, 0, [_step(_ANY_BIT, _NAMESPACES, 0, 1), _refuse(errno.EPERM)])
    program += _rule(processor.ioctl, 1, [_step(_EQUAL, _TIOCSTI, 0, 1), _refuse(errno.EPERM)])
    program += _rule(processor.prctl, 0, [_step(_EQUAL, _PR_SET_DUMPABLE, 0, 1), _refuse(errno.EPERM)])
    allowed = [_step(_EQUAL, family, len(sockets) - place, 0) for place, family in enumerate(sockets)]
    program += _rule(processor.socket, 0, [*allowed, _refuse(errno.EAFNOSUPPORT)])
    return [*program, _step(_RETURN, _ALLOW)]


def _rule(number: int, argument: int, body: list[bytes]) -> list[bytes]:
    """``body`` decides over the low half of one argument of one system call, or falls through."""
    body = [_step(_LOAD, 16 + 8 * argument), *body, _step(_LOAD, _NUMBER)]
    return [_step(_EQUAL, number, 0, len(body)), *body]


def _refuse(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _step(code: int, value: int, then: int = 0, otherwise: int = 0) -> bytes:
    return struct.pack("HBBI", code, then, otherwise, value)
