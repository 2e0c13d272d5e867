"""What the client makes of a daemon that answers wrongly."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncd.control.client import ask
from syncd.control.protocol import DaemonSilent


@contextmanager
def answers_with(path: Path, raw: bytes) -> Iterator[None]:
    """A daemon that reads one request, answers with these bytes and closes."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            link, _ = listening.accept()
            with link:
                link.recv(65_536)
                link.sendall(raw)

        thread = threading.Thread(target=serve, name="fake-daemon")
        thread.start()
        try:
            yield
        finally:
            thread.join(5)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'{"ok": true, "result"',
        b"hello\n",
        b"[]\n",
        b'{"ok": true}\n',
        b'{"ok": true, "result": 3}\n',
        b'{"ok": false, "error": {"code": 1}}\n',
    ],
)
def test_an_answer_of_another_shape_is_an_error_in_words(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "syncd.sock"
    with answers_with(path, raw), pytest.raises(DaemonSilent):
        ask(path, "status", {}, 5.0)


def test_an_answer_in_pieces_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "syncd.sock"
    big = "x" * 500_000
    with answers_with(path, b'{"ok": true, "result": {"text": "' + big.encode() + b'"}}\n'):
        assert ask(path, "status", {}, 5.0) == {"text": big}
