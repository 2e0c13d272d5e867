"""The inbound queue in SQLite (claim 24k): frames received and not yet executed, and parked groups.

Owns ``inbound.db``. A frame is one row, with the bytes as they came (R6, R15). Keeps R3 (what was staged survives a
dropped link) and R7 (parked parts).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from syncd.core.errors import InvariantBroken
from syncd.core.inbound_queue import Arrival, arrival
from syncd.core.messages import Begin, Objects
from syncd.core.model import DataType, Failure, ObjectId, Proof
from syncd.core.ports import ParkedPart, Parking, Part, Transfer, Work
from syncd.core.settings import Limits
from syncd.store import inbound_parked as parked
from syncd.store.database import Database, give_back
from syncd.store.inbound_frames import Decode, ParkedIds, StagedFrames, parked_among
from syncd.store.inbound_park import Parker
from syncd.store.schema_files import Schema
from syncd.store.type_rows import COLUMNS, type_of, type_row

SCHEMA = Schema("inbound", 0x53594E02)

Loaded = tuple[Transfer | None, tuple[DataType, ...], Parking]


class SqliteInboundQueue:
    """See ``core.inbound_port``. ``decode`` turns the bytes of a staged frame into its message. ``named_max``: parked
    parts that are named; all are counted."""

    def __init__(self, database: Database, decode: Decode, named_max: int) -> None:
        self._database = database
        self._decode = decode
        self._named_max = named_max

    @classmethod
    async def open(cls, path: Path, decode: Decode, named_max: int = Limits().failed_max) -> SqliteInboundQueue:
        """Creates the file if it is missing."""
        return cls(await Database.open(path, SCHEMA), decode, named_max)

    async def close(self) -> None:
        await self._database.close()

    async def load(self, collection: str) -> Loaded:
        def look(connection: sqlite3.Connection) -> Loaded:
            types = tuple(_types(connection, collection).values())
            return (
                _transfer(connection, collection),
                types,
                parked.parking(connection, collection, None, self._named_max),
            )

        return await self._database.read(look)

    async def types(self, collection: str, types: Sequence[DataType]) -> None:
        rows = [(collection, *type_row(type_)) for type_ in types]
        add = f"INSERT OR REPLACE INTO types (collection, {COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(add, rows)

        await self._database.write(write)

    async def begin(self, collection: str, begin: Begin, types: Collection[int] = ()) -> None:
        def write(connection: sqlite3.Connection) -> None:
            _begin(connection, collection, begin)
            if begin.snapshot and begin.cursor == begin.base and types:
                others = _types(connection, collection).keys() - set(types)
                delete = "DELETE FROM types WHERE collection = ? AND id = ?"
                connection.executemany(delete, [(collection, number) for number in others])

        await self._database.write(write)

    async def stage(self, frames: Sequence[tuple[Objects, bytes]]) -> None:
        await self._database.write(lambda connection: _stage(connection, frames))

    async def work(self, collection: str) -> Work | None:
        def look(connection: sqlite3.Connection) -> Work | None:
            transfer = _transfer(connection, collection)
            cut = connection.execute(
                "SELECT id, cut, digest, objects FROM staged WHERE collection = ? AND cut IS NOT NULL"
                " ORDER BY id DESC LIMIT 1",
                (collection,),
            ).fetchone()
            if transfer is None or cut is None:
                return None
            last, *proof = cut
            count = "SELECT count(*) FROM staged WHERE collection = ? AND id <= ?"
            count = connection.execute(count, (collection, last)).fetchone()[0]
            return Work(
                collection=collection,
                epoch=transfer.epoch,
                snapshot=transfer.snapshot,
                frames=StagedFrames(self._database.path, collection, last, count, self._decode),
                types=_types(connection, collection),
                proof=Proof(*proof),
                skip=ParkedIds(self._database.path, collection) if parked.some(connection, collection) else None,
            )

        return await self._database.read(look)

    async def executed(self, collection: str, seq: int) -> None:
        await self._database.write(lambda connection: _executed(connection, collection, seq))

    async def filled(self, collection: str) -> bool:
        query = "SELECT filled FROM transfers WHERE collection = ?"
        return await self._database.read(lambda connection: connection.execute(query, (collection,)).fetchone() == (1,))

    async def park(self, work: Work, parts: Sequence[Part], retry_at_us: int) -> None:
        await self._database.write(lambda connection: Parker(connection, work, parts).park(retry_at_us))

    async def parking(self, collection: str, seq: int | None = None) -> Parking:
        return await self._database.read(
            lambda connection: parked.parking(connection, collection, seq, self._named_max)
        )

    async def parts(self, collection: str, ids: Sequence[int]) -> tuple[ParkedPart, ...]:
        return await self._database.read(lambda connection: parked.parts(connection, ids))

    async def any_parked(self, collection: str, objects: Iterable[ObjectId]) -> bool:
        return bool(await self._database.read(lambda connection: parked_among(connection, collection, objects)))

    async def make_due(self, collection: str, seqs: Collection[int] | None) -> None:
        await self._database.write(lambda connection: parked.make_due(connection, collection, seqs))

    async def due(self, collection: str, now_us: int, position: int) -> tuple[ParkedPart, ...]:
        return await self._database.read(lambda connection: parked.due(connection, collection, now_us, position))

    async def parked_works(self, collection: str, parts: Sequence[int]) -> tuple[Work, ...]:
        def look(connection: sqlite3.Connection) -> tuple[Work, ...]:
            transfer, types = _transfer(connection, collection), _types(connection, collection)
            if transfer is None:
                raise InvariantBroken(f"parts of {collection} are parked without a transfer")
            rows = parked.rows(connection, self._database.path, collection, parts)
            return tuple(Work(collection, transfer.epoch, False, frames, types, None) for frames in rows)

        return await self._database.read(look)

    async def retried(
        self, collection: str, applied: Collection[int], failed: Mapping[int, tuple[Failure, int]]
    ) -> None:
        await self._database.write(lambda connection: parked.retried(connection, applied, failed))

    async def clear(self, collection: str) -> None:
        def write(connection: sqlite3.Connection) -> None:
            for table in ("transfers", "types", "staged", "parked", "parked_objects"):
                connection.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))

        await self._database.write(write)


# ---------------------------------------------------------------- in the threads


def _transfer(connection: sqlite3.Connection, collection: str) -> Transfer | None:
    row = connection.execute(
        'SELECT epoch, snapshot, base, floor, "cursor", cut FROM transfers WHERE collection = ?', (collection,)
    ).fetchone()
    if row is None:
        return None
    epoch, snapshot, *numbers = row
    return Transfer(epoch, bool(snapshot), *numbers)


def _save(connection: sqlite3.Connection, collection: str, transfer: Transfer) -> None:
    connection.execute(
        'INSERT INTO transfers (collection, epoch, snapshot, base, floor, "cursor", cut) VALUES (?, ?, ?, ?, ?, ?, ?)'
        " ON CONFLICT (collection) DO UPDATE SET epoch = excluded.epoch, snapshot = excluded.snapshot,"
        ' base = excluded.base, floor = excluded.floor, "cursor" = excluded."cursor", cut = excluded.cut',
        (
            collection,
            transfer.epoch,
            transfer.snapshot,
            transfer.base,
            transfer.floor,
            transfer.cursor,
            transfer.cut,
        ),
    )


def _types(connection: sqlite3.Connection, collection: str) -> dict[int, DataType]:
    found = connection.execute(f"SELECT {COLUMNS} FROM types WHERE collection = ? ORDER BY id", (collection,))
    return {type_.id: type_ for type_ in map(type_of, found)}


def _complete(connection: sqlite3.Connection, collection: str, seq: int) -> tuple[int, int]:
    """Id and sequence number of the last staged cut up to ``seq``; zeros if there is none."""
    found = connection.execute(
        "SELECT id, cut FROM staged WHERE collection = ? AND cut <= ? ORDER BY id DESC LIMIT 1", (collection, seq)
    ).fetchone()
    return (0, 0) if found is None else found


def _begin(connection: sqlite3.Connection, collection: str, begin: Begin) -> None:
    old, fresh = _transfer(connection, collection), begin.cursor == begin.base
    if fresh and begin.snapshot:
        old = None
        for table in ("staged", "parked", "parked_objects"):
            connection.execute(f"DELETE FROM {table} WHERE collection = ?", (collection,))
    if fresh:
        complete, _ = _complete(connection, collection, _NO_END)
        connection.execute("DELETE FROM staged WHERE collection = ? AND id > ?", (collection, complete))
    connection.execute("DELETE FROM staged WHERE collection = ? AND last > ?", (collection, begin.cursor))
    complete, seq = _complete(connection, collection, _NO_END)
    cut = old.cut if old else 0
    transfer = Transfer(
        epoch=begin.epoch,
        snapshot=begin.snapshot or bool(old and old.snapshot and complete),
        base=begin.base,
        floor=begin.floor,
        cursor=begin.cursor,
        cut=seq if cut > begin.cursor else cut,
    )
    _save(connection, collection, transfer)


_NO_END = 2**63 - 1


def _stage(connection: sqlite3.Connection, frames: Sequence[tuple[Objects, bytes]]) -> None:
    transfers: dict[str, Transfer] = {}
    rows: list[tuple[str, int, int | None, bytes | None, int | None, bytes]] = []
    for frame, raw in frames:
        name, cut = frame.collection, frame.cut
        transfer = transfers.get(name) or _transfer(connection, name)
        if transfer is None or (came := arrival(transfer.cursor, frame)) is Arrival.GAP:
            raise InvariantBroken(f"a frame of {name} from {frame.first} does not continue a transfer")
        if came is Arrival.REPEAT:
            continue
        base, floor = (cut.seq, 0) if cut else (transfer.base, transfer.floor)
        transfers[name] = Transfer(
            transfer.epoch, transfer.snapshot, base, floor, frame.last, cut.seq if cut else transfer.cut
        )
        proof = (cut.seq, cut.digest, cut.objects) if cut else (None, None, None)
        rows.append((name, frame.last, *proof, raw))
    connection.executemany(
        "INSERT INTO staged (collection, last, cut, digest, objects, frame) VALUES (?, ?, ?, ?, ?, ?)", rows
    )
    for name, transfer in transfers.items():
        _save(connection, name, transfer)


def _executed(connection: sqlite3.Connection, collection: str, seq: int) -> None:
    """Frames of an unfinished transfer stay, whatever their numbers are."""
    done, _ = _complete(connection, collection, seq)
    if done:
        connection.execute("DELETE FROM staged WHERE collection = ? AND id <= ?", (collection, done))
        connection.execute("UPDATE transfers SET snapshot = 0, filled = 1 WHERE collection = ?", (collection,))
    give_back(connection)
