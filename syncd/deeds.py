"""Groups of edits that a person at the primary makes: undo and resolve. They go into the application as an auxiliary's
do, by the writer, and from there into the order like any change of the application's (R1, R11)."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from syncd.core.conflict import ADDED, CHANGED, DELETED_HERE, NOT_AT_BASE
from syncd.core.edits import Edit, EditGroup, Fact, Policy, Ruling, Side, Written
from syncd.core.errors import UserError
from syncd.core.model import DataType, group_id
from syncd.core.ports import CollectionState, SyncStore
from syncd.core.source_port import Source
from syncd.core.upward_ports import UploadQueue, Writer
from syncd.rooms import show_key

ORDER_S_MAX = 30.0  # for the source to be read that far; then the deed is done, but its group is not known
_SINCE = (ADDED, CHANGED, DELETED_HERE, NOT_AT_BASE)  # causes that are no refusal of the application's
_LATEST = 20  # versions of an object among which the one just made is


class Barred(UserError):
    """The application refuses a deed; nothing was changed."""


class Deed(NamedTuple):
    """What a person does: the edits of one collection, and in which words the history tells of it. ``policy`` None:
    just the objects that are as their bases are changed; ``exact``: all of them are, or nothing is changed. ``kept``:
    what is left is kept as a conflict."""

    collection: str
    edits: tuple[Edit, ...]
    words: str
    policy: Policy | None = None
    kept: bool = False
    exact: bool = False


class Done(NamedTuple):
    """What came of it. ``group``: the group that it made, empty if nothing was to be changed or its place in the order
    is not known in time. ``left``: objects that were changed meanwhile and stay as they are; ``conflict``: in which
    these are kept, 0 where none is."""

    group: str
    written: Written
    left: tuple[Side, ...]
    conflict: int


@dataclass
class Deeds:
    """``device``: id of this primary. ``changed``: set whenever a collection may have moved on."""

    store: SyncStore
    uploads: UploadQueue
    writers: Mapping[str, Writer]
    sources: Mapping[str, Source]
    device: str
    wall_us: Callable[[], int]
    changed: asyncio.Event

    def __post_init__(self) -> None:
        self._lock = asyncio.Lock()

    async def collection(self, name: str) -> CollectionState:
        """Raises UserError where it is not shared here."""
        if name not in self.writers:
            raise UserError(f"no collection {name!r} is shared here", "`syncd status` names those that are")
        return await self.store.open_collection(name)

    async def types(self, name: str) -> dict[str, DataType]:
        """By name."""
        return {one.name: one for one in (await self.collection(name)).types}

    async def held(self, name: str, objects: Sequence[tuple[int, bytes]]) -> dict[tuple[int, bytes], bytes | None]:
        """The objects as the application holds them at this moment."""
        found: dict[tuple[int, bytes], bytes | None] = {}
        while waiting := [each for each in objects if each not in found]:
            for one in await self.sources[name].observe(waiting):
                if one.fault:
                    raise UserError(f"an object cannot be read: {one.fault}", "correct it in the application")
                found[one.type, one.key] = one.fields
        return found

    async def do(self, deed: Deed) -> Done:
        """Returns when the group has its place in the order. Raises Barred where the application refuses it."""
        name = deed.collection
        author = f"{self.device} {deed.words}"
        group = EditGroup("", secrets.token_hex(8), 1, self.wall_us(), deed.edits, author=author, exact=deed.exact)
        async with self._lock:
            before = (await self.store.open_collection(name)).head
            written = (await self.writers[name].write([group], deed.policy, await self._facts(deed)))[0]
            left = tuple(
                side for side in written.sides if side.contested and not side.copy and side.result != side.theirs
            )
            seq = 0
            if written.ruling is not Ruling.REFUSED:
                await self._in_order(name, written.mark)
                seq = await self._seq(deed, written, author, before)
            conflict = 0
            barred = written.ruling is Ruling.REFUSED and written.cause not in _SINCE
            if left and deed.kept and not barred:
                told = await self.uploads.settle(name, [written], seq, "", self.wall_us())
                conflict = next((one.conflict for one in told.get("", ())), 0)
            await self.writers[name].settled([(group.device, group.outbox, group.number)])
        if barred:
            guilty = written.guilty
            what = f" ({guilty.type} {show_key(guilty.key)})" if guilty else ""
            raise Barred(
                f"the application refuses it: {written.cause}{what}", "remove the cause there, then say it again"
            )
        return Done(group_id(name, seq) if seq else "", written, left, conflict)

    async def _facts(self, deed: Deed) -> dict[tuple[int, bytes], Fact]:
        facts = await self.store.facts(deed.collection, deed.edits)
        return {(edit.type, edit.key): fact for edit, fact in zip(deed.edits, facts, strict=True)}

    async def _in_order(self, name: str, mark: int) -> None:
        """Until the source was read up to the mark and that is published; not for ever: it may be offline just now."""
        try:
            async with asyncio.timeout(ORDER_S_MAX):
                while True:
                    self.changed.clear()
                    state = await self.store.open_collection(name)
                    if state.mark >= mark and state.published:
                        return
                    await self.changed.wait()
        except TimeoutError:
            return

    async def _seq(self, deed: Deed, written: Written, author: str, before: int) -> int:
        """Of the group that came of it: it says whose it is. Where nothing was to be written, of the one that did so
        at an earlier time, at or before the head ``before``."""
        earlier = 0
        types = {one.name: one.id for one in (await self.store.open_collection(deed.collection)).types}
        copies = [(types.get(side.object.type, 0), side.copy) for side in written.sides if side.copy]
        for type_, key in [*((edit.type, edit.key) for edit in deed.edits), *copies]:
            versions = await self.store.history(deed.collection, type_, key, _LATEST)
            seq = next((one.seq for one in versions if one.author == author), 0)
            if seq > before:
                return seq
            earlier = max(earlier, seq)
        return earlier
