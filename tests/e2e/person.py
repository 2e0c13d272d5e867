"""A person who works in an application's database, on any machine."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

PAUSE_S = 0.01  # between two transactions

Deed = Callable[[sqlite3.Connection, random.Random, int], None]


class Person:
    """Works in one machine's application until the end of the block, one transaction after the other."""

    def __init__(self, path: Path, deed: Deed, seed: int) -> None:
        self.committed = 0
        self.failed: list[BaseException] = []
        self._path = path
        self._deed = deed
        self._rand = random.Random(seed)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"person at {path}")

    def __enter__(self) -> Person:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60.0)
        assert not self._thread.is_alive(), "the application did not get its lock"
        assert not self.failed, self.failed

    def _work(self) -> None:
        try:
            with closing(sqlite3.connect(self._path, timeout=20.0, isolation_level=None)) as connection:
                connection.execute("PRAGMA synchronous=NORMAL")
                while not self._end.wait(PAUSE_S):
                    connection.execute("BEGIN IMMEDIATE")
                    self._deed(connection, self._rand, self.committed)
                    connection.execute("COMMIT")
                    self.committed += 1
        except BaseException as error:
            self.failed.append(error)


def make(path: Path, *script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        for statement in script:
            connection.execute(statement)
    return path
