"""The work of all figures: a table of objects with a 16-byte text key and a 256-byte JSON body, in WAL databases.

Keys are in no order, as those that applications draw by chance: no index of anybody's is filled from left to right.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

BODY_BYTES = 256
SCHEMA = "CREATE TABLE item(id TEXT PRIMARY KEY, body TEXT)"
UPSERT = "INSERT INTO item VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET body = excluded.body"


def key(number: int) -> str:
    """16 bytes."""
    return hashlib.blake2b(b"%d" % number, digest_size=8).hexdigest()


def body(number: int, version: int = 0) -> str:
    """256 bytes of JSON, another one for each version."""
    noise = hashlib.blake2b(b"%d %d" % (number, version)).hexdigest()
    head = json.dumps({"number": number, "version": version, "text": ""})
    return head[:-2] + (noise + noise)[: BODY_BYTES - len(head)] + head[-2:]


def rows(first: int, count: int, version: int = 0) -> Iterator[tuple[str, str]]:
    return ((key(number), body(number, version)) for number in range(first, first + count))


def open_application(path: Path, any_thread: bool = False) -> sqlite3.Connection:
    """As an application that cares for speed opens its database."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=30.0, check_same_thread=not any_thread)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def create(path: Path, objects: int) -> None:
    with closing(open_application(path)) as connection:
        connection.execute(SCHEMA)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO item VALUES(?, ?)", rows(0, objects))
        connection.execute("COMMIT")


def modify(path: Path, objects: int, changes: int, together: int, version: int = 1) -> tuple[str, str]:
    """Modifies ``changes`` different objects spread over all, ``together`` in one transaction. Returns the last row."""
    step = objects // changes
    numbers = [number * step for number in range(changes)]
    last = ("", "")
    with closing(open_application(path)) as connection:
        for begin in range(0, changes, together):
            changed = [(key(number), body(number, version)) for number in numbers[begin : begin + together]]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(UPSERT, changed)
            connection.execute("COMMIT")
            last = changed[-1]
    return last
