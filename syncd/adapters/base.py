"""What an adapter is (claims 20c, 20e): generic messages <-> the form that a platform speaks."""

from __future__ import annotations

from typing import Protocol

from syncd.core.messages import Wire
from syncd.core.settings import Limits


class Adapter(Protocol):
    """``decode`` raises FrameError for whatever is not exactly a message. ``restore`` takes the bytes of a frame that
    ``decode`` accepted before (a text as UTF-8) and does not check its sense again."""

    @property
    def name(self) -> str: ...

    def encode(self, message: Wire) -> bytes | str: ...

    def decode(self, frame: bytes | str, limits: Limits) -> Wire: ...

    def restore(self, kept: bytes) -> Wire: ...
