"""The few system calls that Python does not offer. Each raises OSError when the kernel refuses."""

import ctypes
import os
import platform
import struct

PR_SET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_DUMPABLE, PR_SET_CHILD_SUBREAPER = 1, 3, 4, 36
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 38, 39
CLONE_NEWUSER = 0x10000000

_CAPABILITY_VERSION_3 = 0x20080522
_CAPSET = {"x86_64": 126, "aarch64": 91}
_libc = ctypes.CDLL(None, use_errno=True)


def machine() -> str:
    """The kernel's name of this processor. Raises OSError for one whose system calls are not known here."""
    name = platform.machine()
    if name not in _CAPSET:
        raise OSError(f"the processor {name} is not known")
    return name


def call(number: int, *arguments: object) -> int:
    """A raw system call."""
    return _checked(_libc.syscall(ctypes.c_long(number), *arguments))


def prctl(option: int, value: int = 0) -> int:
    zero = ctypes.c_ulong(0)
    return _checked(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def drop_capabilities() -> None:
    """For good, as no_new_privs keeps exec from giving any back."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    call(_CAPSET[machine()], header, bytes(24))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
