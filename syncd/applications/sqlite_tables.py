"""What executing needs around the rows: the tables of the types as they are here, and temporary ones."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from syncd.applications.base import RowFailed
from syncd.applications.sqlite_common import fold
from syncd.applications.sqlite_definition import Shape, shape
from syncd.applications.sqlite_foreign_keys import TEMP_TABLES as FOREIGN_KEY_TABLES
from syncd.applications.sqlite_foreign_keys import ForeignKeys
from syncd.applications.sqlite_noted import ALL
from syncd.applications.sqlite_read import unreadable
from syncd.core.model import DataType, Failure, Kind, OutcomeKind

_WRITTEN = frozenset((Kind.ADD, Kind.MODIFY))
Result = TypeVar("Result")
TEMP_TABLES = (
    *FOREIGN_KEY_TABLES,
    *(noted.table for noted in ALL),
    "CREATE TEMP TABLE _syncd_index(name_id INTEGER, key BLOB, type INTEGER, at INTEGER, extra BLOB,"
    " PRIMARY KEY(name_id, key)) WITHOUT ROWID",
)
NOT_THE_ROWS = frozenset(  # errors that no other row would escape
    (
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_INTERRUPT,
    )
)


class Columns(NamedTuple):
    """Rows as columns of equal length."""

    kinds: Sequence[int]
    types: Sequence[int]
    keys: Sequence[bytes]
    fields: Sequence[bytes]

    def part(self, start: int, end: int) -> Columns:
        """The rows from ``start`` to before ``end``."""
        return Columns(self.kinds[start:end], self.types[start:end], self.keys[start:end], self.fields[start:end])

    def only(self, rows: Sequence[int]) -> Columns:
        """The rows at these places."""
        kinds, types, keys, fields = ([column[i] for i in rows] for column in self)
        return Columns(kinds, types, keys, fields)  # type: ignore[arg-type]

    def pieces(self) -> Iterable[tuple[tuple[int, int], int]]:
        """Types and verbs of rows that follow on one another, and of how many; mostly of all."""
        if len(set(self.types)) == 1 and _WRITTEN.issuperset(self.kinds):
            return (((self.types[0], Kind.MODIFY), len(self.types)),)
        pairs = zip(self.types, map(verb, self.kinds), strict=True)
        return ((which, sum(1 for _ in rows)) for which, rows in itertools.groupby(pairs))


def verb(kind: int) -> int:
    """An add and a modify are executed alike: either may come twice (R6)."""
    return Kind.MODIFY if kind == Kind.ADD else kind


Chunks = Callable[[], Iterable[Columns]]


class UniqueFailed(RowFailed):
    """A value under a UNIQUE index was taken; perhaps only until the rest of the work is done."""


class PieceFailed(RowFailed):
    """Many rows did not go in together, and which of them did it is not known; the transaction must be given up."""


class Tables:
    """The types of a work as the tables here hold them; kept from work to work while nothing changes.

    Types whose names differ in case only are one table (``name_ids``); the type with the greatest id counts.
    ``superseded``: the others. ``renamed``: name ids of tables that types of several names are. ``create``: tables
    that are missing are made.
    """

    def __init__(self, connection: sqlite3.Connection, types: Mapping[int, DataType], create: bool) -> None:
        self.types = dict(types)
        self._newest = newest_by_table(types)
        numbers = {table: at for at, table in enumerate(sorted(self._newest))}
        self.name_ids = {one.name: numbers[fold(one.name)] for one in types.values()}
        newest = self._newest.values()
        self.superseded = frozenset(types) - frozenset(newest)
        shapes: dict[int, Shape | str] = {}
        for number in (*newest, *self.superseded):  # a missing table is made as the newest type says
            one = types[number]
            shapes[number] = shape(connection, one, self.name_ids[one.name], create)
        self.shapes = shapes
        self.renamed = frozenset(
            self.name_ids[types[number].name]
            for number in self.superseded
            if types[number].name != types[self._newest[fold(types[number].name)]].name
        )
        self.current = [found for number in newest if isinstance(found := shapes[number], Shape)]
        self.foreign_keys = ForeignKeys.of(connection, self.current)
        self.broken = {
            number: Failure(OutcomeKind.CANCELLED, reason, None)
            for number, reason in shapes.items()
            if isinstance(reason, str)
        }
        self.void = {number: why for number, why in self.broken.items() if self.to_delete(number) in self.broken}

    def noted(self, shape: Shape) -> bool:
        """Whether a foreign key concerns the type."""
        table = fold(shape.table.name)
        return table in self.foreign_keys.by_child or table in self.foreign_keys.by_parent

    def to_delete(self, type_id: int) -> int:
        """The type to remove an object with: a type that came back under another id has another shape by then."""
        newest, key = self._newest[fold(self.types[type_id].name)], self.types[type_id].key
        return newest if list(map(fold, self.types[newest].key)) == list(map(fold, key)) else type_id

    def recast(self, before: Mapping[int, DataType]) -> bool:
        """Whether a table that held objects of the types ``before`` was made anew, or its objects have another name."""
        held = {table: before[number].name for table, number in newest_by_table(before).items()}
        for table, number in self._newest.items():
            found = self.shapes[number]
            made = isinstance(found, Shape) and found.created
            if table in held and (made or held[table] != self.types[number].name):
                return True
        return False


def newest_by_table(types: Mapping[int, DataType]) -> dict[str, int]:
    """Folded name of a table -> the id that counts: a type that changed came back under a greater id."""
    return {fold(types[number].name): number for number in sorted(types)}


def robust(connection: sqlite3.Connection, read: Callable[[], Result]) -> Result:
    """Runs ``read``; if a row holds text that is not UTF-8, again with a stand-in for what cannot be decoded, which
    is enough to tell it from what it should be."""
    try:
        return read()
    except (sqlite3.Error, UnicodeError) as error:
        if not unreadable(error):
            raise
    connection.text_factory = _decode
    try:
        return read()
    finally:
        connection.text_factory = str


def _decode(raw: bytes) -> str:
    return raw.decode(errors="replace")
