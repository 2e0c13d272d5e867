"""A link: one websocket to one device (R10, R15).

A blocked send has its own deadline, because the keepalive ping waits behind the same full buffer and never notices.
The device id comes from TLS, never from a frame. One frame is one websocket message, text or binary as the adapter
made it; it arrives whole or not at all.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from typing import TypedDict

from websockets.asyncio.connection import Connection
from websockets.exceptions import ConnectionClosed
from websockets.frames import CloseCode
from websockets.protocol import State

from syncd.core.errors import REFUSALS, FrameError, LinkLost, PeerError
from syncd.core.settings import Limits
from syncd.transport.address import format_address

PING_S = 10.0  # between keepalive pings
PONG_S_MAX = 20.0  # waiting for the answer; then the link is lost
CLOSE_S_MAX = 2.0  # waiting for the peer to agree to the end; then the connection is aborted
QUEUE_FRAMES_MAX = 64  # unread frames; then the socket is not read. More than a credit window of full frames
WRITE_BYTES_MAX = 256 * 1024  # unsent bytes; then ``send`` waits
_REASON_BYTES_MAX = 123  # the websocket protocol's limit

_LOGGER = logging.getLogger("syncd.transport.websockets")
_LOGGER.setLevel(logging.WARNING)  # the package tells every connection at INFO


class Settings(TypedDict):
    compression: None
    open_timeout: float
    ping_interval: float
    ping_timeout: float
    close_timeout: float
    max_queue: int
    write_limit: int
    logger: logging.Logger


def websocket_settings(limits: Limits) -> Settings:
    """The settings that both ends share."""
    return {
        "compression": None,  # many times slower, and a way to send bombs
        "open_timeout": limits.open_s_max,
        "ping_interval": PING_S,
        "ping_timeout": PONG_S_MAX,
        "close_timeout": CLOSE_S_MAX,
        "max_queue": QUEUE_FRAMES_MAX,
        "write_limit": WRITE_BYTES_MAX,
        "logger": _LOGGER,
    }


class Link:
    """``device``: the peer's id, from TLS (empty for a stranger who pairs). ``address``: the peer's ``host:port``;
    ``host`` is empty where the connection was lost meanwhile."""

    def __init__(self, websocket: Connection, device: str, limits: Limits) -> None:
        self.device = device
        host, port = (websocket.remote_address or ("", 0))[:2]
        self.host = str(host)
        self.address = format_address(self.host, port)
        self.refusal = ""  # code of ``REFUSALS`` that the peer closed the link with
        self._websocket = websocket
        self._limits = limits
        self._ended = ""  # why this end ended it
        _tune(websocket, limits)

    @property
    def is_open(self) -> bool:
        return self._websocket.state is State.OPEN

    def send_at_once(self, frame: bytes | str) -> bool:
        """Whether the frame is on its way: it is where no other waits. What ``send`` does then, without a deadline, for
        which there is no need, and without a task."""
        websocket = self._websocket
        if websocket.state is not State.OPEN or websocket.transport.get_write_buffer_size() > 0:
            return False
        if isinstance(frame, str):
            websocket.protocol.send_text(frame.encode())
        else:
            websocket.protocol.send_binary(frame)
        websocket.send_data()
        return True

    async def send(self, frame: bytes | str) -> None:
        """Returns when the frame is on its way. Raises LinkLost."""
        try:
            async with asyncio.timeout(self._limits.send_s_max):
                await self._websocket.send(frame)
        except TimeoutError as error:
            self._ended = self._ended or f"it took nothing for {self._limits.send_s_max:g} s"
            self.abort()
            raise self._lost(self._ended) from error
        except ConnectionClosed as error:
            over = self._over(error)  # the peer's breach is told once, by ``receive``
            raise (over if isinstance(over, LinkLost) else self._lost("it broke the rules")) from error

    async def receive(self) -> bytes | str:
        """The next frame. Raises LinkLost when the link is over, FrameError when the peer broke the rules."""
        try:
            return await self._websocket.recv()
        except ConnectionClosed as error:
            raise self._over(error) from error

    async def answers(self, within_s: float) -> bool:
        """Whether the other end is there and reads: it answers a ping in this time."""
        try:
            async with asyncio.timeout(within_s):
                pong = await self._websocket.ping()
                await pong
        except (TimeoutError, ConnectionClosed):
            return False
        return True

    async def close(self, reason: str = "", within_s: float = CLOSE_S_MAX) -> None:
        """Ends the link after what was sent before. ``reason``: a code of ``REFUSALS``, or empty."""
        self._ended = self._ended or "this end closed it"
        reason = reason.encode()[:_REASON_BYTES_MAX].decode(errors="ignore")
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._websocket.close(CloseCode.NORMAL_CLOSURE, reason)
        finally:
            self.abort()

    def abort(self) -> None:
        """Ends the link at once; nothing more is sent."""
        self._ended = self._ended or "this end broke it off"
        self._websocket.transport.abort()

    def _over(self, closed: ConnectionClosed) -> PeerError:
        """Why the link is over, and whose fault that is."""
        if closed.sent is not None and not closed.rcvd_then_sent and not self._ended:
            return self._failed(closed.sent.code)
        if closed.rcvd is None or self._ended:
            return self._lost(self._ended or "the connection was torn")
        if closed.rcvd.code == CloseCode.MESSAGE_TOO_BIG:
            return self._lost("it found a frame too large", "too-large")
        if closed.rcvd.reason in REFUSALS:
            self.refusal = closed.rcvd.reason
            return self._lost(f"it closed the link ({self.refusal})", self.refusal)
        return self._lost("it closed the link")

    def _failed(self, code: int) -> PeerError:
        """The websocket package ended the link by itself."""
        if code == CloseCode.MESSAGE_TOO_BIG:
            limit = self._websocket.protocol.max_message_size
            return FrameError(
                f"{self.address} sent a frame of more than {limit} bytes", REFUSALS["too-large"], "too-large"
            )
        if code in (CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA, CloseCode.UNSUPPORTED_DATA):
            return FrameError(f"{self.address} broke the websocket protocol", REFUSALS["bad-frame"])
        return self._lost(f"it answered no ping for {PONG_S_MAX:g} s")

    def _lost(self, why: str, code: str = "") -> LinkLost:
        return LinkLost(f"the link to {self.address} is over: {why}", REFUSALS.get(code, ""), code)


def _tune(websocket: Connection, limits: Limits) -> None:
    """No delay for small frames; the kernel gives up on a peer that acknowledges nothing."""
    connection = websocket.transport.get_extra_info("socket")
    if connection is None:
        return  # over already
    with contextlib.suppress(OSError):  # closed meanwhile
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(limits.send_s_max * 1000))


def peer_certificate(websocket: Connection) -> bytes | None:
    """The certificate (DER) that the peer showed in the TLS handshake."""
    tls = websocket.transport.get_extra_info("ssl_object")
    shown: bytes | None = tls.getpeercert(binary_form=True) if tls is not None else None
    return shown
