"""Values, keys and constraints survive the whole road exactly, over both adapters (R6, R12, R16)."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.compare import differences
from tests.e2e.harness import Fleet, Machine

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SCHEMA = """
CREATE TABLE thing(name TEXT, at INTEGER, anything, number NUMERIC, whole INTEGER, real REAL, raw BLOB, words TEXT,
    PRIMARY KEY(name, at));
CREATE TABLE mark(place BLOB NOT NULL, kind TEXT NOT NULL, value, PRIMARY KEY(kind, place)) WITHOUT ROWID;
CREATE TABLE seat(id INTEGER PRIMARY KEY, row TEXT NOT NULL, number INTEGER NOT NULL, guest TEXT UNIQUE,
    UNIQUE(row, number));
CREATE INDEX seat_guest ON seat(guest);
CREATE TABLE tree(id INTEGER PRIMARY KEY, parent INTEGER REFERENCES tree(id) ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL);
CREATE TABLE leaf(id INTEGER PRIMARY KEY, tree INTEGER REFERENCES tree(id) ON DELETE SET NULL ON UPDATE CASCADE,
    n INTEGER);
CREATE TABLE nameless(text TEXT);
CREATE VIEW shown AS SELECT name FROM thing;
"""
VALUES: tuple[object, ...] = (
    None,
    0,
    1,
    1.0,
    -1,
    2**63 - 1,
    -(2**63),
    2**53 + 1,
    0.0,
    -0.0,
    0.1,
    1e308,
    5e-324,
    float("inf"),
    float("-inf"),
    "",
    "1",
    "1.0",
    "a\0b",
    "\N{GRINNING FACE} \N{LATIN SMALL LETTER E WITH ACUTE} e\N{COMBINING ACUTE ACCENT} \u202e",
    "line\nline\r\n\ttab",
    b"",
    b"\0\xff",
    b"text",
    "x" * 70_000,
    b"\0" * 300_000,
)


def fill(connection: sqlite3.Connection, name: str) -> None:
    """A row for each value in each kind of column."""
    rows = ((name, at, value, value, None, value, value, value) for at, value in enumerate(VALUES))
    connection.executemany("INSERT OR REPLACE INTO thing VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    whole = ((value, name, at) for at, value in enumerate(VALUES) if isinstance(value, int))
    connection.executemany("UPDATE thing SET whole = ? WHERE name = ? AND at = ?", whole)
    places = (
        (value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else str(value).encode())
        for value in VALUES
        if value is not None and (not isinstance(value, str | bytes) or len(value) < 100)
    )
    marks = ((place, f"{name} \N{SNOWMAN}", VALUES[at % len(VALUES)]) for at, place in enumerate(places))
    connection.executemany("INSERT OR REPLACE INTO mark VALUES (?, ?, ?)", marks)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with Fleet(tmp_path, auxiliaries=2, adapters=("msgpack", "json")) as fleet:
        yield fleet


def share(fleet: Fleet, source: Path) -> None:
    fleet.primary.share("values", source)
    for auxiliary in fleet.auxiliaries:
        auxiliary.accept("values")


def wait_same(fleet: Fleet, source: Path, *tables: str) -> None:
    """Until all say identical; then the tables are compared with their types, rowid tables or not. Much of these small
    tables is deleted at once: what is held is approved."""
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait(lambda: approved(fleet.primary) and same(auxiliary, source, tables), "is identical")  # noqa: B023


def approved(primary: Machine) -> bool:
    """Whether nothing is held any more."""
    group = str(primary.collection("values").get("held") or "")
    if group:
        primary.begin("approve", group).communicate(timeout=60)  # refused while it is still being read
    return not group


def same(auxiliary: Machine, source: Path, tables: tuple[str, ...]) -> bool:
    target = auxiliary.databases["values"]
    return auxiliary.collection("values").get("state") == "identical" and not differences(source, target, tables)


def test_values_keys_and_constraints_arrive_as_they_are(fleet: Fleet, tmp_path: Path) -> None:
    source = tmp_path / "values.db"
    tables = ("thing", "mark", "seat", "tree", "leaf")
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(SCHEMA)
        connection.execute("CREATE VIRTUAL TABLE search USING fts5(words)")
        with connection:
            fill(connection, "at first")
            seats = [(at, "A", at, f"guest {at}") for at in range(10)]
            connection.executemany("INSERT INTO seat VALUES (?, ?, ?, ?)", seats)
    share(fleet, source)
    wait_same(fleet, source, *tables)

    problems = " ".join(map(str, fleet.primary.collection("values")["problems"]))  # type: ignore[call-overload]
    for named in ("nameless", "shown", "search"):
        assert named in problems
    for auxiliary in fleet.auxiliaries:
        with closing(sqlite3.connect(auxiliary.databases["values"])) as theirs:
            found = {name for (name,) in theirs.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE '_syncd%'")}
        assert {"seat", "seat_guest"} <= found
        assert not {"nameless", "shown", "search"} & found

    with shop.application(source) as connection:
        fill(connection, "later")
        connection.execute("DELETE FROM thing WHERE name = 'at first' AND at % 2")
    wait_same(fleet, source, *tables)
    with shop.application(source) as connection:  # the same number, the same text, of another type
        connection.execute("UPDATE thing SET anything = 1.0 WHERE anything = 1 AND typeof(anything) = 'integer'")
        connection.execute("UPDATE thing SET words = CAST(words AS BLOB) WHERE name = 'later'")
        connection.execute("UPDATE thing SET real = -0.0, number = -0.0 WHERE name = 'at first'")
        connection.execute("UPDATE thing SET at = at + 1000, name = upper(name) WHERE at > 10")
    wait_same(fleet, source, *tables)

    with shop.application(source) as connection:  # all seats move on by one, the guests are mirrored
        connection.execute("UPDATE seat SET number = number + 1000")
        connection.execute("UPDATE seat SET number = (number - 999) % 10, guest = NULL")
        connection.executemany("UPDATE seat SET guest = ? WHERE id = ?", [(f"guest {9 - at}", at) for at in range(10)])
    wait_same(fleet, source, *tables)
    with shop.application(source) as connection:  # REPLACE removes two rows by their unique values
        connection.execute("INSERT OR REPLACE INTO seat VALUES (99, 'A', 3, 'guest 0')")
    wait_same(fleet, source, *tables)


def test_cascades_are_executed_once_and_syncd_never_runs_them_again(fleet: Fleet, tmp_path: Path, seed: int) -> None:
    source = tmp_path / "values.db"
    rand = random.Random(seed)
    with closing(sqlite3.connect(source)) as connection:
        connection.executescript(SCHEMA)
        with connection:
            trees = [(at, rand.randrange(at) if at else None, f"tree {at}") for at in range(300)]
            connection.executemany("INSERT INTO tree VALUES (?, ?, ?)", trees)
            leaves = [(at, rand.randrange(300), at) for at in range(300)]
            connection.executemany("INSERT INTO leaf VALUES (?, ?, ?)", leaves)
    share(fleet, source)
    wait_same(fleet, source, "tree", "leaf")
    audits = [auxiliary.databases["values"] for auxiliary in fleet.auxiliaries]
    for target in audits:  # what the application there sees happen to each row
        shop.execute(
            target,
            "CREATE TABLE audit(what TEXT, id INTEGER)",
            "CREATE TRIGGER gone AFTER DELETE ON tree BEGIN INSERT INTO audit VALUES ('gone', OLD.id); END",
            "CREATE TRIGGER changed AFTER UPDATE ON leaf BEGIN INSERT INTO audit VALUES ('changed', OLD.id); END",
        )
    before = {int(str(row[0])) for row in shop.ask(source, "SELECT id FROM tree")}
    shop.execute(source, "DELETE FROM tree WHERE id IN (7, 30, 100)", "UPDATE tree SET id = 5000 WHERE id = 2")
    wait_same(fleet, source, "tree", "leaf")
    gone = before - {int(str(row[0])) for row in shop.ask(source, "SELECT id FROM tree")}
    assert len(gone) > 3
    for target in audits:
        assert sorted(shop.ask(target, "SELECT id FROM audit WHERE what = 'gone'")) == [(one,) for one in sorted(gone)]
        twice = "SELECT id FROM audit WHERE what = 'changed' GROUP BY id HAVING count(*) > 1"
        assert shop.ask(target, twice) == []
        assert shop.ask(target, "SELECT * FROM pragma_foreign_key_check") == []


def test_chinook_arrives_whole_and_stays_the_same(fleet: Fleet, tmp_path: Path, shared_data: Path) -> None:
    source = tmp_path / "chinook.db"
    shutil.copyfile(shared_data / "chinook.sqlite", source)
    fleet.primary.share("chinook", source)
    for auxiliary in fleet.auxiliaries:
        auxiliary.accept("chinook")
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait_identical("chinook")
    shop.execute(
        source,
        "UPDATE Track SET UnitPrice = UnitPrice + 0.01 WHERE TrackId % 3 = 0",
        "DELETE FROM PlaylistTrack WHERE PlaylistId = 1 AND TrackId % 2",
        "INSERT INTO Artist VALUES (9001, 'Sigur R\N{LATIN SMALL LETTER O WITH ACUTE}s')",
        "INSERT INTO Album VALUES (9001, 'Takk...', 9001)",
        "UPDATE Employee SET ReportsTo = NULL",
    )
    for auxiliary in fleet.auxiliaries:
        auxiliary.wait_identical("chinook")
