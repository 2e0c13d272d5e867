"""A plan was carried out: what was put back stands no longer, what came down is what edits are above of (R7, R14)."""

from __future__ import annotations

import sqlite3

from syncd.core.ports import TargetState
from syncd.store import outbox_echo as echo
from syncd.store.outbox_plain import mix
from syncd.store.outbox_plan import MADE, PASS, forget_plan
from syncd.store.outbox_rows import Box, drop, free, hash_of, seal

# Written so that SQLite begins with the rows of the plan: many more edits may wait.
_VALUE = f"(SELECT {MADE} FROM plan_rows WHERE object = objects.id)"
_TOGETHER = 500  # groups that leave at a time
# Edits of objects that pass, in groups up to the one in which the version was made.
_PASSED = (
    "FROM plan_rows r CROSS JOIN edits e ON e.object = r.object AND e.stands AND NOT e.passed"
    " AND e.grp <= r.reached JOIN groups g ON g.id = e.grp WHERE r.box = :box AND r.kind = :pass AND g.sealed = :sealed"
)


def carried_out(connection: sqlite3.Connection, box: Box, state: TargetState) -> None:
    before, box.plans = box.plans, max(box.plans, state.plan)
    box.position = state.position
    if echo.carried_out(connection, box, before):
        forget_plan(connection, box)
        return
    query = "SELECT id, snapshot, whole, digest, objects FROM plans WHERE box = ?"
    plan = connection.execute(query, (box.id,)).fetchone()
    if plan is None:
        return
    id_, snapshot, whole, digest, objects = plan
    if id_ <= state.plan:
        if snapshot:
            box.digest, box.objects = bytes(len(box.digest)), 0
        else:
            box.stood(int.from_bytes(digest, "big"), objects)
        if not (whole and _pass_whole(connection, box)):
            _undo(connection, box)
            _pass(connection, box)
        drop(connection, _EQUAL, (box.id,))
    forget_plan(connection, box)


_EQUAL = "SELECT g.id FROM plan_groups p JOIN groups g ON g.id = p.grp WHERE p.box = ? AND p.equal AND g.ruling = ''"


def _undo(connection: sqlite3.Connection, box: Box) -> None:
    undone = "SELECT grp FROM plan_groups WHERE box = ? AND NOT equal"
    (last,) = connection.execute(f"SELECT max(number) FROM groups WHERE id IN ({undone})", (box.id,)).fetchone()
    if last is None:
        return
    connection.execute(
        f"UPDATE objects SET stands = 0, base = NULL WHERE id IN (SELECT object FROM edits WHERE grp IN ({undone}))",
        (box.id,),
    )
    connection.execute(f"UPDATE edits SET stands = 0 WHERE grp IN ({undone})", (box.id,))
    connection.execute(f"UPDATE groups SET stands = 0 WHERE id IN ({undone})", (box.id,))
    seal(connection, box, last, offered=False)


# ---------------------------------------------------------------- versions made here that came down


def _pass(connection: sqlite3.Connection, box: Box) -> None:
    values: dict[str, object] = {"box": box.id, "pass": PASS}
    connection.execute(
        f"UPDATE objects SET base = {_VALUE} WHERE stands = 1 AND base IS NOT {_VALUE}"
        " AND id IN (SELECT object FROM plan_rows WHERE box = :box AND kind = :pass)",
        values,
    )
    unsealed = "SELECT 1 FROM groups WHERE box = ? AND sealed = 0 LIMIT 1"
    if connection.execute(unsealed, (box.id,)).fetchone():
        _shorten(connection, values)
        _rebase(connection, values)
    _stop(connection, f"SELECT e.id, e.grp {_PASSED}", values | {"sealed": 1})


def _pass_whole(connection: sqlite3.Connection, box: Box) -> bool:
    """The same where groups came down whole and nothing else stands of their objects. False, and nothing is done: one
    was not sealed."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS stopped (grp INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.stopped")
    connection.execute("INSERT INTO temp.stopped SELECT grp FROM plan_whole WHERE box = ?", (box.id,))
    unsealed = "SELECT 1 FROM temp.stopped s CROSS JOIN groups g ON g.id = s.grp WHERE g.sealed = 0 LIMIT 1"
    if connection.execute(unsealed).fetchone():
        return False
    _leave(connection)
    return True


def _shorten(connection: sqlite3.Connection, values: dict[str, object]) -> None:
    """What the primary has is no change any more: groups that are not sealed lose it."""
    rows = connection.execute(
        "SELECT id, grp, object, ifnull(length(base), 0) + ifnull(length(fields), 0) FROM edits"
        f" WHERE id IN (SELECT e.id {_PASSED})",
        values | {"sealed": 0},
    ).fetchall()
    for row in rows:
        _remove(connection, *row)


def _remove(connection: sqlite3.Connection, edit: int, group: int, object_: int, size: int) -> None:
    """Removes an edit, and its group if it was the last in it."""
    (key,) = connection.execute("SELECT length(key) FROM objects WHERE id = ?", (object_,)).fetchone()
    connection.execute("DELETE FROM edits WHERE id = ?", (edit,))
    connection.execute("UPDATE groups SET bytes = bytes - ?, made = NULL WHERE id = ?", (size + key, group))
    connection.execute(
        "DELETE FROM groups WHERE id = ? AND NOT EXISTS (SELECT 1 FROM edits WHERE grp = groups.id)", (group,)
    )
    free(connection, object_)


def _rebase(connection: sqlite3.Connection, values: dict[str, object]) -> None:
    """The oldest edit above what came down is of this version, where it was joined with older ones meanwhile."""
    rows = connection.execute(
        "SELECT e.id, e.grp, e.object, ifnull(length(e.base), 0), ifnull(length(e.fields), 0), o.base,"
        " e.fields IS o.base AND e.fault = '' FROM plan_rows r CROSS JOIN edits e ON e.object = r.object AND e.stands"
        " JOIN objects o ON o.id = r.object JOIN groups g ON g.id = e.grp AND NOT g.sealed"
        " WHERE r.box = :box AND r.kind = :pass AND e.base IS NOT o.base AND e.grp = (SELECT min(grp) FROM edits"
        " WHERE object = r.object AND stands AND NOT passed AND grp > ifnull(r.reached, 0))",
        values,
    ).fetchall()
    for edit, group, object_, base, fields, value, void in rows:
        if void:
            _remove(connection, edit, group, object_, base + fields)
            continue
        connection.execute("UPDATE edits SET base = ? WHERE id = ?", (value, edit))
        longer = len(value or b"") - base
        connection.execute("UPDATE groups SET bytes = bytes + ?, made = NULL WHERE id = ?", (longer, group))


def _stop(connection: sqlite3.Connection, edits: str, values: dict[str, object]) -> None:
    """The edits came down. Groups of which all did stand no longer, and those that have their verdict leave; of the
    others it is noted."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS passing (edit INTEGER PRIMARY KEY, grp INTEGER NOT NULL)")
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS stopped (grp INTEGER PRIMARY KEY)")
    connection.execute("DELETE FROM temp.passing")
    connection.execute("DELETE FROM temp.stopped")
    connection.execute(f"INSERT INTO temp.passing {edits}", values)
    connection.execute(
        "INSERT INTO temp.stopped SELECT p.grp FROM (SELECT DISTINCT grp FROM temp.passing) p WHERE NOT EXISTS"
        " (SELECT 1 FROM edits e WHERE e.grp = p.grp AND NOT e.passed AND e.id NOT IN (SELECT edit FROM temp.passing))"
    )
    connection.execute(
        "UPDATE edits SET passed = 1 WHERE id IN"
        " (SELECT edit FROM temp.passing WHERE grp NOT IN (SELECT grp FROM temp.stopped))"
    )
    mix(connection, "SELECT grp FROM temp.passing", ())
    _leave(connection)


def _leave(connection: sqlite3.Connection) -> None:
    """Groups in ``stopped`` stand no longer, and leave if they have their verdict."""
    drop(connection, _LEAVING, ())
    stands_no_more = (
        "UPDATE objects SET stands = 0, base = NULL WHERE stands = 1 AND id IN ({})"
        " AND NOT EXISTS (SELECT 1 FROM edits WHERE object = objects.id AND stands)"
    )
    connection.execute(stands_no_more.format("SELECT object FROM temp.freed"))
    connection.execute("UPDATE groups SET stands = 0 WHERE id IN (SELECT grp FROM temp.stopped)")
    connection.execute("UPDATE edits SET stands = 0 WHERE grp IN (SELECT grp FROM temp.stopped)")
    connection.execute(stands_no_more.format("SELECT object FROM edits WHERE grp IN (SELECT grp FROM temp.stopped)"))


_LEAVING = (
    "SELECT g.id FROM temp.stopped s CROSS JOIN groups g ON g.id = s.grp WHERE g.ruling IN ('accepted', 'merged')"
)


def pass_standing(connection: sqlite3.Connection, box: Box) -> None:
    """Nothing comes down: what was made in groups that have their verdict counts as the primary's."""
    settled = "SELECT id FROM groups WHERE box = ? AND stands = 1 AND ruling <> '' ORDER BY id LIMIT ?"
    while groups := [group for (group,) in connection.execute(settled, (box.id, _TOGETHER))]:
        values = {"box": box.id, "first": groups[0], "last": groups[-1]}
        rows = connection.execute(
            "SELECT o.id, o.type, o.key, o.base, e.fields FROM groups g JOIN edits e ON e.grp = g.id"
            " JOIN objects o ON o.id = e.object WHERE g.box = :box AND g.stands = 1 AND g.ruling <> ''"
            " AND NOT e.passed AND g.id BETWEEN :first AND :last ORDER BY e.grp",
            values,
        ).fetchall()
        bases = {row[0]: row[3] for row in rows}
        for id_, type_, key, _, fields in rows:
            base, bases[id_] = bases[id_], fields
            change = hash_of(type_, key, fields) - hash_of(type_, key, base)
            box.stood(change, (fields is not None) - (base is not None))
            connection.execute("UPDATE objects SET base = ? WHERE id = ?", (fields, id_))
        _stop(
            connection,
            "SELECT DISTINCT older.id, older.grp FROM groups g JOIN edits e ON e.grp = g.id"
            " JOIN edits older ON older.object = e.object AND older.stands AND NOT older.passed AND older.grp <= e.grp"
            " WHERE g.box = :box AND g.stands = 1 AND g.ruling <> '' AND g.id BETWEEN :first AND :last",
            values,
        )
