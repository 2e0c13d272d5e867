"""A target with its user, and the outbox as simple as it can be said: what waits, and what that means for a work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from syncd.applications.base import rows_of
from syncd.core import digest
from syncd.core.edits import LocalChanges, Overlay, Plan, Restored
from syncd.core.model import Kind, ObjectId
from syncd.core.ports import Executed, Target, TargetState, Work
from syncd.core.upward_ports import Local
from tests.contract.application_kit import MemoryTargetBench, SqliteTargetBench, WorkMaker, digest_of, note, put

Bench = MemoryTargetBench | SqliteTargetBench
Fields = bytes | None
Change = tuple[Fields, Fields]  # base, fields


class LocalTarget(Target, Local, Protocol):
    """Both ports of an auxiliary's application."""


def hash_of(one: ObjectId, fields: Fields) -> int:
    return 0 if fields is None else digest.object_hash(digest.type_prefix(one.type), one.key, fields)


class Waiting:
    """Groups of edits that were read and are not settled, each object with base and fields; the oldest first."""

    def __init__(self) -> None:
        self.groups: list[dict[ObjectId, Change]] = []
        self.mark = 0
        self.last_plan = 0

    async def read(self, target: LocalTarget, limit: int = 100) -> dict[ObjectId, Change]:
        """Everything that was logged becomes a group."""
        found: dict[ObjectId, Change] = {}
        names = {1: "notes", 2: "tags"}
        while True:
            changes = await target.changes(self.mark, limit)
            assert not changes.lost
            self.mark = changes.mark
            for edit in changes.edits:
                one = ObjectId(names[edit.type], edit.key)
                base = found[one][0] if one in found else edit.base
                found[one] = base, edit.fields
            if changes.drained:
                break
        found = {one: change for one, change in found.items() if change[0] != change[1]}
        if found:
            self.groups.append(found)
        return found

    def chains(self) -> dict[ObjectId, list[Fields]]:
        """Of each object: base of the oldest group, then its fields in each."""
        chains: dict[ObjectId, list[Fields]] = {}
        for group in self.groups:
            for one, (base, fields) in group.items():
                chains.setdefault(one, [base]).append(fields)
        return chains

    def overlay(self) -> Overlay:
        found = Overlay(self.mark)
        for one, chain in self.chains().items():
            found = Overlay(
                self.mark,
                found.digest + hash_of(one, chain[0]) - hash_of(one, chain[-1]),
                found.objects + (chain[0] is not None) - (chain[-1] is not None),
            )
        return found

    def plan(self, work: Work) -> Plan:
        """What the work means for what waits; taken for carried out."""
        named = {
            ObjectId(work.types[row.type].name, row.key): None if row.kind == Kind.DELETE else row.fields
            for row in rows_of(work.frames())
        }
        if work.snapshot:
            self.groups.clear()
            return self._plan(0, 0, frozenset(), {})
        chains = self.chains()
        foreign = {one for one, value in named.items() if one in chains and value not in chains[one]}
        undone = self._joined(foreign)
        change = objects = 0
        leave: set[ObjectId] = set()
        for one in chains.keys() & (named.keys() | undone):
            base, last = chains[one][0], chains[one][-1]
            if one in undone:
                stands = last if one in named else base
            else:
                stands = self._settle(one, chains[one], named[one])
                if stands != last:
                    leave.add(one)
            change += hash_of(one, stands) - hash_of(one, base)
            objects += (stands is not None) - (base is not None)
        self._forget(undone)
        return self._plan(change, objects, frozenset(leave), {one: chains[one][0] for one in undone - named.keys()})

    def refuse(self, one: ObjectId) -> Plan:
        """The groups that hold the object, and those joined with them, are put back."""
        chains = self.chains()
        undone = self._joined({one})
        self._forget(undone)
        return self._plan(0, 0, frozenset(), {one: chains[one][0] for one in undone})

    def _joined(self, objects: set[ObjectId]) -> set[ObjectId]:
        """The objects of all groups that hold one of these, or one of those, and so on."""
        found: set[ObjectId] = set()
        while objects - found:
            found |= objects
            objects = {one for group in self.groups if found & group.keys() for one in group}
        return found

    def _settle(self, one: ObjectId, chain: list[Fields], value: Fields) -> Fields:
        """The newest version that is the primary's; what was made before it waits no more."""
        at = max(i for i, fields in enumerate(chain) if fields == value)
        holding = [group for group in self.groups if one in group]
        for group in holding[:at]:
            del group[one]
        if holding[at:]:
            holding[at][one] = value, holding[at][one][1]
        return value

    def _forget(self, objects: set[ObjectId]) -> None:
        self.groups = [group for group in self.groups if group and not objects & group.keys()]

    def _plan(self, change: int, objects: int, leave: frozenset[ObjectId], restore: Mapping[ObjectId, Fields]) -> Plan:
        self.last_plan += 1
        numbers = {"notes": 1, "tags": 2}

        def rows() -> Iterator[Restored]:
            return (Restored(numbers[one.type], one.key, fields) for one, fields in restore.items())

        return Plan(self.last_plan, self.mark, change, objects, leave.intersection, rows)


def bench_of(kind: str, directory: Path) -> Bench:
    return SqliteTargetBench(directory / "app.db", True) if kind == "sqlite" else MemoryTargetBench(True)


async def begun(bench: Bench, *notes: str) -> WorkMaker:
    """Open, with a first snapshot of some notes."""
    await bench.target.open()
    make = WorkMaker()
    make.group(*(put(note(key), "first") for key in notes), loose=True)
    await executed(bench, make.work(snapshot=True))
    return make


async def executed(bench: Bench, work: Work) -> TargetState:
    result = await bench.target.execute(work)
    assert isinstance(result, Executed), result
    return result.state


def told(changes: LocalChanges) -> dict[ObjectId, tuple[Fields, Fields]]:
    names = {1: "notes", 2: "tags"}
    assert len({(one.type, one.key) for one in changes.edits}) == len(changes.edits)
    return {ObjectId(names[one.type], one.key): (one.base, one.fields) for one in changes.edits}


def of(rows: dict[ObjectId, bytes]) -> tuple[bytes, int]:
    return digest_of(rows), len(rows)


def what(state: TargetState) -> tuple[bytes, int]:
    return state.digest, state.objects


async def comes_back(bench: Bench) -> tuple[Waiting, Work]:
    """Note a was changed, read, and comes down just so; of the work it is said that it stays."""
    make, waiting = await begun(bench, "a", "b"), Waiting()
    bench.write(note("a"), "second")
    await waiting.read(bench.target)
    make.group(put(note("a"), "second"))
    work = make.work()
    return waiting, replace(work, plan=replace(waiting.plan(work), stays=True))
