"""What selections that follow references take, gathered in a file that SQLite deletes by itself; see ``core.gathered``.

What is taken has numbers in the order in which it came. What it references comes after it, so that one walk along the
numbers, a page at a time, ends when nothing comes any more; circles end there too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from syncd.core.gathered import Met
from syncd.core.references import Object
from syncd.store.database import Scratch, scratch

_PAGE = 1_000  # of what is taken, whose references are looked at together
_SCHEMA = """
CREATE TABLE taken (
    id INTEGER PRIMARY KEY, of INTEGER NOT NULL, type INTEGER NOT NULL, key BLOB NOT NULL, UNIQUE (of, type, key)
);
CREATE TABLE leads (
    of INTEGER, type INTEGER, key BLOB, to_type INTEGER, to_key BLOB, PRIMARY KEY (of, type, key, to_type, to_key)
) WITHOUT ROWID;
"""
_TAKE = "INSERT OR IGNORE INTO taken (of, type, key)"
_FROM = " AND leads.".join(("ON leads.of = taken.of", "type = taken.type", "key = taken.key"))


class StoreGathered:
    """See ``core.gathered.Gathered``."""

    def __init__(self, database: Scratch) -> None:
        self._run = database.run

    async def add(self, of: int, met: Iterable[Met]) -> None:
        known = [*met]
        own = [(of, *one.object) for one in known if one.own]
        leads = [(of, *one.object, *to) for one in known for to in one.targets]

        def write(connection: sqlite3.Connection) -> None:
            connection.executemany(f"{_TAKE} VALUES (?, ?, ?)", own)
            connection.executemany("INSERT OR IGNORE INTO leads VALUES (?, ?, ?, ?, ?)", leads)

        await self._run(write)

    async def spread(self) -> None:
        at, last = 0, -1
        while at != last:
            last, at = at, await self._run(lambda connection, after=at: _spread(connection, after))  # type: ignore[misc]

    async def among(self, of: int, objects: Iterable[Object]) -> set[Object]:
        asked = [*objects]

        def look(connection: sqlite3.Connection) -> set[Object]:
            query = "SELECT 1 FROM taken WHERE of = ? AND type = ? AND key = ?"
            return {one for one in asked if connection.execute(query, (of, *one)).fetchone()}

        return await self._run(look)

    async def led_from(self, of: int, one: Object) -> set[Object]:
        query = "SELECT to_type, to_key FROM leads WHERE of = ? AND type = ? AND key = ?"
        return await self._run(lambda connection: set(connection.execute(query, (of, *one)).fetchall()))


def _spread(connection: sqlite3.Connection, after: int) -> int:
    """Takes what the next page of what is taken references. Returns the last number of the page."""
    page = "SELECT max(id) FROM (SELECT id FROM taken WHERE id > ? ORDER BY id LIMIT ?)"
    last: int | None = connection.execute(page, (after, _PAGE)).fetchone()[0]
    if last is None:
        return after
    found = f"SELECT leads.of, to_type, to_key FROM taken JOIN leads {_FROM} WHERE taken.id > ? AND taken.id <= ?"
    connection.execute(f"{_TAKE} {found}", (after, last))
    return last


@asynccontextmanager
async def gather() -> AsyncIterator[StoreGathered]:
    async with scratch(_SCHEMA) as database:
        yield StoreGathered(database)
