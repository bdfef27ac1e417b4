"""The witness's HTTP side: two paths, small requests, few connections, none of them for long."""

import socket
import sys
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from audit.witness import Answer, Witness

BODY_LIMIT = 128 * 1024
CONNECTIONS = 64
IDLE = 10.0
"""Seconds that a peer may stay silent."""
LONGEST = 30.0
"""Seconds that a connection lives, whatever its peer sends."""


class Server(ThreadingHTTPServer):
    """Serves one witness. Connections beyond ``CONNECTIONS`` are closed at once."""

    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, witness: Witness) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.witness = witness
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Without the base class's look-up of a name for the address."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        ends = threading.Timer(LONGEST, _hang_up, [request])
        ends.daemon = True
        ends.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            ends.cancel()
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that hangs up is none."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "poolwarden-witness"
    sys_version = ""
    timeout = IDLE

    def do_GET(self) -> None:
        if self.path == "/":
            self._send(Answer(200, _summary(self.server.witness)))
        else:
            self._send(Answer(404, "Nothing is here.\n"))

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or "Transfer-Encoding" in self.headers:
            self._refuse(Answer(411, "Say the length of the request.\n"))
        elif len(length) > 9 or int(length) > BODY_LIMIT:
            self._refuse(Answer(413, f"A request has at most {BODY_LIMIT} bytes.\n"))
        elif self.path != "/add-checkpoint":
            self._refuse(Answer(404, "Nothing is here.\n"))
        else:
            body = self.rfile.read(int(length))
            self._send(self._add_checkpoint(body) if len(body) == int(length) else Answer(400, "It is cut short.\n"))

    def _add_checkpoint(self, body: bytes) -> Answer:
        try:
            answer = self.server.witness.add_checkpoint(body)
        except OSError as error:
            answer = Answer(500, "The witness cannot record the checkpoint.\n", why=f"cannot record: {error}")
        self.log_message("%s", f"{answer.status} {answer.why or answer.body.strip()}")
        return answer

    def _refuse(self, answer: Answer) -> None:
        """Without reading the request; so the connection cannot be used again."""
        self.close_connection = True
        self._send(answer)

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Answers to add-checkpoint are logged, with their reason; the rest is noise."""


def _summary(witness: Witness) -> str:
    lines = [f"witness {witness.key.name}", str(witness.key.verifier)]
    for origin, newest in sorted(witness.newest().items()):
        lines += ["", f"log {origin}", f"size {newest.size}", f"root {newest.root.hex()}"]
    return "\n".join([*lines, ""])


def _hang_up(request: socket.socket) -> None:
    with suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
