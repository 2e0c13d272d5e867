"""Asks the daemon of a home over its control socket. Synchronous: for the command line and for scripts."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from syncd.control.protocol import (
    ANSWER_BYTES_MAX,
    DaemonNotRunning,
    DaemonSilent,
    NotAllowed,
    encode_request,
    parse_answer,
)
from syncd.core.errors import HomeError


def ask(socket_path: Path, verb: str, args: dict[str, object], timeout_s: float) -> dict[str, object]:
    """The result of a verb. Raises DaemonNotRunning when nobody listens, and the daemon's own error if it refuses."""
    deadline = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(timeout_s)
        _connect(link, socket_path)
        try:
            link.sendall(encode_request(verb, args))
            return parse_answer(_read_line(link, deadline))
        except TimeoutError as error:
            raise DaemonSilent(f"the daemon did not answer within {timeout_s:g} s", "see its log") from error
        except OSError as error:
            raise DaemonSilent(f"the daemon closed the connection ({error.strerror})", "see its log") from error


def _connect(link: socket.socket, path: Path) -> None:
    try:
        link.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise DaemonNotRunning("the daemon is not running", "start it with `syncd run` (or systemctl)") from error
    except PermissionError as error:
        raise NotAllowed(
            f"not allowed to talk to the daemon at {path}", "run as its user, or join its socket_group"
        ) from error
    except TimeoutError as error:
        raise DaemonSilent(f"the daemon at {path} takes no connection", "see its log") from error
    except OSError as error:
        raise HomeError(f"{path} is no control socket ({error})", "set `socket` in config.toml") from error


def _read_line(link: socket.socket, deadline: float) -> bytes:
    answer = bytearray()
    while not answer.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        link.settimeout(left)
        piece = link.recv(64 * 1024)
        if not piece:
            raise DaemonSilent("the daemon closed the connection without an answer", "see its log")
        answer += piece
        if len(answer) > ANSWER_BYTES_MAX:
            raise DaemonSilent("the daemon's answer is too long", "ask for less, as with --limit")
    return bytes(answer)
