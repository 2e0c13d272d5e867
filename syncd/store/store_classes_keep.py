"""What a batch does to the selection classes of a collection (R2, R8, R14): entering, staying and leaving.

Runs in the writer's thread, within the transaction of ``store_keep``. The values of an object are unpacked once for all
classes, and only where a class asks for them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from syncd.core import digest
from syncd.core.model import Span
from syncd.core.ports import StoredRow
from syncd.store.class_choice import NOT_COMPARED, Choice, Values, values_of
from syncd.store.stays import Stays, ended, packed, unpacked
from syncd.store.store_classes import ClassRow, renew, save
from syncd.store.store_collections import CollectionRow, TypeSet
from syncd.store.store_references import Settled

_FEW = 8  # rows that are looked up one by one
_TOGETHER = 100  # classes of one query; SQLite joins at most 500


class Altered(NamedTuple):
    """An object that has another row than before: its change, the one before (0: none) and its hash before."""

    change: int
    former: int
    before: bytes | None
    type: int
    key: bytes
    hash: bytes | None
    fields: bytes | None
    fault: str


@dataclass
class Alteration:
    """All objects that a batch altered. ``head``: of the collection, before it is published. ``remembers``: it may be
    taken back, see ``store_classes_back``. ``settled``: what it does to classes that follow references, by number."""

    altered: Sequence[Altered]
    head: int
    remembers: bool
    settled: Mapping[int, Settled]

    @cached_property
    def formers(self) -> list[int]:
        return [one.former for one in self.altered if one.former]

    @cached_property
    def formers_json(self) -> str:
        return json.dumps(self.formers)

    @cached_property
    def values(self) -> list[Values | None]:
        """In their order."""
        return [values_of(one.key, one.fields, one.fault) for one in self.altered]


Held = dict[int, tuple[int, bytes | None, int | None]]  # change -> born, own hash, type if it is a tombstone


def held_by_class(
    connection: sqlite3.Connection, classes: Sequence[ClassRow], alteration: Alteration
) -> dict[int, Held]:
    """What the classes have of the rows that are replaced, by the number of the class. A few rows are looked up in many
    classes at once, for most commits are small."""
    held: dict[int, Held] = {one.id: {} for one in classes}
    formers = alteration.formers
    if 0 < len(formers) <= _FEW:
        for at in range(0, len(classes), _TOGETHER):
            looks = [
                f"SELECT {one.id}, change, born, hash, type FROM {one.table} WHERE change = ?1"
                for one in classes[at : at + _TOGETHER]
            ]
            query = " UNION ALL ".join(looks)
            for former in formers:
                for id_, change, *found in connection.execute(query, (former,)):
                    held[id_][change] = tuple(found)
    elif formers:
        for one in classes:
            query = f"SELECT change, born, hash, type FROM {one.table} WHERE change IN (SELECT value FROM json_each(?))"
            for change, *found in connection.execute(query, (alteration.formers_json,)):
                held[one.id][change] = tuple(found)
    return held


@dataclass
class _Moves:
    """What becomes of members: (new change, own hash, former change) of those that stay, (change, born, own hash) of
    those that enter, and with their earlier stays of those that come again, (change, born, type, key, former change) of
    those that leave, former changes of those that leave no trace. ``weight``: what all that adds to the checksum.
    ``rows``: as devices of the class read them."""

    stay: list[tuple[int, bytes | None, int]] = field(default_factory=list)
    enter: list[tuple[int, int, bytes | None]] = field(default_factory=list)
    leave: list[tuple[int, int, int, bytes, int]] = field(default_factory=list)
    vanish: list[tuple[int]] = field(default_factory=list)
    come_again: list[tuple[int, int, bytes | None, str]] = field(default_factory=list)
    rows: list[StoredRow] = field(default_factory=list)
    weight: int = 0
    objects: int = 0

    def enters(self, member: tuple[int, int, bytes | None], stays: Stays) -> None:
        if stays:
            self.come_again.append((*member, packed(stays)))
        else:
            self.enter.append(member)


def follow(
    connection: sqlite3.Connection, one: ClassRow, choice: Choice, alteration: Alteration, held: Held
) -> tuple[ClassRow, list[StoredRow]]:
    """The class after the batch, and the rows that this put into its order, which only a class that is ready has.
    ``held``: what it has of the rows that are replaced."""
    if not (held or one.id in alteration.settled or (one.ready and _any_taken(choice, alteration))):
        return one, []  # most commits are of few classes only
    moves = _moves(connection, one, choice, alteration, held)
    if alteration.remembers:
        formers = (at[-1] for part in (moves.stay, moves.leave, moves.vanish) for at in part)
        replaced = [former for former in formers if former <= alteration.head]
        _remember(connection, one, replaced)
    if moves.stay:
        connection.executemany(f"UPDATE {one.table} SET change = ?, hash = ? WHERE change = ?", moves.stay)
    if moves.enter:
        connection.executemany(f"INSERT INTO {one.table} (change, born, hash) VALUES (?, ?, ?)", moves.enter)
    if moves.come_again:
        enter = f"INSERT INTO {one.table} (change, born, hash, stays) VALUES (?, ?, ?, ?)"
        connection.executemany(enter, moves.come_again)
    if moves.leave:
        leave = f"UPDATE {one.table} SET change = ?, born = ?, hash = NULL, type = ?, key = ? WHERE change = ?"
        connection.executemany(leave, moves.leave)
    if moves.vanish:
        connection.executemany(f"DELETE FROM {one.table} WHERE change = ?", moves.vanish)
    if not moves.rows and not moves.vanish:
        return one, moves.rows
    after = one._replace(
        last=alteration.altered[-1].change if one.ready else one.last,
        digest=digest.add(one.digest, moves.weight),
        objects=one.objects + moves.objects,
        again=int(one.again or bool(moves.come_again)),
    )
    return after, moves.rows


def _any_taken(choice: Choice, alteration: Alteration) -> bool:
    answers, takes = choice.answers, choice.takes
    for at, altered in enumerate(alteration.altered):
        if altered.fields is not None:
            answer = answers.get(altered.type, False)
            if answer or (answer is None and takes(altered.type, alteration.values[at], False)):
                return True
    return False


def _moves(connection: sqlite3.Connection, one: ClassRow, choice: Choice, alteration: Alteration, held: Held) -> _Moves:
    moves, number, answers = _Moves(), int.from_bytes, choice.answers
    settled = alteration.settled.get(one.id)
    left: bool | None = None  # whether the class has any tombstone
    for at, altered in enumerate(alteration.altered):
        change, former, before, type_, key, hashed, fields, fault = altered
        born, own, gone = held.get(former, (0, None, 0))
        there, taken = gone is None, False
        if fields is not None and one.ready:  # what is not filled yet is met later
            if settled is None:
                answer = answers.get(type_, False)
                taken = choice.takes(type_, alteration.values[at], there) if answer is None else answer
            else:
                taken = settled.has((type_, key), there)
        if there:
            moves.weight -= number(own or before or b"", "big")
            moves.objects -= 1
            if not taken and _leaves_no_trace(connection, one, alteration, (former, born)):
                moves.vanish.append((former,))
            elif not taken:
                born = born if born <= alteration.head else change  # a stay of which no device knows is none
                moves.leave.append((change, born, type_, key, former))
                moves.rows.append(choice.row(StoredRow(change, born, type_, key, None)))
        if not taken or fields is None or hashed is None:
            continue
        own = choice.hash(type_, key, fields, fault) if type_ in choice.projects else None
        moves.weight += number(own or hashed, "big")
        moves.objects += 1
        if there:
            moves.stay.append((change, own, former))
        else:
            if left is None:
                left = bool(connection.execute(f"SELECT 1 FROM {one.table} WHERE type IS NOT NULL LIMIT 1").fetchone())
            born, stays = _come_back(connection, one, alteration, altered) if left else (change, ())
            moves.enters((change, born, own), stays)
        moves.rows.append(choice.row(StoredRow(change, born, type_, key, fields, fault)))
    return moves


def _remember(connection: sqlite3.Connection, one: ClassRow, changes: Sequence[int]) -> None:
    columns = "change, born, hash, type, key, stays"
    connection.executemany(
        f"INSERT INTO replaced_members SELECT ?, {columns} FROM {one.table} WHERE change = ?",
        [(one.id, change) for change in changes],
    )


def _leaves_no_trace(
    connection: sqlite3.Connection, one: ClassRow, alteration: Alteration, at: tuple[int, int]
) -> bool:
    """Whether no device can hold the member that leaves. ``at``: its change, and where its last stay began."""
    change, born = at
    if not one.ready:
        return True
    if born <= alteration.head:
        return False
    query = f"SELECT 1 FROM {one.table} WHERE change = ? AND stays IS NOT NULL"
    return connection.execute(query, (change,)).fetchone() is None


def _come_back(
    connection: sqlite3.Connection, one: ClassRow, alteration: Alteration, altered: Altered
) -> tuple[int, Stays]:
    """Where the stay of the object in the class begins, of which the class forgets that it left, and the stays before;
    where it left above the head nobody can know, and the stay goes on."""
    found = connection.execute(
        f"SELECT change, born, stays FROM {one.table} WHERE type = ? AND key = ?", (altered.type, altered.key)
    )
    tombstone: tuple[int, int, str | None] | None = found.fetchone()
    if tombstone is None:
        return altered.change, ()
    left, born, text = tombstone
    if alteration.remembers and left <= alteration.head:
        _remember(connection, one, [left])
    connection.execute(f"DELETE FROM {one.table} WHERE change = ?", (left,))
    if left > alteration.head:
        return born, unpacked(text)
    return altered.change, ended(unpacked(text), Span(born, left), one.horizon)


def close(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, before: ClassRow, after: ClassRow
) -> ClassRow:
    """Keeps the class as it is after a batch. ``row``: the collection after it, published or not."""
    if after is before and not after.broken and after.head >= after.last:
        return after
    if after.ready and after.head < after.last <= row.head:
        after = after._replace(head=row.head)
    if after.broken == NOT_COMPARED and row.head == row.last and not row.scanning:
        return renew(connection, row, after, types.choice(after.canonical))
    if after != before:
        save(connection, after)
    return after
