"""Jobs that want out of a sandbox."""

import os
import socket
import ssl
import time
import urllib.parse
import urllib.request
from pathlib import Path


def proxy():
    place = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
    return place.hostname, place.port


def fetch(url, size):
    """As any client does that heeds HTTPS_PROXY: post so many bytes, and return the answer's text."""
    context = ssl._create_unverified_context()
    with urllib.request.urlopen(url, b"x" * size, timeout=30, context=context) as answer:
        return answer.read().decode()


def ask(request):
    """What the proxy answers: its first line."""
    with socket.create_connection(proxy(), 30) as line:
        line.sendall(request.encode("latin-1"))
        return line.makefile().readline().strip()


def directly(port):
    socket.create_connection(("127.0.0.1", port), 5)


def by_name():
    socket.create_connection(("example.com", 443), 5)


def afar():
    socket.create_connection(("192.0.2.1", 443), 5)


def hold_open(port, path):
    """A tunnel that lasts as long as the job."""
    with socket.create_connection(proxy(), 30) as line:
        line.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        said = line.recv(100)
        line.sendall(b"hello")
        Path(path).write_bytes(said)
        time.sleep(60)


def as_many_as(most, port):
    """How many tunnels are given at a time."""
    lines, given = [], 0
    for _ in range(most):
        line = socket.create_connection(proxy(), 30)
        line.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        given += line.recv(100).startswith(b"HTTP/1.1 200")
        lines.append(line)
    return given


def clog(most, port):
    """Tunnels full of what nobody takes in; how many there were."""
    lines = []
    for _ in range(most):
        line = socket.create_connection(proxy(), 30)
        line.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        if not line.recv(100).startswith(b"HTTP/1.1 200"):
            break
        line.settimeout(0.2)
        try:
            while True:
                line.sendall(b"x" * 65536)
        except TimeoutError:
            lines.append(line)
    return len(lines)


def ask_to_the_end(port, question):
    """Say all there is to say, close that way, and hear the answer."""
    with socket.create_connection(proxy(), 30) as line:
        line.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 200")
        line.sendall(question.encode())
        line.shutdown(socket.SHUT_WR)
        return line.makefile().read()
