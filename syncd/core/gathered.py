"""What selections that follow references take at one state of a collection, looked up beside the sync store (R8): the
port for it. It lives as long as somebody asks, and stays out of memory however much that is (R15)."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from syncd.core.references import Object


class Met(NamedTuple):
    """An object that was met. ``own``: the selection takes it by itself. ``targets``: what it references by foreign
    keys that are followed, there or not."""

    object: Object
    own: bool
    targets: tuple[Object, ...]


class Gathered(Protocol):
    """``of``: the number of a selection. First all objects of the collection are added, then ``spread`` is called, then
    it is asked."""

    async def add(self, of: int, met: Iterable[Met]) -> None: ...

    async def spread(self) -> None:
        """All that is referenced by what a selection takes is taken as well. In parts, however long it is."""
        ...

    async def among(self, of: int, objects: Iterable[Object]) -> set[Object]:
        """Those of the objects that are taken, or would be if they were there."""
        ...

    async def led_from(self, of: int, one: Object) -> set[Object]:
        """What an object referenced when it was added."""
        ...


class Gathering(Protocol):
    """The sync store's part in it."""

    def gather(self) -> AbstractAsyncContextManager[Gathered]: ...
