"""Edits come into the outbox: the open group, joining groups that share an object, what is offered (R11, R13)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from syncd.core.digest import type_prefix
from syncd.core.edits import Edit, LocalBatch
from syncd.core.settings import Limits
from syncd.store.edit_groups import Refusal, edit_bytes, refusal, too_large
from syncd.store.outbox_fresh import insert, known
from syncd.store.outbox_plain import COLUMNS, Sums, mix, stored
from syncd.store.outbox_rows import NO_END, Box, free, hash_of, last_number, seal, type_name

_AT_ONCE = 4  # edits from which their objects are looked up together


class _Object(NamedTuple):
    """``stands``: edits of it do; then ``base`` is the version below them."""

    id: int
    stands: int
    base: bytes | None


class _Top(NamedTuple):
    """The newest edit of an object that stands and did not come down."""

    id: int
    group: int
    base: bytes | None
    fields: bytes | None


class Keeper:
    """Keeps one batch."""

    def __init__(self, connection: sqlite3.Connection, box: Box, batch: LocalBatch, limits: Limits) -> None:
        self._connection = connection
        self._box = box
        self._batch = batch
        self._limits = limits
        self._names: dict[int, str] = {}
        self._open, self._sums = self._find_open()

    def keep(self) -> None:
        batch = self._batch
        if batch.offered:
            self._close()
            self._seal_ordinary()
            for edit in batch.edits:
                self._offer(edit)
        else:
            self._add_all(batch.edits)
            if batch.close:
                self._close()
            else:
                self._keep_sums()
        if batch.mark is not None:
            self._box.mark = batch.mark

    def _find_open(self) -> tuple[int, Sums | None]:
        query = f"SELECT id, {COLUMNS} FROM groups WHERE box = ? AND ruling = '' AND number IS NULL"
        row = self._connection.execute(query, (self._box.id,)).fetchone()
        return (row[0], Sums.of(*row[1:])) if row else (0, None)

    def _name(self, edit: Edit) -> str:
        if edit.type not in self._names:
            self._names[edit.type] = type_name(self._connection, self._box, edit.type)
        return self._names[edit.type]

    def _seal_ordinary(self) -> None:
        seal(self._connection, self._box, NO_END, offered=False)

    # ------------------------------------------------------------ the open group

    def _add_all(self, edits: Sequence[Edit]) -> None:
        """In their order; neighbours of whose objects nothing is kept yet at once."""
        if len(edits) < _AT_ONCE:
            for edit in edits:
                self._add(edit)
            return
        for edit in edits:
            self._name(edit)
        there, fresh = known(self._connection, self._box, edits, self._names), list[Edit]()
        for edit in edits:
            one = (self._names[edit.type], edit.key)
            if one in there:
                self._add_fresh(fresh)
                fresh = []
                self._add(edit)
            else:
                there.add(one)
                fresh.append(edit)
        self._add_fresh(fresh)

    def _add_fresh(self, edits: list[Edit]) -> None:
        """The same as ``_add``, for different objects of which nothing is kept."""
        if self._batch.close:
            edits = [edit for edit in edits if not _void(edit.base, edit)]
        if edits:
            group = self._opened()
            sums = insert(self._connection, self._box, group, edits, self._names)
            if self._sums is not None:
                self._sums.join(sums)
            self._grow(group, sum(map(edit_bytes, edits)))

    def _add(self, edit: Edit) -> None:
        """Adds an edit to the open group, above what stands. Of one that is in it the base stays."""
        found = self._object(edit)
        top = self._top(found.id) if found and found.stands else None
        before = self._held(found, top) if found and found.stands else edit.base
        after: bytes | None
        if found and found.stands:
            mix(self._connection, "SELECT grp FROM edits WHERE object = ? AND stands", (found.id,))
        if found and top and top.group == self._open:
            after = self._change(found.id, top, edit)
        elif _void(edit.base, edit) and self._batch.close:
            return  # else its base may be needed yet: the group goes on
        else:
            after = edit.fields
            self._put(self._stand(edit, found), edit)
        if found and found.stands:
            self._sums = None
        elif self._sums is not None:
            self._sums.count(edit, type_prefix(self._name(edit)))
        self._stood(edit, before, after)

    def _stood(self, edit: Edit, before: bytes | None, after: bytes | None) -> None:
        """Another version of an object stands in the application."""
        name = self._name(edit)
        change = hash_of(name, edit.key, before) - hash_of(name, edit.key, after)
        self._box.stood(change, (before is not None) - (after is not None))

    def _object(self, edit: Edit) -> _Object | None:
        query = "SELECT id, stands, base FROM objects WHERE box = ? AND type = ? AND key = ?"
        row = self._connection.execute(query, (self._box.id, self._name(edit), edit.key)).fetchone()
        return _Object(*row) if row else None

    def _held(self, found: _Object, top: _Top | None) -> bytes | None:
        """What the application holds of an object that stands."""
        return found.base if top is None else top.fields

    def _top(self, object_: int) -> _Top | None:
        query = (
            "SELECT id, grp, base, fields FROM edits WHERE object = ? AND stands AND NOT passed"
            " ORDER BY grp DESC LIMIT 1"
        )
        row = self._connection.execute(query, (object_,)).fetchone()
        return _Top(*row) if row else None

    def _change(self, object_: int, top: _Top, edit: Edit) -> bytes | None:
        """Another version in the same group, or none any more. Returns what stands then."""
        size = edit_bytes(edit._replace(base=top.base))
        former = edit_bytes(edit._replace(base=top.base, fields=top.fields))
        if not (_void(top.base, edit) and self._batch.close):
            self._connection.execute(
                "UPDATE edits SET type_id = ?, fields = ?, fault = ? WHERE id = ?",
                (edit.type, edit.fields, edit.fault, top.id),
            )
            self._connection.execute("UPDATE objects SET type_id = ? WHERE id = ?", (edit.type, object_))
            self._grow(top.group, size - former)
            return edit.fields
        self._connection.execute("DELETE FROM edits WHERE id = ?", (top.id,))
        self._grow(top.group, -former)
        return self._beneath(object_)

    def _beneath(self, object_: int) -> bytes | None:
        """What stands after an edit went: the newest that is left, or the version below them."""
        row = self._connection.execute(
            "SELECT o.base, e.id, e.fields FROM objects o"
            " LEFT JOIN edits e ON e.object = o.id AND e.stands AND NOT e.passed"
            " WHERE o.id = ? ORDER BY e.grp DESC LIMIT 1",
            (object_,),
        ).fetchone()
        free(self._connection, object_)
        base, edit, fields = row
        left: bytes | None = base if edit is None else fields
        return left

    def _stand(self, edit: Edit, found: _Object | None, stands: bool = True) -> int:
        """The object's row; where no edit of it stands, the version below this one is its base."""
        base = edit.base if stands else None
        if found is None:
            return (
                self._connection.execute(
                    "INSERT INTO objects (box, type, key, type_id, stands, base) VALUES (?, ?, ?, ?, ?, ?)",
                    (self._box.id, self._name(edit), edit.key, edit.type, stands, base),
                ).lastrowid
                or 0
            )
        if stands and not found.stands:
            self._connection.execute("UPDATE objects SET stands = 1, base = ? WHERE id = ?", (base, found.id))
        self._connection.execute("UPDATE objects SET type_id = ? WHERE id = ?", (edit.type, found.id))
        return found.id

    def _put(self, object_: int, edit: Edit) -> None:
        self._insert(self._opened(), object_, edit, stands=True)

    def _opened(self) -> int:
        if not self._open:
            insert = "INSERT INTO groups (box, time_us) VALUES (?, ?)"
            self._open = self._connection.execute(insert, (self._box.id, self._batch.time_us)).lastrowid or 0
            self._sums = Sums()
        return self._open

    def _insert(self, group: int, object_: int, edit: Edit, stands: bool) -> None:
        self._connection.execute(
            "INSERT INTO edits (grp, object, type_id, stands, fault, base, fields) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (group, object_, edit.type, stands, edit.fault, edit.base, edit.fields),
        )
        self._grow(group, edit_bytes(edit))

    def _grow(self, group: int, size: int) -> None:
        self._connection.execute("UPDATE groups SET bytes = bytes + ? WHERE id = ?", (size, group))

    def _keep_sums(self) -> None:
        if self._open:
            change = "UPDATE groups SET edits = ?, made = ?, gain = ?, more = ? WHERE id = ?"
            self._connection.execute(change, (*stored(self._sums), self._open))

    # ------------------------------------------------------------ closing it

    def _close(self) -> None:
        group, self._open = self._open, 0
        if not group:
            return
        self._settle_void(group)
        if not self._connection.execute("SELECT 1 FROM edits WHERE grp = ? LIMIT 1", (group,)).fetchone():
            self._connection.execute("DELETE FROM groups WHERE id = ?", (group,))
            return
        if (why := self._refusal(group)) is not None:
            self._refuse(group, why)
            return
        mates, size = self._mates(group)
        if mates and size > self._limits.edit_group_bytes_max:
            self._seal_ordinary()
            mates = []
        if mates:
            self._join(mates, group)
        else:
            self._close_alone(group)

    def _settle_void(self, group: int) -> None:
        """Edits that change nothing go."""
        void = self._connection.execute(
            "SELECT e.id, e.object, length(o.key) + 2 * ifnull(length(e.base), 0) FROM edits e"
            " JOIN objects o ON o.id = e.object WHERE e.grp = ? AND e.base IS e.fields AND e.fault = ''",
            (group,),
        ).fetchall()
        if void:
            self._sums = None
        for edit, object_, size in void:
            self._connection.execute("DELETE FROM edits WHERE id = ?", (edit,))
            self._grow(group, -size)
            free(self._connection, object_)

    def _close_alone(self, group: int) -> None:
        number = last_number(self._connection, self._box) + 1
        change = "UPDATE groups SET number = ?, time_us = ?, edits = ?, made = ?, gain = ?, more = ? WHERE id = ?"
        self._connection.execute(change, (number, self._batch.time_us, *stored(self._sums), group))

    def _refusal(self, group: int) -> Refusal | None:
        limits, query = (
            self._limits,
            (
                "SELECT e.type_id, o.key, e.base, e.fields, e.fault FROM edits e JOIN objects o ON o.id = e.object"
                " WHERE e.grp = ? AND (e.fault <> '' OR ifnull(length(e.base), 0) + ifnull(length(e.fields), 0) > ?)"
                " ORDER BY e.id LIMIT 1"
            ),
        )
        (total,) = self._connection.execute("SELECT bytes FROM groups WHERE id = ?", (group,)).fetchone()
        guilty = self._connection.execute(query, (group, limits.object_bytes_max)).fetchone()
        return refusal([Edit(*guilty)], limits) if guilty else too_large(total, limits)

    def _refuse(self, group: int, why: Refusal) -> None:
        """A group that cannot travel gets this device's own verdict."""
        type_, key = why.guilty or (None, None)
        now_us = self._batch.time_us
        self._connection.execute(
            "UPDATE groups SET number = ifnull(number, ?), time_us = ?, sealed = 1, ruling = 'refused', cause = ?,"
            " guilty_type = ?, guilty_key = ?, settled_us = ?, made = NULL WHERE id = ?",
            (
                last_number(self._connection, self._box) + 1,
                now_us,
                why.cause,
                None if type_ is None else type_name(self._connection, self._box, type_),
                key,
                now_us,
                group,
            ),
        )
        self._box.high = max(self._box.high, last_number(self._connection, self._box))
        self._seal_ordinary()

    def _mates(self, group: int) -> tuple[list[int], int]:
        """Groups not sealed that share an object with it, oldest first, and the bytes of all together."""
        unsealed = "SELECT 1 FROM groups WHERE box = ? AND sealed = 0 AND number > 0 LIMIT 1"
        if not self._connection.execute(unsealed, (self._box.id,)).fetchone():
            return [], 0
        mates = self._connection.execute(
            "SELECT DISTINCT g.id, g.bytes FROM edits e JOIN edits other ON other.object = e.object AND other.stands"
            " JOIN groups g ON g.id = other.grp AND g.sealed = 0 AND NOT g.offered AND g.number > 0 AND g.ruling = ''"
            " WHERE e.grp = ? ORDER BY g.id",
            (group,),
        ).fetchall()
        (own,) = self._connection.execute("SELECT bytes FROM groups WHERE id = ?", (group,)).fetchone()
        return [id_ for id_, _ in mates], own + sum(size for _, size in mates)

    def _join(self, mates: list[int], group: int) -> None:
        """Joins all into the oldest."""
        oldest, *others = mates
        for other in others:
            self._move(other, oldest)
        for row in self._shared(oldest, group):
            self._fold(row)
        self._move(group, oldest)
        change = "UPDATE groups SET time_us = ?, made = NULL WHERE id = ?"
        self._connection.execute(change, (self._batch.time_us, oldest))
        if not self._connection.execute("SELECT 1 FROM edits WHERE grp = ? LIMIT 1", (oldest,)).fetchone():
            self._connection.execute("DELETE FROM groups WHERE id = ?", (oldest,))

    def _shared(self, oldest: int, group: int) -> list[tuple[_Top, int, int, Edit]]:
        """Objects of both groups: the edit in the older one, the object, the edit in the newer one."""
        rows = self._connection.execute(
            "SELECT older.id, older.grp, older.base, older.fields, e.object, e.id, e.type_id, o.key, e.base, e.fields,"
            " e.fault FROM edits e JOIN edits older ON older.grp = ? AND older.object = e.object"
            " JOIN objects o ON o.id = e.object WHERE e.grp = ?",
            (oldest, group),
        )
        return [(_Top(*row[:4]), row[4], row[5], Edit(*row[6:])) for row in rows.fetchall()]

    def _fold(self, row: tuple[_Top, int, int, Edit]) -> None:
        """The newer edit of an object goes into the older one."""
        older, object_, newer, edit = row
        self._connection.execute("DELETE FROM edits WHERE id = ?", (newer,))
        self._stood(edit, edit.fields, self._change(object_, older, edit))

    def _move(self, group: int, into: int) -> None:
        """What a group holds goes into another that shares no object with it."""
        (size,) = self._connection.execute(
            "SELECT total(ifnull(length(e.base), 0) + ifnull(length(e.fields), 0) + length(o.key))"
            " FROM edits e JOIN objects o ON o.id = e.object WHERE e.grp = ?",
            (group,),
        ).fetchone()
        self._grow(into, int(size))
        self._connection.execute("UPDATE edits SET grp = ? WHERE grp = ?", (into, group))
        self._connection.execute("DELETE FROM groups WHERE id = ?", (group,))

    # ------------------------------------------------------------ what is offered

    def _offer(self, edit: Edit) -> None:
        found = self._object(edit)
        if found and found.stands:
            held = self._held(found, self._top(found.id))
            if held != edit.fields:  # it was changed and the log does not say so
                self._add(edit._replace(base=held))
                self._close()
                self._seal_ordinary()
            return
        newest = self._waiting(found.id) if found else None
        if newest and newest[1]:
            self._offer_anew(newest[0], edit)
        elif newest is None or newest[2:] != (edit.fields, edit.fault):
            number = last_number(self._connection, self._box) + 1
            insert = "INSERT INTO groups (box, number, time_us, offered, stands) VALUES (?, ?, ?, 1, 0)"
            group = self._connection.execute(insert, (self._box.id, number, self._batch.time_us)).lastrowid or 0
            self._insert(group, self._stand(edit, found, stands=False), edit, stands=False)
            self._refuse_alone(group, edit)

    def _waiting(self, object_: int) -> tuple[int, bool, bytes | None, str] | None:
        """The newest group that waits and holds the object, or that had a fault: whether it can be offered anew, and
        the object's version in it."""
        row = self._connection.execute(
            "SELECT g.id, g.offered AND NOT g.sealed, e.fields, e.fault FROM edits e JOIN groups g ON g.id = e.grp"
            " WHERE e.object = ? AND (g.ruling = '' OR e.fault <> '') ORDER BY e.grp DESC LIMIT 1",
            (object_,),
        ).fetchone()
        return None if row is None else (row[0], bool(row[1]), row[2], row[3])

    def _offer_anew(self, group: int, edit: Edit) -> None:
        change = "UPDATE edits SET type_id = ?, base = NULL, fields = ?, fault = ? WHERE grp = ? RETURNING object"
        (object_,) = self._connection.execute(change, (edit.type, edit.fields, edit.fault, group)).fetchone()
        self._connection.execute("UPDATE objects SET type_id = ? WHERE id = ?", (edit.type, object_))
        self._connection.execute(
            "UPDATE groups SET bytes = ?, time_us = ? WHERE id = ?", (edit_bytes(edit), self._batch.time_us, group)
        )
        self._refuse_alone(group, edit)

    def _refuse_alone(self, group: int, edit: Edit) -> None:
        if (why := refusal([edit], self._limits)) is not None:
            self._refuse(group, why)


def _void(base: bytes | None, edit: Edit) -> bool:
    """Above this base the edit changes nothing."""
    return base == edit.fields and not edit.fault
