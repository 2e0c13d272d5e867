"""SPAKE2 over the secret of a code, and the confirmations that both ends make of its key.

The auxiliary is side A, the primary side B; each names both fingerprints as it knows them, the auxiliary that of the
certificate that it saw in TLS: where somebody stands between with a certificate of their own, the keys do not agree. A
wrong guess of the secret shows only in a confirmation, and only as wrong.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from syncd.core.errors import FrameError
from syncd.core.model import Role

_MESSAGE_BYTES = 33  # side and point; the package would read a longer one as if its end were not there
_KEY_BYTES = 32
_LABEL = b"syncd pair code 1 "

T = TypeVar("T")


class Ends(NamedTuple):
    """The fingerprints of both."""

    auxiliary: bytes
    primary: bytes


class Pake:
    """One end of one exchange: ``message`` goes to the other. Slow (pure Python, some milliseconds a step)."""

    def __init__(self, role: Role, secret: bytes, ends: Ends, entropy: Callable[[int], bytes] = os.urandom) -> None:
        from spake2 import SPAKE2_A, SPAKE2_B  # 50 ms, which a daemon that pairs nobody does not spend

        side = SPAKE2_A if role is Role.AUXILIARY else SPAKE2_B
        self._side = side(secret, idA=ends.auxiliary, idB=ends.primary, entropy_f=entropy)
        self.message: bytes = self._side.start()

    def key(self, message: bytes) -> bytes:
        """The key that the message of the other end leads to. Raises FrameError for what is no message of that end:
        one of this end come back, no point of the curve, a point outside of the group."""
        try:
            if len(message) != _MESSAGE_BYTES:
                raise ValueError(len(message))
            key: bytes = self._side.finish(message)
        except Exception as error:  # the package raises many classes on hostile bytes; any of them means no
            raise FrameError(f"what was offered for the exchange is not valid ({type(error).__name__})") from error
        return key


async def aside(work: Callable[[], T]) -> T:
    """A step of an exchange, in a thread that ends with it: other links go on meanwhile."""
    with ThreadPoolExecutor(1, "pairing") as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work)


def confirm(key: bytes, role: Role, ends: Ends, frames: Sequence[str]) -> bytes:
    """What shows that ``role`` has the key, for these two devices and after these messages of the exchange."""
    own = HKDF(SHA256(), _KEY_BYTES, salt=None, info=_LABEL + role.value.encode()).derive(key)
    said = [frame.encode() for frame in frames]
    transcript = b"".join(len(frame).to_bytes(4, "big") + frame for frame in said)
    return hmac.digest(own, ends.auxiliary + ends.primary + transcript, "sha256")
