"""Groups of edits that come down just as they were made: their plan needs no commit of its own (R6, R7, R14).

What stands is known from the last commit of a collection, where it is little. A work at hand that brings one group
whole, of objects of which nothing else stands, and no other object of which anything does, gets a plan whose id names
the group. The target keeps the id in the commit of the work, and the group is on the disk before: so that after a crash
the outbox knows what was carried out. Ids of all other plans name group 0.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from syncd.core.edits import Plan
from syncd.core.ports import Work
from syncd.store.outbox_plan import named
from syncd.store.outbox_rows import GROUPS_MAX, Box, drop, free, hash_of, next_plan

OBJECTS_MAX = 32  # that stand; of more nothing is known here
ROWS_MAX = 256  # of a work; a larger one is planned in the thread

One = tuple[str, bytes]  # type, key
Version = bytes | None


@dataclass(slots=True)
class Standing:
    """``objects``: all of which edits stand, each with the number of its group in ``groups``, 0 where it is not as
    simple as that. ``groups``: base and fields of all objects of a group that was sealed and came down in no part.
    ``plans``: the id of the last plan."""

    mark: int
    plans: int
    objects: dict[One, int]
    groups: dict[int, dict[One, tuple[Version, Version]]]

    def plan(self, work: Work | None) -> Plan | None:
        """What the work means; None: it takes a look into the tables to tell."""
        if work is None or not work.at_hand or work.snapshot or work.skip is not None:
            return None
        if sum(len(frame) for frame in work.frames()) > ROWS_MAX:
            return None
        brought: dict[One, Version] = {}
        for values in named(work):
            for type_, of_type in values.items():
                brought.update(
                    {(type_, key): fields for key, fields in of_type.items() if (type_, key) in self.objects}
                )
        touched = {self.objects[one] for one in brought}
        if not touched:
            return Plan(0, self.mark)
        if len(touched) > 1:
            return None
        (group,) = touched
        made = self.groups.get(group)
        if made is None or {one: fields for one, (_, fields) in made.items()} != brought:
            return None
        self.plans = next_plan(self.plans, group)
        return Plan(self.plans, self.mark, *_gain(made))


def _gain(made: dict[One, tuple[Version, Version]]) -> tuple[int, int]:
    """What checksum and count gain where the fields take the places of the bases."""
    digest = objects = 0
    for (type_, key), (base, fields) in made.items():
        digest += hash_of(type_, key, fields) - hash_of(type_, key, base)
        objects += (fields is not None) - (base is not None)
    return digest, objects


def standing(connection: sqlite3.Connection, box: Box) -> Standing | None:
    """As it is after this commit; None where it is much, or a plan was prepared that may still be carried out."""
    if connection.execute("SELECT 1 FROM plans WHERE box = ?", (box.id,)).fetchone():
        return None
    more = "SELECT 1 FROM objects WHERE box = ? AND stands = 1 LIMIT 1 OFFSET ?"
    if connection.execute(more, (box.id, OBJECTS_MAX)).fetchone():
        return None
    rows = connection.execute(
        "SELECT o.type, o.key, o.base, e.fields, ifnull(e.grp, 0), g.sealed AND g.number > 0 AND e.fault = ''"
        " FROM objects o LEFT JOIN edits e ON e.object = o.id AND e.stands AND NOT e.passed"
        " LEFT JOIN groups g ON g.id = e.grp WHERE o.box = ? AND o.stands = 1 LIMIT ?",
        (box.id, OBJECTS_MAX + 1),
    ).fetchall()
    if len(rows) > OBJECTS_MAX:
        return None
    found = Standing(box.mark, box.plans, {}, {})
    mixed = {0}
    for type_, key, base, fields, group, simple in rows:
        one = (type_, key)
        if one in found.objects or not simple or group > GROUPS_MAX:
            mixed |= {group, found.objects.get(one, 0)}
        found.objects[one] = group
        found.groups.setdefault(group, {})[one] = base, fields
    mixed |= {group for group in found.groups if _came_down_in_part(connection, group)}
    for group in mixed:
        for one in found.groups.pop(group, {}):
            found.objects[one] = 0
    return found


def _came_down_in_part(connection: sqlite3.Connection, group: int) -> bool:
    query = "SELECT 1 FROM edits WHERE grp = ? AND passed LIMIT 1"
    return connection.execute(query, (group,)).fetchone() is not None


def carried_out(connection: sqlite3.Connection, box: Box, before: int) -> bool:
    """Whether the last plan, which came after ``before``, named a group; then that came down."""
    group = box.plans & GROUPS_MAX
    if box.plans < next_plan(before) or not group:
        return False
    edits = connection.execute(
        "SELECT o.id, o.type, o.key, o.base, e.fields FROM groups g JOIN edits e ON e.grp = g.id"
        " JOIN objects o ON o.id = e.object WHERE g.id = ? AND g.box = ? AND g.stands = 1 AND NOT e.passed",
        (group, box.id),
    ).fetchall()
    if edits:
        box.stood(*_gain({(type_, key): (base, fields) for _, type_, key, base, fields in edits}))
        _leaves(connection, group, [(fields, id_) for id_, *_, fields in edits])
    return True


def _leaves(connection: sqlite3.Connection, group: int, fields: list[tuple[Version, int]]) -> None:
    """The group stands no longer, and leaves if it has its verdict."""
    connection.executemany("UPDATE objects SET base = ? WHERE id = ?", fields)
    query = "SELECT id FROM groups WHERE id = ? AND ruling IN ('accepted', 'merged')"
    if connection.execute(query, (group,)).fetchone():
        drop(connection, query, (group,))
    else:
        connection.execute("UPDATE groups SET stands = 0 WHERE id = ?", (group,))
        connection.execute("UPDATE edits SET stands = 0 WHERE grp = ?", (group,))
    for _, id_ in fields:
        free(connection, id_)
