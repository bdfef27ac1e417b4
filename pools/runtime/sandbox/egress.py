"""Profile *strict*: the one way out of a sandbox, an HTTP proxy that leads to the addresses of the signed spec alone.

A sandbox has a network of its own, with nothing in it but this proxy's socket. That is made in there and handed out, so
what accepts from it is a process outside, without the application, without Redis and without a right to write files.
A job names the address, the proxy resolves it: https://www.rfc-editor.org/rfc/rfc9110#name-connect
"""

import asyncio
import contextlib
import ipaddress
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pools.runtime.processes import die_with_parent
from pools.runtime.sandbox import landlock, seccomp, system

HOST, PORT = "127.0.0.1", 3128
# Where programs look for a proxy. For http:// as well: its refusal says more than a network that is not there.
VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
MOST_CONNECTIONS, MOST_NAMES, LARGEST_HEAD, PART = 128, 8, 8192, 64 * 1024
HEAD_SECONDS, CONNECT_SECONDS = 10.0, 10.0
# For what a side that said all it has may still be told; to take in what is left; to be rid of a job's tunnels.
HALF_CLOSED_SECONDS, CLOSING_SECONDS, OVER_SECONDS = 60.0, 5.0, 0.2
# What the worker may wait for that.
PATIENCE_SECONDS = 5.0
# Where clouds hand out credentials, beside 169.254.169.254: AWS, Alibaba, Azure.
METADATA = frozenset(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "168.63.129.16")))
# https://www.rfc-editor.org/rfc/rfc6052#section-2.1
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Refusals are logged once for each address, and not without end.
MOST_LOGGED, LONGEST_LOGGED = 1000, 200

_LAUNCHER = Path(__file__).parents[1] / "launch.py"

log = logging.getLogger("rq.worker")


class Refused(Exception):
    """What the job is told: an HTTP status and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status} {why}")


def listener() -> socket.socket:
    """In the sandbox, which has a network of its own. Raises OSError."""
    return socket.create_server((HOST, PORT), backlog=MOST_CONNECTIONS)


def environment() -> dict[str, str]:
    """What tells jobs of the proxy."""
    return dict.fromkeys(VARIABLES, f"http://{HOST}:{PORT}") | dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost")


class Proxy:
    """The worker's side of its proxy."""

    def __init__(self, listening: socket.socket, allowed: Sequence[str], uid: int, gid: int, *, worker: str) -> None:
        """Start it, as the jobs' user; it dies with this process. Raises OSError."""
        fd = listening.fileno()
        options: dict[str, Any] = {"user": uid, "group": gid, "extra_groups": []} if os.getuid() == 0 else {}
        command = [sys.executable, str(_LAUNCHER), "egress", str(fd), str(os.getpid()), worker, *allowed]
        self._control, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen(command, cwd="/", stdin=theirs.fileno(), pass_fds=[fd], **options)

    def end_tunnels(self) -> None:
        """A job is over: nothing of its tunnels is left for the next. A proxy that does not say so is ended."""
        self._control.settimeout(PATIENCE_SECONDS)
        try:
            self._control.sendall(b"o")
            if self._control.recv(1):
                return
        except OSError:
            pass
        self.end()

    def end(self) -> None:
        self._control.close()
        self.process.kill()
        self.process.wait()


def main(fd: int, parent: int, worker: str, allowed: Sequence[str]) -> None:
    """Until the worker is gone."""
    if not die_with_parent(parent):
        return
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    system.prctl(system.PR_SET_NO_NEW_PRIVS, 1)
    system.drop_capabilities()
    landlock.restrict([])
    system.prctl(system.PR_SET_DUMPABLE, 0)
    seccomp.install(seccomp.program())
    asyncio.run(_Tunnels(worker, allowed).serve(socket.socket(fileno=fd), socket.socket(fileno=0)))
    os._exit(0)  # whatever name is still looked up


def permits(allowed: Sequence[str], host: str, port: int) -> bool:
    """Whether the spec's list names this host, in lower case, and port. ``*.`` stands for one or more labels."""
    for one in allowed:
        name, _, number = one.rpartition(":")
        name = name.strip("[]")
        if int(number) == port and (host == name or (name.startswith("*.") and host.endswith(name[1:]))):
            return True
    return False


class _Tunnels:
    def __init__(self, worker: str, allowed: Sequence[str]) -> None:
        self._worker, self._allowed = worker, allowed
        self._logged: set[str] = set()
        self._names = _Names()
        self._open: set[asyncio.Task[None]] = set()
        self._patience = CLOSING_SECONDS

    async def serve(self, listening: socket.socket, control: socket.socket) -> None:
        """Until the worker hangs up, or a job is over that leaves something behind: then there had better be another
        proxy."""
        server = await asyncio.start_server(self._connected, sock=listening, limit=LARGEST_HEAD)
        reader, writer = await asyncio.open_connection(sock=control)
        async with server:
            while await reader.read(1):
                await self._end_all()
                if self._names.are_looked_up:
                    return
                writer.write(b".")

    async def _end_all(self) -> None:
        self._patience = OVER_SECONDS
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        self._patience = CLOSING_SECONDS

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            await self._tunnel(reader, writer)
        except Refused as refusal:
            self._note(str(refusal))
            writer.write(f"HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
        except OSError:  # one of the two sides is gone
            pass
        finally:
            await self._close(writer)
            self._open.discard(task)

    async def _close(self, writer: asyncio.StreamWriter) -> None:
        """It counts until it is gone: what its side does not take in is held here."""
        writer.close()
        try:
            async with asyncio.timeout(self._patience):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.transport.abort()  # if it is not closed

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) > MOST_CONNECTIONS:
            raise Refused(503, f"a job may have {MOST_CONNECTIONS} connections through its pool's isolation.egress")
        host, port = await _target(reader)
        if not permits(self._allowed, host, port):
            raise Refused(403, f"{_joined(host, port)} is not in the pool's isolation.egress")
        out_reader, out = await self._connect(host, port)
        try:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await _both(_pump(reader, out), _pump(out_reader, writer))
        finally:
            await self._close(out)

    async def _connect(self, host: str, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the first of the host's addresses that answers. Raises Refused."""
        why: Exception | str = "it has no address"
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                for address in await self._names.addresses(host, port):
                    try:
                        return await asyncio.open_connection(address, port, limit=PART)
                    except OSError as error:
                        why = error
        except TimeoutError:
            why = f"no answer within {CONNECT_SECONDS:g} s"
        except (OSError, UnicodeError) as error:  # the latter of a name that no DNS takes
            why = error
        raise Refused(502, f"{_joined(host, port)} cannot be reached: {why}")

    def _note(self, refusal: str) -> None:
        if refusal not in self._logged and len(self._logged) < MOST_LOGGED:
            self._logged.add(refusal)
            log.warning("Worker %s: a job was not let out: %s", self._worker, refusal[:LONGEST_LOGGED])


async def _target(reader: asyncio.StreamReader) -> tuple[str, int]:
    """What a client asks for. Raises Refused."""
    try:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        raise Refused(400, "this is no request to a proxy") from None
    return asked(head)


def asked(head: bytes) -> tuple[str, int]:
    """The host, in lower case and without brackets, and the port that a request names. Raises Refused."""
    try:
        method, target, _ = head.partition(b"\r\n")[0].decode("ascii").split(" ")
    except ValueError:
        raise Refused(400, "this is no request to a proxy") from None
    if method != "CONNECT":
        raise Refused(405, "isolation.egress lets out https and other tunnels by CONNECT, not plain http")
    host, _, port = target.rpartition(":")
    if not (host.isprintable() and host and port.isdecimal() and len(port) <= 5 and 0 < int(port) <= 65535):
        raise Refused(400, "a host and a port are needed")
    return host.removeprefix("[").removesuffix("]").removesuffix(".").lower(), int(port)


class _Names:
    """The system's resolver waits as long as a name's DNS does, and cannot be told to stop: so in threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST_NAMES)
        self._asked: set[Future[Any]] = set()

    @property
    def are_looked_up(self) -> bool:
        return bool(self._asked)

    async def addresses(self, host: str, port: int) -> list[str]:
        """Whoever rules a name's DNS must not lead jobs to this host, or to what hosts its cloud's credentials: such
        addresses are reached by a list that names them, and by no name. Raises Refused, OSError.
        """
        asked = self._threads.submit(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        addresses = [str(address[0]) for *_, address in await asyncio.wrap_future(asked)]
        if _is_address(host):
            return addresses
        if near := [address for address in addresses if _is_near(address)]:
            raise Refused(403, f"{host} leads to {near[0]}: isolation.egress must name such an address itself")
        return addresses


def _is_address(host: str) -> bool:
    with contextlib.suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False


def _is_near(address: str) -> bool:
    """Of this host or its link, or a cloud's metadata service; and what is no single host's. Also inside IPv6."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        found = inner or (ipaddress.IPv4Address(found.packed[-4:]) if found in NAT64 else found)
    near = found.is_loopback or found.is_link_local or found.is_unspecified or found.is_multicast
    return near or found in METADATA or _is_ours(str(found))


def _is_ours(address: str) -> bool:
    """One of this host's own addresses: the way there begins and ends with it. Nothing is sent."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return bool(ipaddress.ip_address(probe.getsockname()[0]) == ipaddress.ip_address(address))
    except OSError:  # no way there
        return False


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while part := await reader.read(PART):
        writer.write(part)
        await writer.drain()
    writer.write_eof()


async def _both(*ways: Coroutine[Any, Any, None]) -> None:
    """Until both sides have said all they have. One that is gone ends both, as RFC 9110 says of tunnels; one that has
    no more to say may still be told something."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if others and not any(task.exception() for task in done):
            await asyncio.wait(others, timeout=HALF_CLOSED_SECONDS)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
