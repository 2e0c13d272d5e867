"""What a download means for edits that stand, and putting back what was refused (R7, R14).

Everything stays in tables, so that memory does not grow with the work nor with what waits. What a plan is asked when it
is carried out is in ``outbox_planned``.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator

from syncd.core.digest import EMPTY, add, object_hash, type_prefix
from syncd.core.edits import Plan
from syncd.core.errors import EditsUnread
from syncd.core.messages import Objects
from syncd.core.model import Kind, ObjectId
from syncd.core.ports import Work
from syncd.store.edit_groups import UNREAD
from syncd.store.outbox_plain import Sums, brought
from syncd.store.outbox_rows import Box, Row, lookup, next_plan

# Kinds of rows of a plan.
PASS = 1  # the work has a version made here, of a group that it has whole
SAME = 2  # it has the version below all of them
OVER = 3  # it has another: what was made here is written over
BACK = 4  # it does not name the object, which is put back

# The version that was made here, of a row that passes.
MADE = "(SELECT m.fields FROM edits m WHERE m.grp = plan_rows.reached AND m.object = plan_rows.object)"

Values = dict[str, dict[bytes, bytes | None]]
Made = tuple[int, bytes | None]  # in which group, which version
PlanRow = tuple[int, int, int, bool, int | None]
_DELETE, _WITHHELD = int(Kind.DELETE), int(Kind.WITHHELD)
_GROUPS_MAX = 50_000  # of which is counted how much of them a work brings; where there are more, none comes whole


def some_stand(connection: sqlite3.Connection, box: Box, snapshot: bool) -> bool:
    """Whether a work may concern anything."""
    query = "SELECT 1 FROM objects WHERE box = ? AND stands = 1 LIMIT 1"
    if connection.execute(query, (box.id,)).fetchone():
        return True
    query = "SELECT 1 FROM groups WHERE box = ? AND ruling = '' AND offered LIMIT 1"
    return snapshot and connection.execute(query, (box.id,)).fetchone() is not None


def forget_plan(connection: sqlite3.Connection, box: Box) -> None:
    for table in ("plans", "plan_rows", "plan_whole", "plan_groups"):
        connection.execute(f"DELETE FROM {table} WHERE box = ?", (box.id,))


def named(work: Work) -> Iterator[Values]:
    """The objects of the work with the versions that they will have: a frame at a time, by the names of their types."""
    for frame in work.frames():
        yield _of_frame(work, frame)


def _of_frame(work: Work, frame: Objects) -> Values:
    found: dict[int, dict[bytes, bytes | None]] = {type_: {} for type_ in set(frame.types)}
    for kind, type_, key, fields in zip(frame.kinds, frame.types, frame.keys, frame.fields, strict=True):
        if kind == _DELETE:
            found[type_][key] = None
        elif kind != _WITHHELD:
            found[type_][key] = fields
    values: Values = {}
    for type_, of_type in found.items():
        values.setdefault(work.types[type_].name, {}).update(of_type)
    return values


def _skipped(work: Work, type_: str, keys: Iterable[bytes]) -> frozenset[bytes]:
    """Those of the objects that are parked."""
    if work.skip is None:
        return frozenset()
    return frozenset(one.key for one in work.skip([ObjectId(type_, key) for key in keys]))


def touches(connection: sqlite3.Connection, box: Box, work: Work) -> bool:
    query = "SELECT key FROM objects WHERE box = ? AND stands = 1 AND type = ? AND key IN ({})"
    for values in named(work):
        for type_, rows in lookup(connection, query, box.id, values):
            standing = [key for (key,) in rows]
            if len(standing) > len(_skipped(work, type_, standing)):
                return True
    return False


_CHAINS = (
    "SELECT o.id, o.key, o.base, e.fields, e.grp, e.passed FROM objects o"
    " LEFT JOIN edits e ON e.object = o.id AND e.stands"
    " WHERE o.box = ? AND o.stands = 1 AND o.type = ? AND o.key IN ({})"
)


def _chains(found: list[Row]) -> Iterator[tuple[Row, list[Made]]]:
    """A row of each object, with the versions that stand of it and did not come down, oldest first. Sorting here is
    cheaper than a sort in SQLite, which would carry all versions."""
    found.sort(key=lambda row: row[4] or 0)
    chains: dict[int, tuple[Row, list[Made]]] = {}
    for row in found:
        chain = chains.setdefault(row[0], (row, []))[1]
        if row[4] is not None and not row[5]:
            chain.append((row[4], row[3]))
    yield from chains.values()


def leaves_and_restores(connection: sqlite3.Connection, box: Box) -> tuple[bool, bool]:
    """Whether the plan leaves any objects as they are, and puts back any."""
    query = "SELECT max(leave), max(kind = ?) FROM plan_rows WHERE box = ?"
    leaves, restores = connection.execute(query, (BACK, box.id)).fetchone()
    return bool(leaves), bool(restores)


class Planner:
    """Prepares one plan, in a transaction of the writer."""

    def __init__(self, connection: sqlite3.Connection, box: Box) -> None:
        self._connection = connection
        self._box = box
        self._digest = self._objects = 0
        self._alone = Counter[int]()  # by group: objects that pass of which nothing else stands
        self._mixed = False  # something is not as simple as that

    def prepare(self, work: Work | None) -> Plan:
        """The plan, without its callables."""
        forget_plan(self._connection, self._box)
        snapshot, whole = work is not None and work.snapshot, False
        if work and not snapshot and (come := brought(self._connection, self._box, work)):
            return self._stays(*come)
        if work is None:
            self._seed(
                "SELECT id FROM groups WHERE box = ? AND stands = 1 AND ruling <> '' AND seq <= ?",
                self._box.id,
                self._box.position,
            )
        elif snapshot:
            self._seed("SELECT id FROM groups WHERE box = ? AND stands = 1", self._box.id)
            self._compare_offered(work)
        else:
            for values in named(work):
                self._compare(work, values)
            if not (whole := self._comes_whole()):
                while self._doubt():
                    pass  # what is of no group of ours may have been all that told of another
                self._seed(
                    "SELECT e.grp FROM plan_rows r JOIN edits e ON e.object = r.object AND e.stands"
                    " WHERE r.box = ? AND r.kind = ?",
                    self._box.id,
                    OVER,
                )
        if not (snapshot or whole):
            self._close()
        self._refuse_open()
        if not self._some():
            return Plan(0, self._box.mark)
        return self._finish(snapshot, whole)

    # ------------------------------------------------------------ comparing

    def _compare(self, work: Work, values: Values) -> None:
        rows: list[PlanRow] = []
        none: list[tuple[int]] = []
        for type_, found in lookup(self._connection, _CHAINS, self._box.id, values):
            wanted, skipped = values[type_], _skipped(work, type_, (row[1] for row in found))
            several = len({row[0] for row in found}) < len(found)
            for row, chain in _chains(found if several else self._compare_alone(wanted, found, skipped, rows)):
                id_, key, base = row[:3]
                if key in skipped:
                    continue
                self._mixed = True
                if planned := self._row(id_, wanted[key], base, chain):
                    rows.append(planned)
                else:
                    none.append((id_,))
        self._connection.executemany("DELETE FROM plan_rows WHERE object = ?", none)  # of an earlier frame
        self._connection.executemany(
            "INSERT INTO plan_rows (object, box, kind, leave, reached) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (object) DO UPDATE SET kind = excluded.kind, leave = excluded.leave,"
            " reached = excluded.reached",
            rows,
        )

    def _compare_alone(
        self, wanted: dict[bytes, bytes | None], found: list[Row], skipped: frozenset[bytes], rows: list[PlanRow]
    ) -> list[Row]:
        """Objects of each of which one version stands: most of a work come down just so. Returns the others."""
        box, others = self._box.id, list[Row]()
        groups: list[int] = []
        for row in found:
            id_, key, _, fields, group, passed = row
            if passed or group is None or wanted[key] != fields or key in skipped:
                others.append(row)
            else:
                rows.append((id_, box, PASS, False, group))
                groups.append(group)
        if len(self._alone) <= _GROUPS_MAX:
            self._alone.update(groups)
        return others

    def _row(self, id_: int, value: bytes | None, base: bytes | None, chain: list[Made]) -> PlanRow | None:
        """What becomes of an object above whose version ``base`` the versions of the chain stand."""
        for group, fields in reversed(chain):
            if value == fields:
                return id_, self._box.id, PASS, group != chain[-1][0], group
        if value != base:
            return id_, self._box.id, OVER, False, None
        return (id_, self._box.id, SAME, True, None) if chain else None

    def _doubt(self) -> bool:
        """A version made here that the work has may be one that was made elsewhere and is the same by chance. It is of
        our group only if the work has the others of that group as well: a group is accepted whole. Whether there were
        any."""
        partly = (
            "SELECT other.grp FROM edits other LEFT JOIN plan_rows p ON p.object = other.object AND p.kind <> :same"
            " WHERE other.grp IN (SELECT e.grp FROM plan_rows r JOIN edits e ON e.object = r.object AND e.stands"
            "  WHERE r.box = :box AND r.kind = :pass) AND other.stands AND NOT other.passed AND p.object IS NULL"
        )
        unsure = (
            "SELECT r.object FROM plan_rows r JOIN edits mine ON mine.object = r.object AND mine.stands"
            f" AND NOT mine.passed AND mine.grp <= r.reached AND mine.grp IN ({partly})"
            " WHERE r.box = :box AND r.kind = :pass"
        )
        base = f"{MADE} IS (SELECT o.base FROM objects o WHERE o.id = plan_rows.object)"
        doubted = self._connection.execute(
            f"UPDATE plan_rows SET leave = leave AND {base}, kind = iif({base}, :same, :over)"
            f" WHERE object IN ({unsure})",
            {"box": self._box.id, "pass": PASS, "same": SAME, "over": OVER},
        )
        return doubted.rowcount > 0

    def _compare_offered(self, work: Work) -> None:
        query = (
            "SELECT o.key, g.id, e.fields FROM objects o JOIN edits e ON e.object = o.id JOIN groups g ON g.id = e.grp"
            " WHERE o.box = ? AND o.type = ? AND o.key IN ({}) AND g.ruling = '' AND g.offered"
        )
        for values in named(work):
            for type_, rows in lookup(self._connection, query, self._box.id, values):
                skipped = _skipped(work, type_, (row[0] for row in rows))
                for key, group, fields in rows:
                    self._connection.execute("DELETE FROM plan_groups WHERE grp = ?", (group,))
                    if key not in skipped and values[type_][key] == fields:
                        insert = "INSERT INTO plan_groups (grp, box, equal) VALUES (?, ?, 1)"
                        self._connection.execute(insert, (group, self._box.id))

    # ------------------------------------------------------------ what is put back

    def _seed(self, groups: str, *values: int) -> None:
        insert = f"INSERT OR IGNORE INTO plan_groups (grp, box, equal) SELECT g.*, ?, 0 FROM ({groups}) g"
        self._connection.execute(insert, (self._box.id, *values))

    def _close(self) -> None:
        """All that stands and is joined by shared objects to what is put back is put back as well."""
        values = {"box": self._box.id, "over": OVER, "back": BACK}
        lost = "SELECT e.object FROM plan_groups p JOIN edits e ON e.grp = p.grp WHERE p.box = :box"
        self._connection.execute(
            "INSERT OR IGNORE INTO plan_groups (grp, box, equal)"
            " WITH RECURSIVE joined (grp) AS ("
            "  SELECT grp FROM plan_groups WHERE box = :box"
            "  UNION SELECT other.grp FROM joined JOIN edits e ON e.grp = joined.grp"
            "  JOIN edits other ON other.object = e.object AND other.stands)"
            " SELECT grp, :box, 0 FROM joined",
            values,
        )
        self._connection.execute(
            f"UPDATE plan_rows SET kind = :over, leave = 0 WHERE box = :box AND object IN ({lost})",
            values,
        )
        self._connection.execute(
            f"INSERT OR IGNORE INTO plan_rows (object, box, kind, leave) SELECT object, :box, :back, 0 FROM ({lost})",
            values,
        )

    def _refuse_open(self) -> None:
        query = "SELECT 1 FROM plan_groups p JOIN groups g ON g.id = p.grp WHERE p.box = ? AND g.number IS NULL LIMIT 1"
        if self._connection.execute(query, (self._box.id,)).fetchone():
            raise EditsUnread(UNREAD)

    def _some(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM plan_rows WHERE box = :box)"
        query += " OR EXISTS (SELECT 1 FROM plan_groups WHERE box = :box)"
        return bool(self._connection.execute(query, {"box": self._box.id}).fetchone()[0])

    # ------------------------------------------------------------ sums

    def _comes_whole(self) -> bool:
        """Whether the work brings all of each group of which it brings anything, just as it was made, and nothing else
        that an edit stands above: then nothing is in doubt and nothing is put back. An object that came again in a
        later frame is counted twice, and has one row."""
        if self._mixed or not 0 < len(self._alone) <= _GROUPS_MAX:
            return False
        query = "SELECT count(*) FROM edits WHERE grp = ?"
        if any(self._count(query, group) != count for group, count in self._alone.items()):
            return False
        return self._count("SELECT count(*) FROM plan_rows WHERE box = ?", self._box.id) == self._alone.total()

    def _count(self, query: str, value: int) -> int:
        count: int = self._connection.execute(query, (value,)).fetchone()[0]
        return count

    def _finish(self, snapshot: bool, whole: bool) -> Plan:
        self._box.plans = next_plan(self._box.plans)
        if whole and self._nothing_else_stands():
            standing = self._box.overlay()
            self._digest, self._objects = -standing.digest, -standing.objects
        elif not snapshot:
            self._sum(MADE, PASS)
            self._sum(_TOP, OVER)
        plan = Plan(self._box.plans, self._box.mark, self._digest, self._objects)
        if not snapshot and not whole:
            self._sum(_TOP, BACK)
        self._note(snapshot, whole, self._alone if whole else ())
        return plan

    def _stays(self, groups: list[int], sums: Sums) -> Plan:
        """The plan of a work that brings these groups as they were made, and nothing else."""
        self._box.plans = next_plan(self._box.plans)
        self._digest, self._objects = sums.gain, sums.more
        self._note(False, True, groups)
        return Plan(self._box.plans, self._box.mark, self._digest, self._objects, stays=True)

    def _note(self, snapshot: bool, whole: bool, groups: Iterable[int]) -> None:
        """Keeps what the plan does to the sums, and the groups that come down whole."""
        self._connection.execute(
            "INSERT INTO plans (box, id, snapshot, whole, digest, objects) VALUES (?, ?, ?, ?, ?, ?)",
            (self._box.id, self._box.plans, snapshot, whole, add(EMPTY, self._digest), self._objects),
        )
        self._connection.executemany(
            "INSERT INTO plan_whole (grp, box) VALUES (?, ?)", [(group, self._box.id) for group in groups]
        )

    def _nothing_else_stands(self) -> bool:
        """Then what the checksum gains is what counted all that stands back to what the primary sent."""
        more = "SELECT 1 FROM objects WHERE box = ? AND stands = 1 LIMIT 1 OFFSET ?"
        return self._connection.execute(more, (self._box.id, self._alone.total())).fetchone() is None

    def _sum(self, version: str, kind: int) -> None:
        """What the checksum and the count gain where the version becomes the base of objects of this kind."""
        rows = self._connection.execute(
            f"SELECT o.type, o.key, o.base, {version} FROM plan_rows JOIN objects o ON o.id = plan_rows.object"
            " WHERE plan_rows.box = ? AND plan_rows.kind = ?",
            (self._box.id, kind),
        )
        prefixes: dict[str, bytes] = {}
        for type_, key, base, fields in rows:
            self._gain(prefixes.get(type_) or prefixes.setdefault(type_, type_prefix(type_)), key, base, fields)

    def _gain(self, prefix: bytes, key: bytes, base: bytes | None, fields: bytes | None) -> None:
        if fields is not None:
            self._digest += object_hash(prefix, key, fields)
            self._objects += 1
        if base is not None:
            self._digest -= object_hash(prefix, key, base)
            self._objects -= 1


_ABOVE = "FROM edits e WHERE e.object = plan_rows.object AND e.stands AND NOT e.passed"
_TOP = f"iif(EXISTS (SELECT 1 {_ABOVE}), (SELECT e.fields {_ABOVE} ORDER BY e.grp DESC LIMIT 1), o.base)"
