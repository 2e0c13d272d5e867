"""The application of most end-to-end tests: orders with their lines, which belong together, and goods in great number.

An order is committed with exactly as many lines as it says, so that anybody who sees an order without all of its
lines, at any time, has seen half a transaction group.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

Row = tuple[object, ...]

SCHEMA = """
CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL, lines INTEGER NOT NULL);
CREATE TABLE line(
    order_id INTEGER NOT NULL REFERENCES orders(id) ON DELETE CASCADE, place INTEGER NOT NULL,
    article TEXT NOT NULL, price REAL NOT NULL, PRIMARY KEY(order_id, place)
) WITHOUT ROWID;
CREATE TABLE goods(id INTEGER PRIMARY KEY, name TEXT NOT NULL, stock INTEGER NOT NULL);
"""
HALF_ORDERS = """
SELECT o.id, o.lines, (SELECT count(*) FROM line WHERE order_id = o.id) FROM orders AS o
WHERE o.lines <> (SELECT count(*) FROM line WHERE order_id = o.id)
UNION ALL SELECT order_id, NULL, NULL FROM line WHERE order_id NOT IN (SELECT id FROM orders)
"""


def make(path: Path, goods: int = 0) -> Path:
    """The shop's database, with so many goods."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
        with connection:
            rows = ((number, f"goods {number}", number % 7) for number in range(goods))
            connection.executemany("INSERT INTO goods VALUES (?, ?, ?)", rows)
    return path


@contextmanager
def application(path: Path) -> Iterator[sqlite3.Connection]:
    """One transaction of an application on the database, committed at the end."""
    with closing(sqlite3.connect(path, timeout=20.0)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        with connection:
            yield connection


def execute(path: Path, *statements: str) -> None:
    """These statements in one transaction."""
    with application(path) as connection:
        for statement in statements:
            connection.execute(statement)


def ask(path: Path, sql: str, values: Sequence[object] = ()) -> list[Row]:
    """What the database answers."""
    with closing(sqlite3.connect(path, timeout=20.0)) as connection:
        return connection.execute(sql, values).fetchall()


def half_orders(path: Path) -> list[Row]:
    """Orders that have other lines than they should, in one state of the database."""
    with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=20.0)) as connection:
        try:
            return connection.execute(HALF_ORDERS).fetchall()
        except sqlite3.OperationalError as error:
            if "no such table" in str(error):
                return []  # nothing has arrived yet
            raise


class Till:
    """Commits orders, changes and deletes some; everything by chance comes from ``rand``."""

    def __init__(self, path: Path, rand: random.Random) -> None:
        self.path = path
        self.committed = 0
        self._rand = rand
        self._there: list[int] = []

    def work(self, transactions: int) -> None:
        """So many transactions, each of many rows."""
        with closing(sqlite3.connect(self.path, timeout=20.0)) as connection:
            connection.execute("PRAGMA foreign_keys=ON")
            connection.execute("PRAGMA synchronous=NORMAL")
            for _ in range(transactions):
                with connection:
                    self._transaction(connection)

    def _transaction(self, connection: sqlite3.Connection) -> None:
        self.committed += 1
        rand, number = self._rand, self.committed
        what = rand.random()
        if self._there and what < 0.15:
            gone = self._there.pop(rand.randrange(len(self._there)))
            connection.execute("DELETE FROM orders WHERE id = ?", (gone,))
        elif self._there and what < 0.35:
            self._put(connection, rand.choice(self._there), f"customer {number}, again")
        else:
            self._there.append(number)
            self._put(connection, number, f"customer {number}")

    def _put(self, connection: sqlite3.Connection, order: int, customer: str) -> None:
        lines = self._rand.randrange(1, 12)
        connection.execute("DELETE FROM line WHERE order_id = ?", (order,))
        connection.execute(
            "INSERT INTO orders VALUES (?, ?, ?) ON CONFLICT(id) DO UPDATE SET customer = excluded.customer,"
            " lines = excluded.lines",
            (order, customer, lines),
        )
        places = [(order, place, f"article {self._rand.randrange(99)}", place / 8) for place in range(lines)]
        connection.executemany("INSERT INTO line VALUES (?, ?, ?, ?)", places)


class Reader:
    """Reads an auxiliary's database the whole time, as its application would, and keeps what it must never see."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self.looks = 0
        self.seen: list[str] = []
        self._paths = tuple(paths)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._read, name="reader")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join(30.0)

    def _read(self) -> None:
        while not self._end.wait(0.002) and not self.seen:
            for path in self._paths:
                if not path.exists():
                    continue
                try:
                    halves = half_orders(path)
                    self.looks += 1
                except sqlite3.Error as error:
                    self.seen.append(f"{path.parent.name}: {error}")
                    continue
                self.seen += [
                    f"{path.parent.name}: order {order}: {said} lines, {n} there" for order, said, n in halves
                ]
