"""A TCP proxy between agents and their broker, that loses connections and answers as networks do."""

import random
import re
import socket
import threading
from collections import Counter
from contextlib import suppress

LOSABLE = re.compile(rb"\r\n(EXEC|EVALSHA|EVAL)\r\n", re.IGNORECASE)


class Proxy:
    """Listens on ``port`` of loopback. ``lose`` is the chance (0-1) that the answer to an EXEC or a script is lost.

    A lost answer: the broker has done what it was asked, and the connection ends before anybody hears of it.
    ``lost`` counts them by command. ``target``: the port that new connections lead to.
    """

    def __init__(self, target: int, *, seed: int = 1) -> None:
        self.lose = 0.0
        self.lost: Counter[str] = Counter()
        self.target = target
        self._chance = random.Random(seed)
        self._open: set[socket.socket] = set()
        self._still: set[socket.socket] = set()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut(self) -> None:
        """End every connection that is open now."""
        for side in list(self._open):
            self._end(side)

    def half_open(self) -> None:
        """Every connection that is open now stays open, and nothing passes it any more."""
        self._still |= self._open

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            near.close()
            return
        self._open |= {near, far}
        doomed: list[str] = []  # the command whose answer is to be lost
        threading.Thread(target=self._pass_on, args=(far, near, doomed), daemon=True).start()
        with suppress(OSError):
            while data := near.recv(65536):
                if near in self._still:
                    continue
                losable = LOSABLE.search(data)
                if losable and self._chance.random() < self.lose:
                    doomed.append(losable[1].decode().upper())
                far.sendall(data)
        self._end(near)
        self._end(far)

    def _pass_on(self, far: socket.socket, near: socket.socket, doomed: list[str]) -> None:
        with suppress(OSError):
            while data := far.recv(65536):
                if far in self._still:
                    continue
                if doomed:
                    self.lost[doomed[0]] += 1
                    break
                near.sendall(data)
        self._end(near)
        self._end(far)

    def _end(self, side: socket.socket) -> None:
        self._open.discard(side)
        self._still.discard(side)
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
        side.close()
