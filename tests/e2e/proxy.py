"""A TCP proxy between an auxiliary and its primary that counts what passes and breaks links off at any byte."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_PIECE = 16 * 1024


class Proxy:
    """``cuts``: for the next link, then the one after it, ...: after how many bytes towards the auxiliary it is broken
    off; links after those live. ``passed``: bytes towards the auxiliary, over all links; ``links``: how many there
    were; ``said``: the bytes towards the primary. ``watch``, if given, is called with ``passed`` before each piece
    towards the auxiliary, ``step`` before each piece either way. ``at``: where it listens."""

    def __init__(self, target: str, *cuts: int, at: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._listening = socket.create_server(at)
        self._threads: list[threading.Thread] = []
        self._end = threading.Event()
        self._open: set[socket.socket] = set()
        self.cuts = list(cuts)
        self.passed = 0
        self.links = 0
        self.said = bytearray()
        self.watch: Callable[[int], None] | None = None
        self.step: Callable[[], None] | None = None

    @property
    def address(self) -> str:
        return "{}:{}".format(*self._listening.getsockname())

    def __enter__(self) -> Self:
        self._begin(self._accept, "proxy")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join(30.0)
        self._listening.close()

    def cut(self) -> None:
        """Breaks off each link that lives."""
        for near in list(self._open):
            with contextlib.suppress(OSError):
                near.shutdown(socket.SHUT_RDWR)

    def _begin(self, work: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=work, name=name)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._end.is_set():
            if not select.select([self._listening], [], [], 0.05)[0]:
                continue
            near, _ = self._listening.accept()
            self.links += 1
            left = self.cuts.pop(0) if self.cuts else -1
            self._begin(lambda: self._carry(near, left), f"link {self.links}")  # noqa: B023

    def _carry(self, near: socket.socket, left: int) -> None:
        with near, contextlib.suppress(OSError), socket.create_connection(self._target, timeout=30.0) as far:
            self._open.add(near)
            while not self._end.is_set():
                for end in select.select([near, far], [], [], 0.05)[0]:
                    piece = end.recv(_PIECE)
                    if self.step is not None:
                        self.step()
                    if end is near:
                        self.said += piece
                    else:
                        if self.watch is not None:
                            self.watch(self.passed)
                        piece = piece if left < 0 else piece[:left]
                        left = max(-1, left - len(piece)) if left >= 0 else left
                        self.passed += len(piece)
                    (near if end is far else far).sendall(piece)
                    if not piece or left == 0:
                        self._open.discard(near)
                        return
