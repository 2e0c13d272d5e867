"""The in-memory twin of the primary's writer: the data of a ``MemorySource``, written by syncd (R7, R11).

What became of groups is kept with the data (``MemorySource.executed``): a writer that "crashed" is followed by another
on the same source.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

from syncd.adapters.canonical import unpack_values
from syncd.applications.base import RowFailed, rolled_back
from syncd.applications.forms import CanonicalForms
from syncd.applications.memory import MemorySource
from syncd.core.conflict import TABLE_CHANGED, Change, Decision, View, decide
from syncd.core.edits import NOTHING_KNOWN, EditGroup, Fact, Policy, Ruling, Written
from syncd.core.errors import ApplicationOffline, DiskFull
from syncd.core.model import DataType, ObjectId


class MemoryWriter:
    """``core.upward_ports.Writer``. ``numbered``: names of types whose keys are numbers without a meaning (policy
    both).

    ``failing``: object -> why the application does not let it be written or removed. ``check``, if given, looks at all
    rows after each group and returns why which object cannot stand, or None. Types are those that the source was
    given, unless ``describe`` gave others.
    """

    def __init__(self, source: MemorySource, numbered: Collection[str] = ()) -> None:
        self.failing: dict[ObjectId, str] = {}
        self.check: Callable[[Mapping[ObjectId, bytes]], tuple[str, ObjectId] | None] | None = None
        self.disk_full = False
        self._source = source
        self._numbered = frozenset(numbered)
        self._identity = ""
        self._types: dict[int, str] = {}
        self._widths: dict[int, int] = {}
        self._settled: list[tuple[str, str, int]] = []

    def describe(self, source: str, types: Sequence[DataType]) -> None:
        self._identity = source
        self._types = {one.id: one.name for one in types}
        self._widths = {one.id: len(one.fields) for one in types}

    async def write(
        self, groups: Sequence[EditGroup], policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]
    ) -> Sequence[Written]:
        source = self._source
        if source.offline:
            raise ApplicationOffline(source.offline)
        if self._identity not in ("", source.identity):
            raise ApplicationOffline("the application's data is not what was shared (it was replaced)")
        if self.disk_full:
            raise DiskFull("no room in memory")
        for name in self._settled:
            source.executed.pop(name, None)
        self._settled.clear()
        written = [self._repeated(group) or self._group(group, policy, facts) for group in groups]
        mark = source.end_mark()
        written = [one if one.mark else replace(one, mark=mark) for one in written]
        source.executed.update({(one.device, one.outbox, one.number): one for one in written})
        return written

    async def settled(self, groups: Sequence[tuple[str, str, int]]) -> None:
        self._settled += groups

    async def close(self) -> None:
        return

    def _repeated(self, group: EditGroup) -> Written | None:
        """A mark that the log has not reached is of another history."""
        known = self._source.executed.get((group.device, group.outbox, group.number))
        if known is not None and known.mark > self._source.end_mark():
            return replace(known, mark=0)
        return known

    def _group(self, group: EditGroup, policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]) -> Written:
        decision = self._decided(group, policy, facts)
        try:
            self._write(group, decision.changes)
        except RowFailed as failed:
            decision = decision.refused(failed.failure.cause, failed.failure.guilty)
        return Written(
            group.device,
            group.outbox,
            group.number,
            decision.ruling,
            0,
            decision.cause,
            decision.guilty,
            decision.sides,
        )

    def _decided(self, group: EditGroup, policy: Policy | None, facts: Mapping[tuple[int, bytes], Fact]) -> Decision:
        names = self._names()
        views: list[View] = []
        for edit in group.edits:
            if edit.type not in names:
                return Decision(Ruling.REFUSED, cause=TABLE_CHANGED)
            one = ObjectId(names[edit.type], edit.key)
            if one in self._source.faults and one in self._source.rows:
                return Decision(Ruling.REFUSED, cause=self._source.faults[one], guilty=one)
            views.append(View(one, self._source.rows.get(one), facts.get((edit.type, edit.key), NOTHING_KNOWN)))
        return decide(group, views, policy, CanonicalForms(self._greatest, usual=self._usual))

    def _write(self, group: EditGroup, changes: Sequence[Change]) -> None:
        names = self._names()
        after = {ObjectId(names[one.type], one.key): one.fields for one in changes}
        for one in after:
            if one in self.failing:
                raise rolled_back(self.failing[one], one)
        if self.check is not None:
            rows = {**self._source.rows, **after}
            broken = self.check({one: fields for one, fields in rows.items() if fields is not None})
            if broken:
                raise rolled_back(*broken)
        if after:
            self._source.commit(after, author=group.author)

    def _names(self) -> Mapping[int, str]:
        return self._types or self._source.numbers

    def _usual(self, type_id: int) -> Sequence[None]:
        return [None] * self._widths.get(type_id, 0)

    def _greatest(self, type_id: int) -> int | None:
        name = self._names()[type_id]
        if name not in self._numbered:
            return None
        keys = (unpack_values(one.key)[0] for one in self._source.rows if one.type == name)
        return max((key for key in keys if isinstance(key, int)), default=0)
