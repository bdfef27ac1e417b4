"""The one way out of a strict sandbox: what the signed spec names, and nothing beside it."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rq import Queue

from pools.broker.tracebacks import parse_traceback
from pools.runtime.sandbox import egress
from pools.runtime.sandbox.meter import children
from tests.runtime.enclosed import shared  # noqa: F401
from tests.runtime.holding import gone
from tests.runtime.test_strict import ended, pool
from tests.support.agents import AgentHost
from tests.support.receivers import Hook, certificate, hook_server

HALF_A_MINUTE = 30.0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Hook]:
    """An https server outside, which answers with as many bytes as it was sent."""

    def echo(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(hook.requests[-1].body)

    with hook_server(certificate(tmp_path).context) as hook:
        hook.answer = echo
        yield hook


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(HALF_A_MINUTE)
        yield server


def port_of(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def test_jobs_reach_what_the_list_names(host: AgentHost, site: Hook, listener: socket.socket) -> None:
    closed = socket.create_server(("127.0.0.1", 0))
    gone = port_of(closed)
    closed.close()
    allowed = [f"127.0.0.1:{site.port}", f"127.0.0.1:{gone}", f"localhost:{site.port}", "*.invalid:443"]
    uid = pool(host, egress=allowed, preload=["outside"])
    assert host.pool(uid)["isolation"]["egress"][0] is True
    queue = Queue("mail", connection=host.valkey.client)

    def outcome(task: str, *args: Any) -> Any:
        found = ended(host, queue.enqueue(f"outside.{task}", *args))
        return found.exc_string or found.return_value

    assert outcome("fetch", site.url("/hook", scheme="https"), 3 << 20) == "x" * (3 << 20)
    assert len(site.requests[0].body) == 3 << 20

    other = port_of(listener)
    for address, why in {
        f"127.0.0.1:{other}": f"403 127.0.0.1:{other} is not in the pool's isolation.egress",
        f"LocalHost.:{site.port}": "403 localhost leads to ",
        "invalid:443": "403 invalid:443 is not in",
        "a.invalid:443": "502 a.invalid:443 cannot be reached: ",
        "..invalid:443": "502 ..invalid:443 cannot be reached: ",
        f"127.0.0.1:{gone}": f"502 127.0.0.1:{gone} cannot be reached: ",
        f"127.1:{site.port}": f"403 127.1:{site.port} is not in",
        "127.0.0.1": "400 a host and a port are needed",
        "127.0.0.1:0": "400 a host and a port are needed",
        f"127.0.0.1:{'9' * 5000}": "400 a host and a port are needed",
        "x" * 9000 + ":1": "400 this is no request to a proxy",
        "é:1": "400 this is no request to a proxy",
        "a b:1": "400 this is no request to a proxy",
    }.items():
        assert outcome("ask", f"CONNECT {address} HTTP/1.1\r\n\r\n").startswith(f"HTTP/1.1 {why}"), address
    assert outcome("ask", "\r\n\r\n").startswith("HTTP/1.1 400 ")
    assert "405: isolation.egress lets out https" in outcome("fetch", "http://example.com/", 1)
    refused = outcome("fetch", f"https://127.0.0.1:{other}/", 1)
    assert f"Tunnel connection failed: 403 127.0.0.1:{other} is not in the pool's isolation.egress" in refused
    output = "".join(path.read_text() for path in host.state.glob("workers/*/output.log"))
    assert output.count(f"a job was not let out: 403 127.0.0.1:{other} is not in") == 1

    assert parse_traceback(outcome("directly", site.port)).exc_type == "ConnectionRefusedError"
    for task, kind in (("by_name", "socket.gaierror"), ("afar", "OSError")):
        said = outcome(task)
        assert parse_traceback(said).exc_type == kind
        assert said.startswith("The pool's isolation lets a job out through the proxy that HTTPS_PROXY names")
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_a_tunnel_ends_with_its_job(host: AgentHost, listener: socket.socket, shared: Path) -> None:  # noqa: F811
    pool(host, egress=[f"127.0.0.1:{port_of(listener)}"], preload=["outside"], writable=[str(shared)])
    queue = Queue("mail", connection=host.valkey.client)
    job = queue.enqueue("outside.hold_open", port_of(listener), str(shared / "said"), job_timeout=5)
    line, _ = listener.accept()
    with line:
        line.settimeout(HALF_A_MINUTE)
        assert line.recv(10) == b"hello"
        assert line.recv(10) == b"", "the job was killed"
    assert "JobTimeoutException" in ended(host, job).exc_string
    assert (shared / "said").read_bytes().startswith(b"HTTP/1.1 200 ")
    many = queue.enqueue("outside.as_many_as", egress.MOST_CONNECTIONS + 5, port_of(listener), job_timeout=60)
    assert ended(host, many).return_value == egress.MOST_CONNECTIONS


def test_full_tunnels_of_a_job_are_none_of_the_next_ones(host: AgentHost, listener: socket.socket) -> None:
    """Nobody at their other end takes anything in, so that no end of a job is seen there."""
    with contextlib.ExitStack() as accepted:

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    accepted.enter_context(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        _clogged(host, port_of(listener))


def _clogged(host: AgentHost, port: int) -> None:
    pool(host, egress=[f"127.0.0.1:{port}"], preload=["outside"])
    queue = Queue("mail", connection=host.valkey.client)
    for _ in range(2):
        clog = queue.enqueue("outside.clog", 20, port, job_timeout=60)
        assert ended(host, clog).return_value == 20
    many = queue.enqueue("outside.as_many_as", egress.MOST_CONNECTIONS, port, job_timeout=60)
    assert ended(host, many).return_value == egress.MOST_CONNECTIONS
    assert not host.events("worker.lost")


def test_a_side_that_has_said_all_still_hears_the_answer(host: AgentHost, listener: socket.socket) -> None:
    pool(host, egress=[f"127.0.0.1:{port_of(listener)}"], preload=["outside"])
    queue = Queue("mail", connection=host.valkey.client)
    job = queue.enqueue("outside.ask_to_the_end", port_of(listener), "question", job_timeout=60)
    line, _ = listener.accept()
    with line:
        line.settimeout(HALF_A_MINUTE)
        asked = b"".join(iter(lambda: line.recv(100), b""))
        line.sendall(b"answer to " + asked)
    assert ended(host, job).return_value == "answer to question"


def test_a_proxy_that_dies_comes_back_with_the_next_sandbox(host: AgentHost, site: Hook) -> None:
    uid = pool(host, egress=[f"127.0.0.1:{site.port}"], preload=["outside"])
    queue = Queue("mail", connection=host.valkey.client)
    (worker,) = host.workers(uid)

    def fetched() -> Any:
        return ended(host, queue.enqueue("outside.fetch", site.url(scheme="https"), 3)).return_value

    assert fetched() == "xxx"
    before = children(worker["pid"])
    (proxy,) = [pid for pid in before if b"egress" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(proxy, signal.SIGKILL)
    gone(proxy)
    assert fetched() == "xxx"
    after = children(worker["pid"])
    assert not set(before) & set(after)
    assert len(after) == len(before) == 2
    assert fetched() == "xxx"
    assert children(worker["pid"]) == after, "and stays"


# The system's resolver asks the host's DNS, which a test cannot make slow.
SLOW_DNS = """
import socket, sys, threading
from pools.runtime.sandbox import egress

def looked_up(host, *more, **and_more):
    if host == "slow.example":
        threading.Event().wait()
    raise OSError("no such name")

socket.getaddrinfo = looked_up
egress.main(int(sys.argv[1]), int(sys.argv[2]), "worker", ["slow.example:443", "unknown.example:443"])
"""


def test_a_name_that_is_looked_up_too_long_ends_its_proxy() -> None:
    """The resolver cannot be stopped, so that a job would find all of its threads taken by the job before."""
    ours, theirs = socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as outside, ours:
        command = [sys.executable, "-c", SLOW_DNS, str(outside.fileno()), str(os.getpid())]
        with theirs:
            proxy = subprocess.Popen(command, stdin=theirs.fileno(), pass_fds=[outside.fileno()])
        try:
            ours.settimeout(HALF_A_MINUTE)
            assert b"502" in asked_for(outside, "unknown.example").recv(100)
            ours.sendall(b"o")
            assert ours.recv(1) == b"."
            waiting = [asked_for(outside, "slow.example") for _ in range(2 * egress.MOST_NAMES)]
            assert b"502" in waiting[-1].recv(100), "after ten seconds"
            ours.sendall(b"o")
            assert ours.recv(1) == b"", "for it is gone"
            assert proxy.wait(HALF_A_MINUTE) == 0
        finally:
            proxy.kill()
            proxy.wait()


def asked_for(proxy: socket.socket, host: str) -> socket.socket:
    line = socket.create_connection(proxy.getsockname(), HALF_A_MINUTE)
    line.sendall(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())
    return line


def test_no_proxy_where_the_list_is_empty(host: AgentHost) -> None:
    uid = pool(host, preload=["outside"])
    assert "egress" not in host.pool(uid)["isolation"]
    queue = Queue("mail", connection=host.valkey.client)
    assert "KeyError: 'HTTPS_PROXY'" in ended(host, queue.enqueue("outside.proxy")).exc_string


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [
        ("api.example.com", 443, True),
        ("api.example.com", 8443, False),
        ("example.com", 443, False),
        ("x.api.example.com", 443, False),
        ("notapi.example.com", 443, False),
        ("a.example.org", 443, True),
        ("a.b.example.org", 443, True),
        ("example.org", 443, False),
        ("badexample.org", 443, False),
        ("192.0.2.7", 5432, True),
        ("2001:db8::1", 443, True),
        ("2001:db8::2", 443, False),
    ],
)
def test_what_the_list_permits(host: str, port: int, allowed: bool) -> None:
    listed = ["api.example.com:443", "*.example.org:443", "192.0.2.7:5432", "[2001:db8::1]:443"]
    assert egress.permits(listed, host, port) is allowed


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.8.0.1", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("169.254.169.254", True),
        ("fe80::1%eth0", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("2002:7f00:1::", True),
        ("fd00:ec2::254", True),
        ("100.100.100.200", True),
        ("168.63.129.16", True),
        ("198.51.100.7", False),
        ("64:ff9b::c633:6407", False),
        ("2001:db8::1", False),
    ],
)
def test_where_no_name_leads(address: str, near: bool) -> None:
    assert egress._is_near(address) is near


def test_no_name_leads_to_this_host() -> None:
    assert egress._is_ours("127.0.0.1")
    assert not egress._is_ours("198.51.100.7")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as way, contextlib.suppress(OSError):  # no other address
        way.connect(("198.51.100.7", 9))
        assert egress._is_near(way.getsockname()[0])


@pytest.mark.parametrize("port", ["0", "65536", "000443", "1" + "0" * 5000, "x", ""])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(egress.Refused, match="a host and a port are needed"):
        egress.asked(f"CONNECT a.example:{port} HTTP/1.1\r\n\r\n".encode())
