"""The control socket of a daemon: the status socket and the verbs of the command line.

Owns the socket file (0600, or 0660 with the configured group), its connections and their bounds (R15). Whoever can
open the file is asked for by the kernel (SO_PEERCRED): root and the daemon's own user may use each verb, members of
the group those that only read. Whatever a connection sends, the daemon lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import stat
import struct
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Self

from syncd.control.protocol import (
    VERBS,
    NotAllowed,
    Request,
    RequestError,
    encode_error,
    encode_result,
    parse_request,
)
from syncd.core.errors import HomeError, SyncdError
from syncd.core.settings import Limits

Handler = Callable[[str, dict[str, object]], Awaitable[dict[str, object]]]

ASKER: ContextVar[int] = ContextVar("ASKER", default=-1)  # the user (uid) whose verb is being answered; -1: nobody's

_log = logging.getLogger(__name__)
_BACKLOG = 32
_ACCEPT_PAUSE_S = 1.0
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid


class ControlServer:
    """Serves ``handler(verb, args)`` at ``path`` while the context is open."""

    def __init__(self, path: Path, handler: Handler, group: str = "", limits: Limits | None = None) -> None:
        self.path = path
        self._handler = handler
        self._group = group
        self._limits = limits or Limits()
        self._links: set[asyncio.Task[None]] = set()
        self._count = 0
        self._listening: socket.socket | None = None
        self._inode = 0
        self._pause: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        self._listening = _bind(self.path, self._group)
        self._inode = self.path.stat().st_ino
        self._listening.listen(_BACKLOG)
        self._watch(self._listening)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pause is not None:
            self._pause.cancel()
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening)
            self._listening.close()
        for task in self._links:
            task.cancel()
        await asyncio.gather(*self._links, return_exceptions=True)
        try:
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass

    def _watch(self, listening: socket.socket) -> None:
        asyncio.get_running_loop().add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        """Takes one connection. By hand: asyncio's server loses one that comes while it closes, and names no tasks."""
        try:
            link, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:  # out of descriptors or memory: the connection waits, the loop must not spin
            _log.warning("no connection can be taken: %s", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listening)
            self._pause = loop.call_later(_ACCEPT_PAUSE_S, self._watch, listening)
            return
        link.setblocking(False)
        most = self._limits.control_links_max
        if len(self._links) >= most:
            with link, contextlib.suppress(OSError):
                link.send(encode_error(SyncdError(f"{most} connections are open", "try again", "too-many")))
            return
        self._count += 1
        task = asyncio.create_task(self._serve(link), name=f"control-{self._count}")
        self._links.add(task)
        task.add_done_callback(self._links.discard)
        task.add_done_callback(lambda _: link.close())  # also when it was cancelled before it began

    async def _serve(self, link: socket.socket) -> None:
        """One connection: a line, its answer, the next line, until it ends or nothing comes."""
        limits = self._limits
        user = _peer_user(link)
        reader, writer = await asyncio.open_unix_connection(sock=link, limit=limits.control_line_bytes_max)
        writer.transport.set_write_buffer_limits(high=0)  # drain() waits until all is sent
        try:
            while True:
                async with asyncio.timeout(limits.control_idle_s_max):
                    line = await _read_line(reader)
                if line is None:
                    return
                answer = await self._answer(line, user)
                async with asyncio.timeout(limits.send_s_max):
                    writer.write(answer)
                    await writer.drain()
        except (OSError, TimeoutError):
            return  # the other end is gone, silent, or does not read: its own affair
        finally:
            writer.transport.abort()  # what was not sent by now is dropped: nobody keeps the daemon from stopping

    async def _answer(self, line: bytes, user: int) -> bytes:
        try:
            if len(line) > self._limits.control_line_bytes_max:
                raise RequestError(f"the line is longer than {self._limits.control_line_bytes_max} bytes")
            request = parse_request(line)
            self._check_user(request, user)
            ASKER.set(user)
            async with asyncio.timeout(self._limits.control_verb_s_max):
                return encode_result(await self._handler(request.verb, request.args))
        except SyncdError as error:
            return encode_error(error)
        except TimeoutError:
            return encode_error(SyncdError("the verb did not end in time", "see `syncd status`", "timeout"))
        except Exception as error:
            _log.exception("a verb failed")
            return encode_error(SyncdError(f"{type(error).__name__}: {error}", "see the daemon's log", "internal"))

    def _check_user(self, request: Request, user: int) -> None:
        if user in (0, os.geteuid()):
            return
        if not self._group or not VERBS[request.verb]:
            raise NotAllowed(f"user {user} may not use {request.verb!r} here", "run as root or as the daemon's user")


async def _read_line(reader: asyncio.StreamReader) -> bytes | None:
    """The next line; None at the end. A line that is too long is read away, so that its sender can read the answer:
    what is returned is too long as well, and not all of it."""
    too_long = b""
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError as error:
            too_long = await reader.readexactly(error.consumed) + b" "
        except asyncio.IncompleteReadError as error:
            return too_long or error.partial or None
        else:
            return too_long or line


def _peer_user(link: socket.socket) -> int:
    raw = link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _process, user, _group = _CREDENTIALS.unpack(raw)
    return int(user)


def _bind(path: Path, group: str) -> socket.socket:
    """A socket at ``path`` with its final mode. It does not listen yet: nobody comes in before the mode is set."""
    _clear_stale(path)
    bound = False
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        bound = True
        if group:
            shutil.chown(path, group=group)
        path.chmod(0o660 if group else 0o600)
        listening.setblocking(False)
    except (OSError, LookupError) as error:
        listening.close()
        if bound:
            path.unlink()
        raise HomeError(
            f"cannot make the control socket {path}: {error}", "correct `socket` and `socket_group` in config.toml"
        ) from error
    return listening


def _clear_stale(path: Path) -> None:
    """Removes the socket that a dead daemon left. Nothing else is ever removed."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise HomeError(f"{path} is there and is no socket", "move it away, or set `socket` in config.toml")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            raise HomeError(f"cannot take over the control socket {path}: {error}", "remove it") from error
    raise HomeError(f"a daemon listens at {path}", "stop it first, or set another `socket` in config.toml")
