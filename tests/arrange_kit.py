"""What the tests of arranging a device share: an application's database, and a refusal that changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from syncd.core.errors import UserError
from syncd.home.paths import Home


def database(path: Path, rows: int = 1) -> Path:
    """An application's database: a table with a key, and one without."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text)")
        db.execute("CREATE TABLE log(line)")
        db.executemany("INSERT INTO note VALUES (?, 'x')", [(number,) for number in range(rows)])
    return path


@contextmanager
def refused(home: Home, words: str) -> Iterator[None]:
    """Expects a refusal with these words and with advice; what stands in config.toml must stay."""
    before = home.config.read_bytes()
    with pytest.raises(UserError, match=words) as caught:
        yield
    assert caught.value.advice
    assert home.config.read_bytes() == before
