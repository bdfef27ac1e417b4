"""Landlock: a process and its children may write below some folders only, and reach no process outside.

Reading stays free: an application reads its code from anywhere. https://docs.kernel.org/userspace-api/landlock.html
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable

from pools.runtime.sandbox import system

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_RULE_PATH_BENEATH = 1
_WRITE_FILE, _REFER, _TRUNCATE = 1 << 1, 1 << 13, 1 << 14
_REMOVE_AND_MAKE = sum(1 << bit for bit in range(4, 13))
_SCOPES = 0b11  # abstract Unix sockets, signals

# What programs write to, and which holds nothing.
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
SCOPES_SINCE = 6


def abi() -> int:
    """What this kernel's Landlock can do, from 1 up. Raises OSError when it has none."""
    return system.call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(1))


def restrict(writable: Iterable[str]) -> None:
    """Confine this process. ``no_new_privs`` must be set. Raises OSError, also when a path is missing."""
    version = abi()
    handled = _WRITE_FILE | _REMOVE_AND_MAKE
    handled |= (_REFER if version >= 2 else 0) | (_TRUNCATE if version >= 3 else 0)
    attributes = struct.pack("QQQ", handled, 0, _SCOPES if version >= SCOPES_SINCE else 0)
    size = 24 if version >= SCOPES_SINCE else 16 if version >= 4 else 8
    ruleset = system.call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))
    try:
        for path in (*writable, *(device for device in DEVICES if os.path.exists(device))):
            _allow(ruleset, path, handled)
        system.call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(beneath).st_mode):
            rights &= _WRITE_FILE | _TRUNCATE
        rule = struct.pack("=Qi", rights, beneath)
        system.call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(beneath)
