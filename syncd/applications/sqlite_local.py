"""What the application itself changes on an auxiliary, in the database's thread (``core.upward_ports.Local``).

Reading takes short read transactions; the application's lock is taken to make the capture, and to put right one that
the application's migrations took with them: then what was changed is not known, which is said (``lost``).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from syncd.applications.base import named
from syncd.applications.sqlite_common import data_version, primary_code, schema_version, transaction
from syncd.applications.sqlite_definition import Shape
from syncd.applications.sqlite_local_capture import LocalCapture
from syncd.applications.sqlite_local_log import LocalLog, Logged
from syncd.applications.sqlite_log import number_of
from syncd.applications.sqlite_position import NOTHING, Position
from syncd.applications.sqlite_ranked import Ranked
from syncd.applications.sqlite_read import TOGETHER, Named, Reader, together, unreadable
from syncd.applications.sqlite_tables import Columns, Tables
from syncd.core import digest
from syncd.core.edits import Edit, LocalChanges, Overlay, Plan
from syncd.core.errors import EditsUnread
from syncd.core.model import DataType, Observed
from syncd.core.settings import Limits

_OURS_BYTES = 2 * 1024 * 1024  # no value of our own is longer
_UNREAD_MAX = 10_000  # rows of the log that are counted in, or looked through before a work; more are read first
_DISCARD_ROWS = 1_000  # the log is cut back in pieces of at least this
_END = -1  # in place of the number of a type: all were offered
_DISCARD_BUSY_MS = 20  # R16: the application's lock comes first, the log can wait


class Local:
    """On one connection. ``captures``: what the application changes is captured."""

    def __init__(
        self, connection: sqlite3.Connection, collection: str, position: Position, limits: Limits, captures: bool
    ) -> None:
        self._capture = LocalCapture(connection, collection, limits)
        self._log = LocalLog(connection, self._capture, limits)
        self._connection = connection
        self._position = position
        self._limits = limits
        self._captures = captures
        self._described: dict[int, DataType] = {}
        self._alone = False
        self._tables: tuple[int, Tables] | None = None  # schema_version, tables of the types that are kept
        self._readers: dict[int, Reader] = {}
        self._intact = self._fit = -1  # schema_version at which the capture was found so
        self._fit_for: tuple[Tables, ...] = ()  # those of the works, and those of the types that are kept
        self._drained = (-1, 0)  # data_version and mark at which nothing remained
        self._discarded = 0
        self._ranked: Ranked | None = None  # rows of the table that is offered

    def forget(self) -> None:
        """A transaction failed: what is known may be of a schema that was rolled back."""
        self._intact = self._fit = self._capture.there_at = -1
        self._tables = None
        self._position.forget()

    def describe(self, types: Mapping[int, DataType], alone: bool = False) -> bool:
        self._described, self._alone, kept = dict(types), alone, self._position.types()
        return bool(types) and bool(kept) and self._may_be_others() and named(kept) != named(types)

    def _may_be_others(self) -> bool:
        """Whether what was described counts, whatever types are kept."""
        return self._alone or not self._holds()

    def _holds(self) -> bool:
        """Whether a work was executed."""
        return bool((self._position.state() or NOTHING).epoch)

    # ------------------------------------------------------------ reading

    def changes(self, mark: int, limit: int, beside: bool = False) -> LocalChanges:
        """``beside``: other work goes on, so that nothing is put right; what cannot be read is not drained."""
        version = data_version(self._connection)
        if self._drained == (version, mark):
            return LocalChanges((), mark, True)
        for _ in range(2):
            with self._reading():
                if not self._captures or not self._position.types():
                    return LocalChanges((), mark, True)
                there = self._capture.there()
                if not there and not self._holds():
                    return LocalChanges((), mark, True)
                lost = there and self._misses(mark)
                if there and not lost and self._fits(self._held()):
                    changes = self._changes(mark, limit)
                    self._drained = (version, changes.mark) if changes.drained else (-1, 0)
                    return changes
            if beside:
                break
            begun = self._put_right(lost)
            if lost:
                return LocalChanges((), begun, False, lost=True)
        return LocalChanges((), mark, False)  # else the schema changes just now

    def _changes(self, mark: int, limit: int) -> LocalChanges:
        tables = self._held()
        rows = list(self._log.read(tables.current, mark, limit))
        edits: dict[tuple[int, bytes], Edit] = {}
        reached, size, current = mark, 0, dict[tuple[int, bytes], Observed]()
        for at, row in enumerate(rows):
            reached = row.mark
            shape = row.shape
            if at % TOGETHER == 0:
                current = together(self._connection, map(self._named, rows[at : at + TOGETHER]))
            if shape is None or (shape.type.id, row.key) in edits:
                continue
            edits[shape.type.id, row.key] = edit = self._edit(row, shape, current)
            size += len(edit.key) + len(edit.base or b"") + len(edit.fields or b"")
            if size >= self._limits.scan_bytes_max:
                break
        drained = reached == self._log.last_mark() if rows else True
        # In a page of several, a later one may tell of an object as something else than it was before this one.
        whole = drained and mark in (0, self._drained[1])
        kept = (one for one in edits.values() if not whole or one.fault or one.base != one.fields)
        return LocalChanges(tuple(kept), reached, drained)

    def _named(self, row: Logged) -> Named | None:
        if row.shape is None:
            return None
        return self._reader(row.shape), row.values, row.key  # type: ignore[return-value]

    def _edit(self, row: Logged, shape: Shape, current: Mapping[tuple[int, bytes], Observed]) -> Edit:
        found = current.get((shape.type.id, row.key)) or self._current(row, shape)
        return Edit(shape.type.id, row.key, row.before or None, found.fields, found.fault)

    def _current(self, row: Logged, shape: Shape) -> Observed:
        """The object as it is."""
        found = self._reader(shape).one(self._connection, row.values, row.key)  # type: ignore[arg-type]
        return next(one for one in found if one.key == row.key)

    def _reader(self, shape: Shape) -> Reader:
        reader = self._readers.get(shape.type.id)
        if reader is None:
            table = replace(shape.table, key=shape.type.key, fields=shape.type.fields)
            self._readers[shape.type.id] = reader = Reader(table, shape.type.id, self._limits)
        return reader

    def offer(self, after: tuple[object, ...] | None, limit: int) -> tuple[LocalChanges, tuple[object, ...] | None]:
        """A page goes on after (mark, number of the type, where in it). Parents go first: what is offered is executed a
        part at a time."""
        if not (self._position.types() or self._described):
            return LocalChanges((), 0, True), None
        mark, type_id, place = (self._begin_offer(), 0, None) if after is None else after
        assert isinstance(mark, int)
        with self._reading():
            tables = self._held()
            order = tables.foreign_keys.parents_first(tables.current)
            ids = [shape.type.id for shape in order] + [_END]
            for at in range(ids.index(type_id) if type_id in ids else 0, len(order)):
                observed, more = self._offered(order[at], place if ids[at] == type_id else None, limit)
                edits = tuple(Edit(one.type, one.key, None, one.fields, one.fault) for one in observed)
                if more is not None:
                    return LocalChanges(edits, mark, False), (mark, ids[at], more)
                if edits:
                    return LocalChanges(edits, mark, False), (mark, ids[at + 1], None)
        return LocalChanges((), mark, True), None

    def _offered(self, shape: Shape, after: object, limit: int) -> tuple[list[Observed], object]:
        """A page of a table after a place in it: a rank where its rows refer to later ones, else a key."""
        reader = self._reader(shape)
        try:
            if after is None:
                ranked = Ranked(self._connection, reader, self._held().foreign_keys)
                self._ranked = ranked if ranked.rank() else None
            if self._ranked is not None and (after is None or isinstance(after, int)):
                return self._ranked.page(after or 0, limit, self._limits)
        except Exception as error:
            if not unreadable(error):  # a key, which a page in their order tells apart; it may offer rows once more
                raise
            self._ranked = after = None
        observed, more, _ = reader.page(self._connection, after if isinstance(after, tuple) else None, limit)
        return observed, more

    def _begin_offer(self) -> int:
        """Logging begins; the mark of its beginning."""
        with transaction(self._connection, "IMMEDIATE"):
            if not self._position.types() or (self._described and self._may_be_others()):
                self._position.make()
                self._position.keep_types(self._described)
            if not self._captures:
                return 0
            self.forget()
            self._capture.install(self._held().current, lost=False)
            return self._log.begin_anew()

    def above(self, overlay: Overlay | None) -> tuple[int, int]:
        """What to add to what the tables hold to get what the primary sent. Inside a transaction."""
        if overlay is None:
            return 0, 0
        change, objects = overlay.digest, overlay.objects
        if not self._capture.there():
            return change, objects
        if self._misses(overlay.mark):
            raise _unread()
        rows = list(self._unread(overlay.mark))
        if (rows[-1].mark if rows else overlay.mark) != self._log.last_mark():
            raise _unread()
        for row in _first(rows):
            assert row.shape is not None
            for fields, sign in ((row.before, 1), (self._current(row, row.shape).fields, -1)):
                if fields is not None:
                    change += sign * digest.object_hash(row.shape.prefix, row.key, fields)
                    objects += sign
        return change, objects

    # ------------------------------------------------------------ around what is executed

    def check(self, plan: Plan | None, tables: Tables, chunks: Iterable[Columns] | None) -> None:
        """Raises EditsUnread if what was logged after the plan's mark touches a row of ``chunks`` (None: any)."""
        if plan is None or not self._capture.there():
            return
        whole, any_later = self._log.since(plan.mark)
        if not whole or not self._is_intact():
            raise _unread()
        if not any_later:
            return
        if chunks is None or not self._fits(tables):
            raise _unread()
        rows = list(self._unread(plan.mark))
        if rows[-1].mark != self._log.last_mark():
            raise _unread()
        # Where equal keys are not the same, a row may answer to the key of another object.
        alike = {row.shape.name_id for row in rows if row.shape is not None and not row.shape.table.exact}
        touched = {(row.shape.name_id, row.key) for row in rows if row.shape is not None}
        for columns in chunks:
            for type_id, key in zip(columns.types, columns.keys, strict=True):
                name_id = tables.name_ids[tables.types[type_id].name]
                if (name_id, key) in touched or name_id in alike:
                    raise _unread()

    def is_as_read(self, mark: int, tables: Tables) -> bool:
        """Whether these tables are known to hold what they held at the mark. Inside a transaction."""
        if not (self._captures and self._capture.there() and self._is_intact() and self._fits(tables)):
            return False
        return self._log.since(mark) == (True, False)

    @contextlib.contextmanager
    def silent(self, tables: Tables, snapshot: bool, anew: bool = False) -> Iterator[None]:
        """Nothing of what is written meanwhile is logged (R12); after it, the capture is as it should be. ``anew``: the
        target held nothing before."""
        if self._captures and not snapshot and not anew and self._is_known(tables):
            with self._capture.silent(without=False):
                yield
            return
        there = self._capture.there()
        lost = there and not self._is_intact()
        with self._capture.silent(without=snapshot) if there else contextlib.nullcontext():
            yield
        if there and not self._captures:
            self._capture.remove()
        if not self._captures:
            return
        if not there or lost or not self._fits(tables):
            self._capture.install(tables.current, lost)
        if anew or not there:
            self._log.begin()
            self._discarded = 0

    def is_long(self, mark: int) -> bool:
        """Whether many rows wait to be cut back. Else it can wait until the application is idle: it takes its lock
        (R16). From any thread."""
        return number_of(mark) - self._discarded >= _DISCARD_ROWS

    def cut_back(self, mark: int) -> None:
        """Forgets what is in the outbox, unless the application has its lock."""
        number = number_of(mark)
        if number <= self._discarded or not self._capture.there():
            return
        self._connection.execute(f"PRAGMA busy_timeout={_DISCARD_BUSY_MS}")
        try:
            self._log.cut_back(number)
            self._discarded = number
        except sqlite3.OperationalError as error:
            if primary_code(error) not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
        finally:
            self._connection.execute(f"PRAGMA busy_timeout={int(self._limits.busy_s_max * 1000)}")

    # ------------------------------------------------------------ the capture

    def _misses(self, mark: int) -> bool:
        """Whether what was changed after the mark is not all in the log."""
        return not self._is_intact() or not self._log.since(mark)[0]

    def _is_intact(self) -> bool:
        version = schema_version(self._connection)
        if self._intact != version and self._capture.intact():
            self._intact = version
        return self._intact == version

    def _is_known(self, tables: Tables) -> bool:
        """Whether the capture was found as it should be for these tables, and the schema is the same since."""
        version = schema_version(self._connection)
        return version == self._capture.there_at == self._intact == self._fit and tables in self._fit_for

    def _fits(self, tables: Tables) -> bool:
        version = schema_version(self._connection)
        if self._fit != version:
            self._fit, self._fit_for = version, ()
        if tables not in self._fit_for and self._capture.fits(tables.current):
            self._fit_for = (*self._fit_for[-1:], tables)
        return tables in self._fit_for

    def _put_right(self, lost: bool) -> int:
        """Makes the capture as it should be; the mark at the end of its log."""
        with transaction(self._connection, "IMMEDIATE"):
            self.forget()
            self._capture.install(self._held().current, lost=False)
            self.forget()
            return self._log.begin_anew() if lost else self._log.last_mark()

    def _held(self) -> Tables:
        """The tables of the types that are kept. Inside a transaction."""
        version, types = schema_version(self._connection), self._position.types()
        if self._tables is None or self._tables[0] != version or self._tables[1].types != types:
            self._tables = version, Tables(self._connection, types, create=False)
            self._readers.clear()
        return self._tables[1]

    def _unread(self, mark: int) -> Iterator[Logged]:
        return self._log.read(self._held().current, mark, _UNREAD_MAX)

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """A read transaction in which a value over the limit cannot be read."""
        most = max(_OURS_BYTES, self._limits.object_bytes_max + 4096)
        limit = self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, most)
        try:
            with transaction(self._connection, "DEFERRED"):
                yield
        finally:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, limit)


def _unread() -> EditsUnread:
    return EditsUnread("the application changed just now what is about to be written or counted")


def _first(rows: Iterable[Logged]) -> Iterator[Logged]:
    """Each object once, as it was before the first change."""
    seen: set[tuple[int, bytes]] = set()
    for row in rows:
        if row.shape is not None and (row.shape.name_id, row.key) not in seen:
            seen.add((row.shape.name_id, row.key))
            yield row
