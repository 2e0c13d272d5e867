"""One device that follows one collection: where its transfer stands and when it is sent more (R3, R5, R15)."""

from __future__ import annotations

from dataclasses import dataclass

from syncd.core.events import ChunkRead
from syncd.core.frozen import replace
from syncd.core.messages import Begin, Follow
from syncd.core.ports import ChunkRequest, CollectionState
from syncd.core.selection import ALL, Selection


@dataclass(frozen=True)  # no slots, for ``frozen.replace``
class Following:
    """``asked``: the Follow that waits for the collection to be ready, None once it was answered.

    ``base``, ``floor``, ``cursor``: see ``Begin``. ``reading``: a chunk was ordered. ``owes_cut``: frames were sent
    since the last cut. ``version``: newest state of the store that any frame of the transfer was read from.
    ``sent_bytes``, ``credited_bytes``: since the link began.
    """

    asked: Follow | None = None
    selection: Selection = ALL
    base: int = 0
    floor: int = 0
    cursor: int = 0
    epoch: str = ""
    reading: bool = False
    owes_cut: bool = False
    version: int = 0
    sent_bytes: int = 0
    credited_bytes: int = 0

    def request(self, collection: str) -> ChunkRequest:
        return ChunkRequest(collection, self.selection, self.base, self.floor, self.cursor)

    def wants(self, state: CollectionState, window_bytes: int) -> bool:
        """Whether a chunk is to be read: there is something to send, and the device has room for it."""
        if self.asked is not None or self.reading or not self.epoch:
            return False
        if self.sent_bytes - self.credited_bytes >= window_bytes:
            return False
        return self.cursor < state.head or (self.owes_cut and state.published)

    def of_another_class(self, state: CollectionState) -> bool:
        """The class was filled anew since it began: it is to begin anew as well."""
        return bool(self.epoch) and self.epoch.partition(".")[2] != state.epoch.partition(".")[2]

    def sent(self, chunk: ChunkRead) -> Following:
        """After the chunk's frame was handed to the link."""
        frame = chunk.frame
        size_bytes = len(frame) if isinstance(frame, bytes) else len(frame.encode())
        after = replace(
            self,
            reading=False,
            cursor=chunk.last,
            owes_cut=chunk.proof is None,
            version=max(self.version, chunk.version),
            sent_bytes=self.sent_bytes + size_bytes,
        )
        return after if chunk.proof is None else replace(after, base=chunk.proof.seq, floor=0)

    def usable(self, chunk: ChunkRead) -> bool:
        """A cut proves a state only if nothing before it was read from a newer one."""
        return chunk.proof is None or chunk.version >= self.version

    def forgotten(self, horizon: int) -> bool:
        """Tombstones that the device would need are gone: only a snapshot helps (R5)."""
        return horizon > max(self.cursor, self.floor)

    def credited(self, received_bytes: int) -> Following:
        return replace(self, credited_bytes=min(self.sent_bytes, max(self.credited_bytes, received_bytes)))


def why_snapshot(asked: Follow, state: CollectionState) -> str:
    """Why a device cannot be sent changes; empty: it can (R4, R5)."""
    if asked.again:
        return "the checksums did not agree"
    if not asked.epoch:
        return "the device holds nothing yet"
    if asked.epoch != state.epoch:
        if store_epoch(asked.epoch) == store_epoch(state.epoch):
            return "the selection of this device changed"
        return "the primary's store was made anew, its positions are of another epoch"
    if asked.cursor < state.horizon:
        return "the device was away longer than deleted objects are remembered"
    return ""


def store_epoch(epoch: str) -> str:
    """The store's, of the epoch of one of its classes (``ports.ClassState``)."""
    return epoch.partition(".")[0]


def restored(asked: Follow, state: CollectionState, head: int) -> bool:
    """The device is ahead of the store: the store was restored from an older copy (R4). ``head``: of the collection;
    what a device of a class has proven may be beyond the class's."""
    return asked.epoch == state.epoch and max(asked.position, asked.cursor, asked.floor) > head


def begin(following: Following, asked: Follow, state: CollectionState) -> tuple[Following, Begin]:
    """Answer to a Follow. ``state``: of the collection as devices of the selection see it."""
    reason, head = why_snapshot(asked, state), max(state.head, asked.cursor, asked.floor)
    if reason:
        answer = Begin(asked.collection, state.epoch, True, 0, state.head, 0, state.head, reason)
    else:
        answer = Begin(asked.collection, state.epoch, asked.snapshot, asked.base, asked.floor, asked.cursor, head)
    after = replace(
        following,
        asked=None,
        base=answer.base,
        floor=answer.floor,
        cursor=answer.cursor,
        epoch=answer.epoch,
        reading=False,
        owes_cut=True,
        version=0,
    )
    return after, answer
