"""The outbox in memory: a twin for simulations and tests, under the same contract suite.

Each method runs without pause, so that it happens whole or not at all, and an outbox outlives its users: a daemon that
"crashed" leaves it and the next one goes on with it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Container, Sequence
from dataclasses import replace

from syncd.core.edits import EVER, Edit, LocalBatch, OutboxState, Overlay, Plan, RefusedGroup, Restored, Ruling
from syncd.core.errors import EditsUnread
from syncd.core.messages import Upload, Verdict
from syncd.core.model import DataType, Kind, ObjectId
from syncd.core.ports import TargetState, Work
from syncd.core.settings import Limits
from syncd.store.edit_groups import UNREAD, Packer, Row, refusal
from syncd.store.memory_edits import Box, Group, Prepared, hash_of


def _identity() -> str:
    return secrets.token_hex(8)


class MemoryOutbox:
    """Twin of ``SqliteOutbox``. ``identity`` gives an outbox its identity, another each time."""

    def __init__(self, limits: Limits | None = None, identity: Callable[[], str] = _identity) -> None:
        self._limits = limits or Limits()
        self._identity = identity
        self._boxes: dict[str, Box] = {}

    def _of(self, collection: str) -> Box:
        if collection not in self._boxes:
            self._boxes[collection] = Box(self._identity())
        return self._boxes[collection]

    async def load(self, collection: str) -> OutboxState:
        return self._of(collection).state()

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        self._of(collection).types |= {type_.id: replace(type_, definition=()) for type_ in types}

    async def known_types(self, collection: str) -> Sequence[DataType]:
        return [type_ for _, type_ in sorted(self._of(collection).types.items())]

    async def clear(self, collection: str) -> None:
        self._boxes.pop(collection, None)

    # ------------------------------------------------------------ keeping

    async def keep(self, collection: str, batch: LocalBatch) -> OutboxState:
        box = self._of(collection)
        for edit in batch.edits:
            box.type_ids[box.id_of(edit)] = edit.type
        if batch.offered:
            self._close(box, batch)
            box.seal_ordinary()
            for edit in batch.edits:
                self._offer(box, edit, batch)
        else:
            for edit in batch.edits:
                _add(box, edit, batch.time_us)
            if batch.close:
                self._close(box, batch)
        box.mark = box.mark if batch.mark is None else batch.mark
        self._tidy(box, batch.time_us)
        return box.state()

    def _close(self, box: Box, batch: LocalBatch) -> None:
        group = box.open_group()
        if group is not None:
            group.settle_void()
        if group is None or not group.edits:
            return
        mates = [other for other in box.groups if other.joinable and not other.edits.keys().isdisjoint(group.edits)]
        if self._refused(box, group, batch.time_us):
            return
        if sum(mate.size for mate in mates) + group.size > self._limits.edit_group_bytes_max:
            box.seal_ordinary()
            mates = []
        if mates:
            oldest, *others = mates
            for mate in others:
                oldest.edits |= mate.edits
            for one, edit in group.edits.items():
                oldest.fold(one, edit)
            oldest.time_us = batch.time_us
            box.groups = [other for other in box.groups if other is not group and other not in others]
            group = oldest
        else:
            group.time_us, group.number = batch.time_us, box.last + 1

    def _refused(self, box: Box, group: Group, now_us: int) -> bool:
        """A group that cannot travel gets this device's own verdict."""
        why = refusal(group.edits.values(), self._limits)
        if why is None:
            return False
        group.time_us, group.number = now_us, group.number or box.last + 1
        group.ruling, group.cause, group.settled_us = Ruling.REFUSED, why.cause, now_us
        group.guilty = ObjectId(box.types[why.guilty[0]].name, why.guilty[1]) if why.guilty else None
        group.sealed = True
        box.seal_ordinary()
        return True

    def _offer(self, box: Box, edit: Edit, batch: LocalBatch) -> None:
        one = box.id_of(edit)
        if box.holders(one):
            if box.top(one) != edit.fields:  # it was changed and the log does not say so
                _add(box, edit._replace(base=box.top(one)), batch.time_us)
                self._close(box, batch)
                box.seal_ordinary()
            return
        pending = [group for group in box.groups if one in group.edits and (not group.ruling or group.edits[one].fault)]
        newest = pending[-1] if pending else None
        if newest and newest.offered and not newest.sealed:
            newest.edits[one], newest.time_us = edit, batch.time_us
            self._refused(box, newest, batch.time_us)
        elif newest is None or (newest.edits[one].fields, newest.edits[one].fault) != (edit.fields, edit.fault):
            group = Group(batch.time_us, offered=True, number=box.last + 1, edits={one: edit}, stands=False)
            box.groups.append(group)
            self._refused(box, group, batch.time_us)

    def _tidy(self, box: Box, now_us: int) -> None:
        """Refused groups are forgotten after their time."""
        oldest_us = now_us - int(self._limits.refused_s_max * 1_000_000)
        for group in box.groups:
            group.hidden = group.hidden or (group.refused and group.settled_us < oldest_us)
        box.tidy()

    # ------------------------------------------------------------ sending and settling

    async def keep_and_take(
        self, collection: str, batch: LocalBatch, after: int, bytes_max: int
    ) -> tuple[OutboxState, tuple[Upload, ...]]:
        await self.keep(collection, batch)
        taken = await self.take(collection, after, bytes_max)
        return self._of(collection).state(), taken

    async def take(self, collection: str, after: int, bytes_max: int) -> tuple[Upload, ...]:
        box = self._of(collection)
        rows: list[Row] = []
        size = 0
        for group in box.waiting:
            if group.number <= after:
                continue
            size += group.size
            if rows and size > bytes_max:
                break
            rows += _rows(group)
        if rows:
            box.seal(rows[-1].number)
        return Packer(collection, box.outbox, self._limits).packed(rows)

    async def settle(self, collection: str, verdicts: Sequence[Verdict], position: int, now_us: int) -> OutboxState:
        box = self._of(collection)
        box.position = position
        for verdict in verdicts:
            for group in box.waiting:
                if group.number == verdict.number:
                    _settle(group, verdict, now_us)
                    box.seal(group.number)
        if position >= EVER:
            _come_to_stay(box)
        self._tidy(box, now_us)
        return box.state()

    async def renumber(self, collection: str, after: int) -> OutboxState:
        box = self._of(collection)
        number = max(after, box.last)
        for group in box.waiting:
            number += 1
            group.number = number
        box.high, box.outbox = number, self._identity()
        return box.state()

    # ------------------------------------------------------------ plans

    async def plan(self, collection: str, work: Work | None) -> Plan:
        box = self._of(collection)
        named = {} if work is None else _named(work)
        equal: list[Group] = []
        undone = box.joined(box.condemned())
        passing: dict[ObjectId, bytes | None] = {}
        same: set[ObjectId] = set()
        if work is not None and work.snapshot:
            undone = [group for group in box.groups if group.stands]
            equal = [
                group
                for group in box.waiting
                if group.offered
                and all(one in named and named[one] == edit.fields for one, edit in group.edits.items())
            ]
        elif work is not None:
            passing, same, undone = _compared(box, named)
        if any(not group.number for group in undone):
            raise EditsUnread(UNREAD)
        lost = {one for group in undone for one in group.edits}
        digest = objects = 0
        if work is None or not work.snapshot:
            for one in box.standing() & named.keys():
                version = box.top(one) if one in lost else passing.get(one, box.bases[one])
                digest += hash_of(one, version) - hash_of(one, box.bases[one])
                objects += (version is not None) - (box.bases[one] is not None)
        back = () if work is not None and work.snapshot else tuple(sorted(lost - _concerned(box, named)))
        leave = frozenset(one for one in same | passing.keys() if passing.get(one, box.bases[one]) != box.top(one))
        if not (undone or passing or same or equal):
            box.prepared = None
            return Plan(0, box.mark)
        box.plans += 1
        box.prepared = Prepared(box.plans, undone, passing, equal, leave)
        restored = tuple(Restored(box.type_ids[one], one.key, box.bases[one]) for one in back)
        return Plan(box.plans, box.mark, digest, objects, leave.intersection, lambda: iter(restored))

    async def carried_out(self, collection: str, state: TargetState) -> OutboxState:
        box = self._of(collection)
        plan, box.prepared = box.prepared, None
        box.plans = max(box.plans, state.plan)
        box.position = state.position
        if plan is not None and plan.id <= state.plan:
            for group in plan.undone:
                group.stands = False
                box.seal_ordinary(group.number)
            for one, value in plan.passing.items():
                same = [group for group in box.chain(one) if group.edits[one].fields == value]
                box.pass_up_to(one, same[-1] if same else None, value)
            box.groups = [group for group in box.groups if group not in plan.equal or group.ruling]
        box.tidy()
        return box.state()

    async def touches(self, collection: str, work: Work) -> bool:
        return not self._of(collection).standing().isdisjoint(_named(work))

    async def overlay(self, collection: str) -> Overlay:
        return self._of(collection).overlay()

    # ------------------------------------------------------------ what was refused

    async def refused(self, collection: str) -> Sequence[RefusedGroup]:
        return [
            RefusedGroup(group.number, group.time_us, group.cause, group.guilty, group.conflict, len(group.edits))
            for group in reversed(self._of(collection).groups)
            if group.refused and not group.hidden
        ]

    async def edits(self, collection: str, number: int) -> Sequence[Edit]:
        for group in self._of(collection).groups:
            if group.number == number and group.refused and not group.hidden:
                return list(group.edits.values())
        return []

    async def forget(self, collection: str, number: int) -> None:
        box = self._of(collection)
        for group in box.groups:
            group.hidden = group.hidden or (group.refused and group.number == number)
        box.tidy()


def _add(box: Box, edit: Edit, time_us: int) -> None:
    """Adds an edit to the open group, above what stands."""
    one = box.id_of(edit)
    if (group := box.open_group()) is None:
        group = Group(time_us)
        box.groups.append(group)
    box.bases.setdefault(one, edit.base)
    group.fold(one, edit)


def _rows(group: Group) -> list[Row]:
    last = len(group.edits) - 1
    return [
        Row(group.number, group.time_us, group.offered, at == last, edit.type, edit.key, edit.base, edit.fields)
        for at, edit in enumerate(group.edits.values())
    ]


def _settle(group: Group, verdict: Verdict, now_us: int) -> None:
    group.ruling, group.seq, group.settled_us = verdict.ruling, verdict.seq, now_us
    group.cause, group.conflict = verdict.cause, verdict.conflict
    group.guilty = ObjectId(verdict.type, verdict.key) if verdict.type else None


def _come_to_stay(box: Box) -> None:
    """Nothing comes down: what was made in groups that have their verdict counts as the primary's."""
    for group in box.groups:
        if group.stands and group.ruling:
            for one in group.edits.keys() - group.passed:
                box.pass_up_to(one, group, group.edits[one].fields)


def _named(work: Work) -> dict[ObjectId, bytes | None]:
    """The objects of the work with the versions that they will have."""
    named: dict[ObjectId, bytes | None] = {}
    for frame in work.frames():
        for message in frame.messages():
            if message.kind is not Kind.WITHHELD:
                one = ObjectId(work.types[message.type].name, message.key)
                named[one] = None if message.kind is Kind.DELETE else message.fields
    skipped = work.skip(named) if work.skip else frozenset()
    return {one: fields for one, fields in named.items() if one not in skipped}


def _concerned(box: Box, named: dict[ObjectId, bytes | None]) -> set[ObjectId]:
    """Objects of the work that it gives another version than the primary's last, or above which something stands."""
    return {one for one in box.standing() & named.keys() if box.chain(one) or named[one] != box.bases[one]}


def _unsure(box: Box, named: dict[ObjectId, bytes | None], passing: Container[ObjectId]) -> list[ObjectId]:
    """Those of the passing objects whose version may have been made elsewhere, the same by chance: the work has not all
    of the groups that made it here. A group is accepted whole."""

    def came(group: Group, other: ObjectId) -> bool:
        if group not in box.chain(other):
            return True  # before
        return other in passing or (other in named and named[other] != box.bases[other])

    found = []
    for one, value in named.items():
        if one not in passing:
            continue
        chain = box.chain(one)
        made = [at for at, group in enumerate(chain) if group.edits[one].fields == value]
        if not all(came(group, other) for group in chain[: made[-1] + 1] for other in group.edits if other != one):
            found.append(one)
    return found


def _compared(
    box: Box, named: dict[ObjectId, bytes | None]
) -> tuple[dict[ObjectId, bytes | None], set[ObjectId], list[Group]]:
    """Objects whose version is one made here, those that are as below all of these, and the groups to be undone."""
    passing: dict[ObjectId, bytes | None] = {}
    same: set[ObjectId] = set()
    foreign: list[Group] = []
    for one in _concerned(box, named):
        if named[one] in [group.edits[one].fields for group in box.chain(one)]:
            passing[one] = named[one]
        elif named[one] == box.bases[one]:
            same.add(one)
        else:
            foreign += [group for group in box.holders(one) if group not in foreign]
    while unsure := _unsure(box, named, passing):
        for one in unsure:
            del passing[one]
            if named[one] == box.bases[one]:
                same.add(one)
            else:
                foreign += [group for group in box.holders(one) if group not in foreign]
    undone = box.joined(foreign)
    lost = {one for group in undone for one in group.edits}
    return {one: v for one, v in passing.items() if one not in lost}, same - lost, undone
