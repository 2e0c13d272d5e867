"""The history of the sync store in memory: twin of ``history`` and of what ``store_keep`` remembers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from syncd.core.edits import JUST_NOW_US, Edit, Fact, Version
from syncd.core.history_port import Stood, StoodPage
from syncd.core.model import group_id
from syncd.core.ports import Group, StoredRow
from syncd.store.inverse import StoredVersion, Undoing, forgotten, inverse_of, no_group
from syncd.store.store_standing import StoodRequest, page_of


@dataclass(frozen=True, slots=True)
class _Former:
    """A published version that was replaced by the change ``until``, or a tombstone that was forgotten (``until`` is
    its own change)."""

    version: StoredVersion
    until: int
    author: str

    def size(self) -> int:
        """What it counts; a tombstone that was forgotten counts nothing."""
        if self.until == self.version.change:
            return 0
        return len(self.version.key) + len(self.version.fields or b"")


@dataclass
class MemoryHistory:
    """``begin``: all versions that changes after this one replaced are there. ``authors``: of rows that are held, by
    their change. ``since``: by type, the change up to which its versions had other fields. ``touched``: changes that
    put an object in the order anew as it was."""

    begin: int = 0
    former: list[_Former] = field(default_factory=list)
    authors: dict[int, str] = field(default_factory=dict)
    since: dict[int, int] = field(default_factory=dict)
    touched: set[int] = field(default_factory=set)

    def begin_at(self, head: int) -> None:
        """The first import is complete."""
        self.begin, self.former = head, []

    def made(self, change: int, author: str) -> None:
        if author:
            self.authors[change] = author

    def author(self, change: int) -> str:
        """Of the row that this change made."""
        return self.authors.get(change, "")

    def replaced(self, row: StoredRow, until: int, head: int) -> None:
        """A row is about to be replaced. One that was never published is forgotten: what replaces it is what replaced
        the published one."""
        author = self.authors.pop(row.change, "")
        if row.change <= head:
            self.former.append(_Former(_version(row), until, author))
            return
        self.former = [replace(one, until=until) if one.until == row.change else one for one in self.former]

    def taken_back(self, head: int) -> None:
        """What was not published never was."""
        back = {one.version.change: one.author for one in self.former if one.until > head}
        self.authors = {change: author for change, author in self.authors.items() if change <= head}
        self.authors |= {change: author for change, author in back.items() if author}
        self.former = [one for one in self.former if one.until <= head]
        self.touched = {change for change in self.touched if change <= head}

    def pruned(self, row: StoredRow) -> None:
        """A tombstone is forgotten where devices read."""
        author = self.authors.pop(row.change, "")
        if row.change > self.begin:
            self.former.append(_Former(_version(row), row.change, author))

    def fact(self, edit: Edit, row: StoredRow | None, hashed: bytes | None, groups: Sequence[Group], head: int) -> Fact:
        time_us = 0
        if row is not None:
            made = [row.change, *sorted((one.change for one in self._of(edit.type, edit.key)), reverse=True)]
            while len(made) > 1 and made[0] in self.touched:
                del made[0]
            time_us = _group_of(groups, made[0])[1] if row.change <= head else JUST_NOW_US
        stale = edit.base is None and edit.fields is not None
        return Fact(hashed, time_us, stale and any(one.fields == edit.fields for one in self._of(edit.type, edit.key)))

    def versions(
        self, type_id: int, key: bytes, row: StoredRow | None, groups: Sequence[Group], limit: int
    ) -> Sequence[Version]:
        """``row``: as it is published, None if it is not."""
        found = [] if row is None else [(row.change, row.fields, self.authors.get(row.change, ""))]
        since = self.since.get(type_id, 0)
        found += sorted(
            (
                (one.version.change, one.version.fields, one.author)
                for one in self.former
                if (one.version.type, one.version.key) == (type_id, key) and one.version.change > since
            ),
            key=lambda one: -one[0],
        )
        found = found[:limit]
        found = [one for at, one in enumerate(found) if one[0] not in self.touched or at + 1 == len(found)]
        return [Version(*_group_of(groups, change), fields, author) for change, fields, author in found]

    def inverse(self, undoing: Undoing, group: Group, rows: Iterable[StoredRow]) -> tuple[Edit, ...]:
        if group.first <= self.begin:
            raise forgotten(undoing.group)
        before = [
            one.version
            for one in self.former
            if group.first <= one.until <= group.seq and one.until != one.version.change
        ]
        versions = [*map(_version, rows), *(one.version for one in self.former)]
        made = [one for one in versions if group.first <= one.change <= group.seq]
        return inverse_of(undoing, before, made)

    def stood(self, rows: Iterable[StoredRow], asked: StoodRequest) -> StoodPage:
        found = [Stood(one.change, 0, one.type, one.key, one.fields) for one in rows if one.fields is not None]
        found += [
            Stood(one.version.change, one.until, one.version.type, one.version.key, one.version.fields)
            for one in self.former
            if one.version.fields is not None and one.until > asked.at
        ]
        there = sorted(one for one in found if asked.cursor < one.change <= asked.at)
        return page_of(there, asked, self.begin <= asked.at)

    def forget(self, groups: Sequence[Group], older_than_us: int, bytes_max: int, head: int) -> int:
        remembered = [group for group in groups if group.seq > self.begin]
        old = 0
        for group in remembered:
            if group.time_us >= older_than_us:
                break
            old = group.seq
        size = sum(one.size() for one in self.former)
        last = self.begin
        for one in sorted(self.former, key=lambda one: one.until):
            if one.until == one.version.change:
                continue
            if one.until > head or (one.until > old and size <= bytes_max):  # what is not published may be taken back
                break
            last, size = one.until, size - one.size()
        self.begin = max(last, old)
        count = len(self.former)
        self.former = [one for one in self.former if one.until > self.begin]
        return count - len(self.former)

    def _of(self, type_id: int, key: bytes) -> Iterable[StoredVersion]:
        return (one.version for one in self.former if (one.version.type, one.version.key) == (type_id, key))


def undoing_of(name: str, seq: int, since: Mapping[int, int], bytes_max: int) -> Undoing:
    return Undoing(group_id(name, seq), since, bytes_max)


def group_at(name: str, seq: int, groups: Sequence[Group]) -> Group:
    for group in groups:
        if group.seq == seq:
            return group
    raise no_group(group_id(name, seq))


def _version(row: StoredRow) -> StoredVersion:
    return StoredVersion(row.change, row.type, row.key, row.fields)


def _group_of(groups: Sequence[Group], change: int) -> tuple[int, int]:
    for group in groups:
        if group.first <= change <= group.seq:
            return group.seq, group.time_us
    return change, 0
