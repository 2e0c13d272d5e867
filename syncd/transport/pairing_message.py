"""Messages of a pairing exchange: one flat JSON object of strings, at most 8 KiB. Hostile until checked."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Mapping

from syncd.core.errors import FrameError, LinkLost
from syncd.core.settings import Limits, check_name
from syncd.transport.link import Link
from syncd.transport.websocket import PAIR_BYTES_MAX


class Talk:
    """One end of an exchange. ``frames``: all that both said, in order, as it was on the wire."""

    def __init__(self, link: Link, limits: Limits) -> None:
        self.link = link
        self.frames: list[str] = []
        self._limits = limits

    async def say(self, message: Mapping[str, str]) -> None:
        frame = encode(message)
        self.frames.append(frame)
        await self.link.send(frame)

    async def hear(self) -> dict[str, str]:
        """The next message. Raises FrameError, and LinkLost for a peer that is gone or keeps silent."""
        try:
            async with asyncio.timeout(self._limits.hello_s_max):
                frame = await self.link.receive()
        except TimeoutError as error:
            raise LinkLost(f"{self.link.address} said nothing for {self._limits.hello_s_max:g} s") from error
        message = decode(frame)
        self.frames.append(str(frame))
        return message


def encode(message: Mapping[str, str]) -> str:
    return json.dumps(message)


def decode(frame: bytes | str) -> dict[str, str]:
    """Raises FrameError."""
    if not isinstance(frame, str) or len(frame.encode()) > PAIR_BYTES_MAX:
        raise FrameError("a pairing message is text of at most 8 KiB")
    try:
        pairs = json.loads(frame, object_pairs_hook=tuple)  # an array stays a list
    except (ValueError, RecursionError) as error:
        raise FrameError("a pairing message is no JSON") from error
    if not isinstance(pairs, tuple) or not all(_is_pair(pair) for pair in pairs):
        raise FrameError("a pairing message is one flat object of strings")
    message = dict(pairs)
    if len(message) != len(pairs):
        raise FrameError("a pairing message names something twice")
    return message


def _is_pair(pair: object) -> bool:
    return isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)


def get(message: Mapping[str, str], name: str) -> str:
    if name not in message:
        raise FrameError(f"a pairing message lacks {name!r}")
    return message[name]


def get_bytes(message: Mapping[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(get(message, name), validate=True)
    except (binascii.Error, ValueError) as error:
        raise FrameError(f"{name!r} of a pairing message is no base64") from error


def get_name(message: Mapping[str, str], name: str) -> str:
    try:
        return check_name(name, get(message, name))
    except ValueError as error:
        raise FrameError(str(error)) from error


def get_port(message: Mapping[str, str], name: str) -> int:
    digits = get(message, name)
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise FrameError(f"{name!r} of a pairing message is no port")
    return int(digits)


def put_bytes(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
