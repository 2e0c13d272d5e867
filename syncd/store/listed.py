"""Many rows by one statement: while another thread is busy, each step of a statement costs a hand-over of the
interpreter, which is more than what it does to a row."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

ROWS = 256  # of one statement


def insert_rows(connection: sqlite3.Connection, into: str, rows: Sequence[Sequence[object]]) -> None:
    """In their order. ``into``: the statement before VALUES, which names the columns."""
    if not rows:
        return
    one, even = f"({', '.join('?' * len(rows[0]))})", len(rows) - len(rows) % ROWS
    if even:
        listed = f"{into} VALUES {', '.join([one] * ROWS)}"
        for at in range(0, even, ROWS):
            connection.execute(listed, list(chain.from_iterable(rows[at : at + ROWS])))
    connection.executemany(f"{into} VALUES {one}", rows[even:])


def delete_rows(connection: sqlite3.Connection, from_: str, values: Sequence[int]) -> None:
    """``from_``: the statement up to the column that has one of the values."""
    even = len(values) - len(values) % ROWS
    for at in range(0, even, ROWS):
        connection.execute(f"{from_} IN ({', '.join('?' * ROWS)})", values[at : at + ROWS])
    connection.executemany(f"{from_} = ?", [(value,) for value in values[even:]])
