"""The sync store's one way in: a batch of observed objects becomes rows, and rows become a group (R1, R2, R7, R14).

Runs in the writer's thread, within its transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from syncd.core import digest
from syncd.core.holding import Batch
from syncd.core.model import Proof, Tie
from syncd.core.ports import Group, StoredChunk, StoredRow
from syncd.core.selection import ALL, Selection
from syncd.store import store_classes_back, store_held
from syncd.store.class_choice import Choice
from syncd.store.listed import delete_rows
from syncd.store.store_classes import ClassRow, classes_of
from syncd.store.store_classes_keep import Alteration, Altered, close, follow, held_by_class
from syncd.store.store_collections import CollectionRow, TypeSet, are_seen, count_unseen, forget_seen, scan_runs, see
from syncd.store.store_compare import Changes, Moved, Stored, compare, first_import, insert
from syncd.store.store_references import Settled, follow_references
from syncd.store.ties import Owner, ties_of

_AT_HAND_ROWS_MAX = 100  # of a group that stays in memory to be sent at once
_AT_HAND_BYTES_MAX = 64 * 1024  # the same in bytes of keys and fields
_MOVED_MANY = 100  # rows that move to the end of the order: from here on they are


@dataclass(frozen=True, slots=True)
class AtHand:
    """What ``store_read.read`` returns after cursors from ``first`` to ``cursor`` as long as the store does not change:
    one small group. Of a class it has the ties of that group alone: none before it has anything to do with the class.
    """

    first: int
    cursor: int
    size_bytes: int
    chunk: StoredChunk


@dataclass(frozen=True, slots=True)
class Kept:
    """The collection and its classes after a batch. ``at_hand``: what it brought, where that became a small group at
    once, by class."""

    row: CollectionRow
    classes: Sequence[ClassRow]
    at_hand: dict[Selection, AtHand]


def keep(connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, batch: Batch, now_us: int) -> Kept:
    scans, classes = scan_runs(connection, row), classes_of(connection, row.id)
    followers = [(one.id, bool(one.ready), choice) for one in classes if (choice := _follower(types, one)) is not None]
    changes, settled, remembered = None, dict[int, Settled](), 0
    if scans and not row.imported and not row.scan_start and not followers:
        changes = first_import(connection, row, types, batch.observed)
    if changes is None:
        apart = _apart(connection, row, types, batch, now_us)
        if apart is None:
            return _hold(connection, row, types, batch, now_us)
        row, batch, changes = apart
        if scans:
            are_seen(connection, row, changes.equal, [one[-1] for one in changes.moved])
        settled = follow_references(connection, row, followers, changes)
        remembered = _remember(connection, row, changes.moved)
        _write(connection, row, changes)
    alteration = Alteration(_altered(changes) if classes else [], row.head, _may_be_taken_back(row, batch), settled)
    followed = _follow_classes(connection, types, classes, alteration)
    if changes.moved and not batch.loose and not row.loose:
        changes.ties = _tie(connection, row, changes.moved)
    after = row._replace(
        last=changes.last,
        version=row.version + 1,
        digest=digest.add(row.digest, changes.weight),
        objects=row.objects + changes.objects,
        mark=row.mark if batch.mark is None else batch.mark,
        loose=int(row.loose or (batch.loose and changes.last > row.last)),
        history_bytes=row.history_bytes + remembered,
        gone=row.gone + (changes.gone if batch.guard is not None else 0),
    )
    if batch.end_scan:
        forget_seen(connection, row)
        if row.held:
            store_held.close(connection, row, open_=False)
        after = after._replace(scanning=0, scanned=1)
    at_hand = None
    if batch.publish:
        at_hand = _at_hand(row, after, changes, now_us)
        at_once = row.last == row.head
        added = changes.objects + max(changes.gone, 0) if at_once else 0
        store_held.let_through(connection, after, batch.guard, now_us, added)
        if not at_once:
            store_classes_back.forget(connection, row)
        after = _publish(connection, after, at_once, not at_once or bool(changes.ties), now_us)
        if after.imported and not row.imported:
            after = _begin_history(connection, after)
    _save(connection, after)
    classes = [close(connection, after, types, one.before, one.after) for one in followed]
    return Kept(after, classes, {} if at_hand is None else _by_class(types, followed, at_hand))


def _save(connection: sqlite3.Connection, after: CollectionRow) -> None:
    connection.execute(
        "UPDATE collections SET head = ?, last = ?, version = ?, digest = ?, objects = ?, mark = ?, loose = ?,"
        " scanning = ?, scanned = ?, imported = ?, history = ?, history_bytes = ?, held = ?, held_last = ?, gone = ?"
        " WHERE id = ?",
        (
            after.head,
            after.last,
            after.version,
            after.digest,
            after.objects,
            after.mark,
            after.loose,
            after.scanning,
            after.scanned,
            after.imported,
            after.history,
            after.history_bytes,
            after.held,
            after.held_last,
            after.gone,
            after.id,
        ),
    )


@dataclass(frozen=True, slots=True)
class _Followed:
    """A class before and after a batch, and the rows that are in its order by that."""

    before: ClassRow
    after: ClassRow
    rows: list[StoredRow]

    def at_hand(self, all_: AtHand) -> AtHand:
        """``all_``: what is at hand of the whole group."""
        whole, after = all_.chunk, self.after
        proof = Proof(whole.last, after.digest, after.objects)
        chunk = StoredChunk(
            self.rows, whole.last, whole.groups, proof, whole.ties, whole.version, horizon=after.horizon
        )
        return AtHand(self.before.head, all_.cursor, all_.size_bytes, chunk)


def _by_class(types: TypeSet, followed: Sequence[_Followed], all_: AtHand) -> dict[Selection, AtHand]:
    of_classes = {types.choice(one.after.canonical).selection: one.at_hand(all_) for one in followed if one.rows}
    return {ALL: all_} | of_classes


def _follower(types: TypeSet, one: ClassRow) -> Choice | None:
    """Of a class that follows references."""
    choice = None if one.broken else types.choice(one.canonical)
    return choice if choice is not None and choice.follows else None


def _altered(changes: Changes) -> list[Altered]:
    altered = [
        Altered(change, 0, None, type_, key, hashed, fields, fault)
        for change, type_, key, _, hashed, fault, _, fields in changes.new
    ]
    altered += [
        Altered(change, former, before, *named, hashed, fields, fault)
        for named, before, (change, _, hashed, fault, _, fields, former) in zip(
            changes.named, changes.before, changes.moved, strict=True
        )
    ]
    altered.sort(key=itemgetter(0))
    return altered


def _follow_classes(
    connection: sqlite3.Connection, types: TypeSet, classes: Sequence[ClassRow], alteration: Alteration
) -> list[_Followed]:
    if not alteration.altered:
        return [_Followed(one, one, []) for one in classes]
    whole = [one for one in classes if not one.broken]
    held = held_by_class(connection, whole, alteration)
    followed = [_Followed(one, one, []) for one in classes if one.broken]
    for one in whole:
        after, rows = follow(connection, one, types.choice(one.canonical), alteration, held[one.id])
        followed.append(_Followed(one, after, rows))
    followed.sort(key=lambda one: one.before.canonical)
    return followed


def _apart(
    connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, batch: Batch, now_us: int
) -> tuple[CollectionRow, Batch, Changes] | None:
    """What of the batch goes into the order, and what it changes. None: all of it is held (R13). A comparison is no
    group: of it only what is of the held group, or is deleted beyond the measure, is left as it is."""
    loose = bool(row.scanning or row.loose or batch.loose)
    if row.held and not batch.release:
        if loose:
            row, batch = _without_held(connection, row, batch, now_us)
        elif store_held.is_open(connection, row) or store_held.among(connection, row, batch.observed):
            return None
    changes = compare(connection, row, types, batch.observed)
    if batch.release:
        changes.gone -= store_held.gone_among(connection, row, batch.observed)
    if not _is_too_much(connection, row, batch, changes.gone, now_us):
        after = store_held.leave(connection, row, batch.observed) if batch.release else row
        return after, batch, changes
    if not loose or batch.release:
        return None
    gone = [one for one in batch.observed if one.fields is None]
    row = store_held.join(connection, row, gone, now_us)
    if batch.sweep:
        store_held.close(connection, row, open_=True)
        see(connection, row, gone)
    batch = replace(batch, observed=[one for one in batch.observed if one.fields is not None])
    return row, batch, compare(connection, row, types, batch.observed)


def _is_too_much(connection: sqlite3.Connection, row: CollectionRow, batch: Batch, gone: int, now_us: int) -> bool:
    """``gone``: deletions of the batch that count; with those above the head, and those of a while before."""
    if batch.guard is None or not row.imported or not gone:
        return False
    spent = store_held.spent(connection, row, batch.guard, now_us)
    if batch.sweep:
        begun = bool(row.held) and store_held.is_open(connection, row)
        return begun or batch.guard.holds(count_unseen(connection, row), spent, row.objects)
    before = max(row.gone, 0)
    return batch.guard.holds(max(row.gone + gone, 0), spent, row.objects + before)


def _hold(connection: sqlite3.Connection, row: CollectionRow, types: TypeSet, batch: Batch, now_us: int) -> Kept:
    """The batch and all of its group that was kept before are held, whole (R2, R13): the store is as before it."""
    classes = store_classes_back.leave(connection, row)
    back = store_held.take_back(connection, row, types)
    classes = store_classes_back.come_back(connection, row, types, classes, back.former)
    after = row._replace(
        last=row.head,
        version=row.version + 1,
        digest=digest.add(row.digest, back.weight),
        objects=row.objects + back.objects,
        mark=row.mark if batch.mark is None else batch.mark,
        loose=0,
        history_bytes=row.history_bytes - back.history_bytes,
        gone=0,
    )
    after = store_held.join_whole(connection, after, back.observed, batch.observed, now_us)
    store_held.close(connection, after, open_=not batch.publish)
    _save(connection, after)
    return Kept(after, classes, {})


def _may_be_taken_back(row: CollectionRow, batch: Batch) -> bool:
    """A comparison is never held whole, see ``_apart``."""
    return not (batch.publish or batch.loose or row.loose)


def _without_held(
    connection: sqlite3.Connection, row: CollectionRow, batch: Batch, now_us: int
) -> tuple[CollectionRow, Batch]:
    """A comparison leaves the objects of the held group as they are, and sees them."""
    held = store_held.among(connection, row, batch.observed)
    if not held:
        return row, batch
    row = store_held.join(connection, row, [one for one in batch.observed if (one.type, one.key) in held], now_us)
    left = [one for one in batch.observed if (one.type, one.key) not in held]
    return row, replace(batch, observed=left)


def _at_hand(row: CollectionRow, after: CollectionRow, changes: Changes, now_us: int) -> AtHand | None:
    """The group that is about to be published, as it will be read. ``after``: before that."""
    count = len(changes.new) + len(changes.moved)
    if row.last != row.head or not 0 < count <= _AT_HAND_ROWS_MAX:
        return None
    rows = [
        StoredRow(change, born, type_, key, fields, fault)
        for change, type_, key, born, _, fault, _, fields in changes.new
    ]
    rows += [
        StoredRow(change, born, *named, fields, fault)
        for named, (change, born, _, fault, _, fields, _) in zip(changes.named, changes.moved, strict=True)
    ]
    size_bytes = sum(len(one.key) + len(one.fields or b"") for one in rows)
    if size_bytes > _AT_HAND_BYTES_MAX:
        return None
    rows.sort()
    last, loose = after.last, bool(after.loose)
    ties = () if loose else tuple(Tie(older, last) for _, older in sorted(changes.ties))
    group = Group(last, row.head + 1, loose, now_us, count)
    proof = Proof(last, after.digest, after.objects)
    return AtHand(
        row.head, row.head, size_bytes, StoredChunk(rows, last, (group,), proof, ties, after.version, after.horizon)
    )


def _remember(connection: sqlite3.Connection, row: CollectionRow, moved: Sequence[Moved]) -> int:
    """Keeps the published versions that are about to be replaced. One that was never published is none: what replaces
    it is what replaced the published one. Returns the bytes kept."""
    replaced = [(one[0], one[-1]) for one in moved if one[-1] <= row.head]
    kept = 0
    if replaced:
        connection.executemany(
            f"INSERT INTO {row.versions} (until, change, type, author, key, fields)"
            f" SELECT change + ?, change, type, author, key, fields FROM {row.table} WHERE change BETWEEN ? AND ?",
            _runs(replaced),
        )
        size = f"SELECT sum(length(key) + ifnull(length(fields), 0)) FROM {row.versions} WHERE until > ?"
        kept = connection.execute(size, (row.last,)).fetchone()[0]
    if len(replaced) < len(moved):
        again = [(one[0], one[-1]) for one in moved if one[-1] > row.head]
        connection.executemany(f"UPDATE {row.versions} SET until = ? WHERE until = ?", again)
    return kept


def _runs(replaced: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Neighbours that were replaced by neighbours, as one: how far they move, the first and the last. Objects that
    change in the order in which they came, as when a whole table is updated, are few of these."""
    by, first, last = 0, 0, -1
    for after, before in replaced:
        if before == last + 1 and after - before == by:
            last = before
            continue
        if last >= 0:
            yield by, first, last
        by, first, last = after - before, before, before
    yield by, first, last


def _begin_history(connection: sqlite3.Connection, row: CollectionRow) -> CollectionRow:
    """What came before the first import was complete is no state of the application that could be restored."""
    connection.execute(f"DELETE FROM {row.versions}")
    return row._replace(history=row.head, history_bytes=0)


def _write(connection: sqlite3.Connection, row: CollectionRow, changes: Changes) -> None:
    """A row that moves to the end goes and comes again: with many of them by fewer statements."""
    if len(changes.moved) < _MOVED_MANY:
        connection.executemany(
            f"UPDATE {row.table} SET change = ?, born = ?, hash = ?, fault = ?, author = ?, fields = ?"
            " WHERE change = ?",
            changes.moved,
        )
        insert(connection, row, changes.new)
        return
    delete_rows(connection, f"DELETE FROM {row.table} WHERE change", [one[-1] for one in changes.moved])
    rows: list[Stored] = [
        (change, type_, key, born, hashed, fault, author, fields)
        for (type_, key), (change, born, hashed, fault, author, fields, _) in zip(
            changes.named, changes.moved, strict=True
        )
    ]
    insert(connection, row, sorted([*rows, *changes.new], key=itemgetter(0)))


def _tie(connection: sqlite3.Connection, row: CollectionRow, moved: Sequence[Moved]) -> list[tuple[int, int]]:
    """Remembers which published groups share an object with the one that is being made: the changes that say so, each
    with the older group."""
    tied: set[int] = set()
    if row.last > row.head:
        earlier = connection.execute("SELECT older FROM ties WHERE collection = ? AND at > ?", (row.id, row.head))
        tied = {older for (older,) in earlier}

    def owner_of(change: int) -> Owner | None:
        query = "SELECT seq, first, loose, objects FROM groups_ WHERE collection = ? AND seq >= ? ORDER BY seq LIMIT 1"
        found = connection.execute(query, (row.id, change)).fetchone()
        return None if found is None else Owner(*found)

    def ties_within(first: int, last: int) -> list[tuple[int, int]]:
        query = "SELECT at, older FROM ties WHERE collection = ? AND at >= ? AND at <= ? ORDER BY at"
        return connection.execute(query, (row.id, first, last)).fetchall()

    ties = ties_of([(one[-1], one[0]) for one in moved if one[-1] <= row.head], tied, owner_of, ties_within)
    delete = "DELETE FROM ties WHERE collection = ? AND at = ?"
    connection.executemany(delete, [(row.id, at) for at in ties.dropped])
    insert = "INSERT INTO ties (collection, at, older, newer) VALUES (?, ?, ?, 0)"
    connection.executemany(insert, [(row.id, at, older) for at, older in ties.made])
    return list(ties.made)


def _publish(
    connection: sqlite3.Connection, row: CollectionRow, at_once: bool, tied: bool, now_us: int
) -> CollectionRow:
    """What waits becomes one group. ``at_once``: all of it came in one batch. ``tied``: it may have ties."""
    imported = int(row.imported or (row.scanned and not row.scanning))
    head, last = row.head, row.last
    if last == head:
        return row._replace(imported=imported, gone=0)
    objects = last - head
    if not at_once:  # an object that changed twice left a gap
        count = f"SELECT count(*) FROM {row.table} WHERE change > ?"
        objects = connection.execute(count, (head,)).fetchone()[0]
    connection.execute(
        "INSERT INTO groups_ VALUES (?, ?, ?, ?, ?, ?)", (row.id, last, head + 1, row.loose, now_us, objects)
    )
    if row.loose:
        connection.execute("DELETE FROM ties WHERE collection = ? AND at > ?", (row.id, head))
    elif tied:
        connection.execute("UPDATE ties SET newer = ? WHERE collection = ? AND at > ?", (last, row.id, head))
    return row._replace(head=last, loose=0, imported=imported, gone=0)
