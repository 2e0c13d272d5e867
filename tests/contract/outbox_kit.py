"""What the suites of the outbox share: edits, works and verdicts by short names."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from syncd.core.digest import object_hash, type_prefix
from syncd.core.edits import Edit, LocalBatch, OutboxState, Plan
from syncd.core.messages import Objects, Run, Upload, Verdict
from syncd.core.model import DataType, Kind, ObjectId, Proof
from syncd.core.ports import TargetState, Work
from syncd.core.settings import Limits
from syncd.core.upward_ports import Outbox
from syncd.store.memory_outbox import MemoryOutbox
from syncd.store.outbox import SqliteOutbox
from syncd.store.outbox_plain import COLUMNS, Sums, stored

NAME = "notes"
EPOCH = "00000000000000aa"
NOTE = DataType(5, "note", ("id",), ("text",))
NEXT = DataType(8, "note", ("id",), ("text", "colour"))  # the same table with another column
LIMITS = Limits(frame_bytes=200, object_bytes_max=1_000, edit_group_bytes_max=4_000, refused_s_max=100.0)
S = 1_000_000

Change = tuple[str | None, str | None]


@asynccontextmanager
async def outbox_of(kind: str, directory: Path) -> AsyncIterator[Outbox]:
    """The outbox in SQLite or in memory, the types of ``NAME`` described."""
    if kind == "memory":
        memory = MemoryOutbox(LIMITS)
        await memory.types(NAME, [NOTE])
        yield memory
        return
    real = await SqliteOutbox.open(directory / "outbox.db", LIMITS)
    await real.types(NAME, [NOTE])
    yield real
    await real.close()


def note(key: str) -> ObjectId:
    return ObjectId(NOTE.name, key.encode())


def raw(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


def edit(key: str, base: str | None, fields: str | None, fault: str = "") -> Edit:
    return Edit(NOTE.id, key.encode(), raw(base), raw(fields), fault)


def edits(changes: Mapping[str, Change]) -> tuple[Edit, ...]:
    return tuple(edit(key, *change) for key, change in changes.items())


async def make(
    outbox: Outbox, changes: Mapping[str, Change], mark: int | None = None, close: bool = True, seal: bool = False
) -> OutboxState:
    """Keeps a group: key -> the version before, the version since then. ``seal``: it is sent at once."""
    batch = LocalBatch(edits(changes), close, mark, 7 * S)
    if not seal:
        return await outbox.keep(NAME, batch)
    return (await outbox.keep_and_take(NAME, batch, 0, 1_000_000))[0]


async def offer(outbox: Outbox, objects: Mapping[str, str], mark: int | None = None) -> OutboxState:
    rows = tuple(edit(key, None, fields) for key, fields in objects.items())
    return await outbox.keep(NAME, LocalBatch(rows, True, mark, 8 * S, offered=True))


def work(
    objects: Mapping[str, str | None], snapshot: bool = False, skip: frozenset[ObjectId] = frozenset(), seq: int = 9
) -> Work:
    """Key -> fields, None where the object is deleted; two frames."""
    rows = list(objects.items())
    parts = [rows[::2], rows[1::2]]
    frames = [
        Objects(
            NAME,
            seq - 1,
            seq,
            (Run(seq, False, len(part)),),
            bytes(Kind.DELETE if fields is None else Kind.MODIFY for _, fields in part),
            [NOTE.id] * len(part),
            [key.encode() for key, _ in part],
            [b"" if fields is None else fields.encode() for _, fields in part],
        )
        for part in parts
    ]
    proof = Proof(seq, bytes(16), 0)
    return Work(
        NAME, EPOCH, snapshot, lambda: iter(frames), {NOTE.id: NOTE}, proof, skip.intersection if skip else None
    )


def at(position: int, plan: int = 0) -> TargetState:
    return TargetState(EPOCH, position, bytes(16), 0, plan)


def accepted(number: int, seq: int) -> Verdict:
    return Verdict(number, "accepted", seq, "", "", b"", 0)


def refused(number: int, cause: str = "no", key: str = "", conflict: int = 0) -> Verdict:
    return Verdict(number, "refused", 0, cause, NOTE.name if key else "", key.encode(), conflict)


def hashed(key: str, fields: str | None) -> int:
    return 0 if fields is None else object_hash(type_prefix(NOTE.name), key.encode(), fields.encode())


def difference(changes: Mapping[str, Change]) -> int:
    """What the checksum gains where each object goes from the one version to the other."""
    return sum(hashed(key, new) - hashed(key, old) for key, (old, new) in changes.items()) % (1 << 128)


def left(plan: Plan, *keys: str) -> set[str]:
    """Those of the objects that stay as they are."""
    if plan.leave is None:
        return set()
    return {one.key.decode() for one in plan.leave([note(key) for key in keys])}


def put_back(plan: Plan) -> dict[str, str | None]:
    if plan.restore is None:
        return {}
    return {
        one.key.decode(): None if one.fields is None else one.fields.decode()
        for one in plan.restore()
        if one.type == NOTE.id
    }


def groups_of(uploads: tuple[Upload, ...]) -> dict[int, dict[str, Change]]:
    """What travels: number -> key -> the version before, the version since then."""
    found: dict[int, dict[str, Change]] = {}
    for upload in uploads:
        rows = zip(upload.kinds, upload.keys, upload.bases, upload.fields, strict=True)
        for made in upload.runs:
            for _ in range(made.rows):
                kind, key, base, fields = next(rows)
                before = None if kind == Kind.ADD else base.decode()
                after = None if kind == Kind.DELETE else fields.decode()
                found.setdefault(made.number, {})[key.decode()] = (before, after)
    return found


async def sent(outbox: Outbox, after: int = 0, bytes_max: int = 100_000) -> dict[int, dict[str, Change]]:
    return groups_of(await outbox.take(NAME, after, bytes_max))


async def plain_groups(outbox: SqliteOutbox) -> list[int]:
    """Numbers of the groups that count as plain; what their rows say of them is so."""

    def look(connection: sqlite3.Connection) -> list[int]:
        query = f"SELECT id, number, {COLUMNS} FROM groups WHERE stands AND made IS NOT NULL ORDER BY id"
        return [number for id_, number, *sums in connection.execute(query) if _checked(connection, id_, tuple(sums))]

    return await outbox._database.read(look)


def _checked(connection: sqlite3.Connection, group: int, kept: tuple[object, ...]) -> bool:
    sums = Sums()
    rows = connection.execute(
        "SELECT o.type, o.id, e.type_id, o.key, e.base, e.fields, e.fault FROM edits e"
        " JOIN objects o ON o.id = e.object WHERE e.grp = ? AND NOT e.passed",
        (group,),
    ).fetchall()
    for name, object_, *rest in rows:
        sums.count(Edit(*rest), type_prefix(name))
        others = "SELECT count(*) FROM edits WHERE object = ? AND stands"
        assert connection.execute(others, (object_,)).fetchone() == (1,), "nothing else stands of it"
        base = connection.execute("SELECT base FROM objects WHERE id = ?", (object_,)).fetchone()
        assert base == (rest[2],), "it stands above what the primary sent last"
    assert stored(sums) == kept
    return True
