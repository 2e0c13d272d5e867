"""The upload queue in memory: a twin for simulations and tests, under the same contract suite.

Each method runs without pause, so that it happens whole or not at all, and a queue outlives its users: a daemon that
"crashed" leaves it and the next one goes on with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from syncd.core.edits import Conflict, Edit, EditGroup, Written
from syncd.core.messages import Upload, Verdict
from syncd.core.pieces import Piece, edits_of, made_us, pieces
from syncd.core.settings import Limits
from syncd.store.uploads_rules import (
    ANY,
    Begun,
    Came,
    Half,
    Kept,
    came,
    grown,
    once,
    sides_size,
    still_missing,
    told,
    too_large,
    verdict_of,
    winner,
)

Name = tuple[str, str, str]  # device, collection, outbox


@dataclass
class _Stream:
    """What came of one outbox. ``whole``: number of the last whole group; ``edits``: of the half one."""

    whole: int = 0
    half: Half | None = None
    edits: list[Edit] = field(default_factory=list)
    verdicts: dict[int, Verdict] = field(default_factory=dict)


class _Waiting(NamedTuple):
    collection: str
    group: EditGroup
    bytes: int


class _KeptConflict(NamedTuple):
    conflict: Conflict
    outbox: str
    kept_us: int
    bytes: int


class MemoryUploadQueue:
    """Twin of ``SqliteUploadQueue``."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._streams: dict[Name, _Stream] = {}
        self._waiting: dict[int, _Waiting] = {}  # by arrival
        self._arrivals: dict[tuple[Name, int], int] = {}  # of those that wait
        self._arrived = 0
        self._conflicts: dict[int, _KeptConflict] = {}
        self._last_conflict = 0
        self._gone: dict[Name, Sequence[Begun]] = {}  # see ``still_missing``

    async def stage(self, device: str, uploads: Sequence[tuple[Upload, bytes]], now_us: int) -> int:
        whole = 0
        for upload, _ in uploads:
            name = (device, upload.collection, upload.outbox)
            stream = self._begin(name)
            self._gone[name] = still_missing(self._gone.get(name, ()), stream.whole, stream.half, upload)
            for piece in pieces(upload):
                time_us = made_us(piece.made, upload.clock_us, now_us, self._limits)
                self._add(name, stream, upload, piece, time_us)
            whole = stream.whole
        return whole

    def _begin(self, name: Name) -> _Stream:
        """The stream of an outbox. Those of the device's other outboxes end."""
        others = [one for one in self._streams if one[:2] == name[:2] and one != name]
        for other in others:
            self._streams[other].half, self._streams[other].edits = None, []
        if name not in self._streams:
            busy = {one for one, _ in self._arrivals}
            spare = max(0, len(others) + 1 - self._limits.outboxes_max)
            for other in [one for one in others if one not in busy][:spare]:
                del self._streams[other]
        return self._streams.setdefault(name, _Stream())

    def _add(self, name: Name, stream: _Stream, upload: Upload, piece: Piece, time_us: int) -> None:
        what = came(stream.whole, stream.half, upload, piece)
        if what is Came.REPEAT:
            return
        if what is Came.BEGINS:
            stream.half, stream.edits = None, []
        half = stream.half = grown(stream.half, upload, piece, 0, time_us)
        fits = half.bytes <= self._limits.edit_group_bytes_max
        stream.edits = [*stream.edits, *edits_of(upload, piece)] if fits else []
        if not piece.made.whole:
            return
        if fits:
            self._arrived += 1
            device, collection, outbox = name
            group = EditGroup(
                device, outbox, half.number, half.time_us, once(stream.edits), half.offered, author=device
            )
            self._waiting[self._arrived] = _Waiting(collection, group, half.bytes)
            self._arrivals[name, half.number] = self._arrived
        else:
            stream.verdicts[half.number] = too_large(half.number, self._limits)
        stream.whole, stream.half, stream.edits = half.number, None, []

    async def received(self, device: str, collection: str, outbox: str) -> int:
        stream = self._streams.get((device, collection, outbox))
        return stream.whole if stream else 0

    async def next(self, collection: str, after: int, groups_max: int) -> tuple[int, tuple[EditGroup, ...]]:
        groups: list[EditGroup] = []
        size, cursor = 0, after
        for arrival, waiting in self._waiting.items():
            if waiting.collection != collection or arrival <= after:
                continue
            size += waiting.bytes
            if len(groups) == groups_max or (groups and size > self._limits.uploads_bytes_max):
                break
            groups.append(waiting.group)
            cursor = arrival
        return cursor, tuple(groups)

    async def settle(
        self, collection: str, written: Sequence[Written], seq: int, policy: str, now_us: int
    ) -> Mapping[str, tuple[Verdict, ...]]:
        kept = Kept(collection, seq, policy, now_us)
        return told([(one, self._settle_one(kept, one)) for one in written])

    def _settle_one(self, kept: Kept, written: Written) -> Verdict | None:
        name = (written.device, kept.collection, written.outbox)
        stream = self._streams.get(name)
        waiting = self._waiting.pop(self._arrivals.pop((name, written.number), 0), None)
        conflict = self._conflict_of(kept.collection, written) if written.sides else 0
        if written.sides and not conflict:
            conflict = self._keep(kept, written, waiting.group.time_us if waiting else written.time_us)
        verdict = verdict_of(written, kept.seq, conflict, self._limits)
        if stream is None:
            return verdict
        if waiting is None and written.number <= stream.whole:
            return stream.verdicts.get(written.number)
        if written.number > stream.whole:  # it was never staged
            stream.whole = written.number
            if stream.half and stream.half.number <= stream.whole:
                stream.half, stream.edits = None, []
        stream.verdicts[written.number] = verdict
        for number in sorted(stream.verdicts)[: max(0, len(stream.verdicts) - self._limits.kept_verdicts_max)]:
            del stream.verdicts[number]
        return verdict

    def _conflict_of(self, collection: str, written: Written) -> int:
        """The conflict that is kept of this group, 0 if none is."""
        name = (collection, written.device, written.outbox, written.number)
        for id_, kept in self._conflicts.items():
            one = kept.conflict
            if one.device and (one.collection, one.device, kept.outbox, one.number) == name:
                return id_
        return 0

    def _keep(self, kept: Kept, written: Written, time_us: int) -> int:
        self._last_conflict += 1
        conflict = Conflict(
            id=self._last_conflict,
            collection=kept.collection,
            device=written.device,
            number=written.number,
            time_us=time_us or kept.now_us,
            policy=kept.policy,
            winner=winner(written),
            seq=verdict_of(written, kept.seq, 0, self._limits).seq,
            resolved="",
            sides=written.sides,
        )
        self._conflicts[conflict.id] = _KeptConflict(conflict, written.outbox, kept.now_us, sides_size(written.sides))
        self._make_room(kept.collection)
        return conflict.id

    def _make_room(self, collection: str) -> None:
        of_it = [kept for kept in self._conflicts.values() if kept.conflict.collection == collection]
        size = sum(kept.bytes for kept in of_it)
        for kept in sorted(of_it[:-1], key=lambda kept: (not kept.conflict.resolved, kept.conflict.id)):
            if size <= self._limits.conflict_bytes_max:
                return
            size -= kept.bytes
            del self._conflicts[kept.conflict.id]

    async def waiting_bytes(self, device: str, collection: str) -> int:
        streams = [stream for name, stream in self._streams.items() if name[:2] == (device, collection)]
        whole = [
            self._waiting[at].bytes for (name, _), at in self._arrivals.items() if name[:2] == (device, collection)
        ]
        return sum(whole) + sum(stream.half.bytes for stream in streams if stream.half)

    async def verdicts(
        self, device: str, collection: str, outbox: str, first: int, after: int = 0
    ) -> tuple[Verdict, ...]:
        stream = self._streams.get((device, collection, outbox))
        if stream is None:
            return ()
        stream.verdicts = {number: stream.verdicts[number] for number in sorted(stream.verdicts) if number >= first}
        above = [verdict for number, verdict in stream.verdicts.items() if number > after]
        return tuple(above[: self._limits.verdicts_read_max])

    async def conflicts(self, collection: str, resolved: bool) -> Sequence[Conflict]:
        found = [kept.conflict for kept in reversed(self._conflicts.values())]
        return [
            replace(one, sides=())
            for one in found
            if collection in ("", one.collection) and (resolved or not one.resolved)
        ]

    async def conflict(self, id: int) -> Conflict | None:
        kept = self._conflicts.get(id)
        return kept.conflict if kept else None

    async def resolve(self, id: int, how: str) -> None:
        if kept := self._conflicts.get(id):
            how = how[: self._limits.text_chars_max]
            self._conflicts[id] = kept._replace(conflict=replace(kept.conflict, resolved=how))

    async def unresolved(self) -> Mapping[str, int]:
        return Counter(kept.conflict.collection for kept in self._conflicts.values() if not kept.conflict.resolved)

    async def prune(self, collection: str, older_than_us: int) -> int:
        of_it = {id_: kept for id_, kept in self._conflicts.items() if kept.conflict.collection == collection}
        old = [id_ for id_, kept in of_it.items() if kept.kept_us < older_than_us]
        for id_ in old:
            del self._conflicts[id_]
        return len(old)

    async def drop(self, device: str) -> None:
        for name, stream in self._streams.items():
            if name[0] != device:
                continue
            numbers = [number for one, number in self._arrivals if one == name]
            if numbers:
                first = min(numbers)
                self._gone[name] = [(first, ANY)]
                stream.whole = first - 1
                stream.verdicts = {number: one for number, one in stream.verdicts.items() if number < first}
            elif stream.half:
                self._gone[name] = [(stream.half.number, stream.half.first)]
            stream.half, stream.edits = None, []
            for number in numbers:
                del self._waiting[self._arrivals.pop((name, number))]
