"""A real application's database on the road: eleven tables, foreign keys, a composite key, a tree."""

from __future__ import annotations

import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.applications.road import Road, contents

pytestmark = pytest.mark.asyncio


@pytest.mark.slow
async def test_chinook_follows_the_primary_through_random_transactions(
    shared_data: Path, tmp_path: Path, seed: int
) -> None:
    here, there = tmp_path / "primary.db", tmp_path / "auxiliary.db"
    shutil.copyfile(shared_data / "chinook.sqlite", here)
    chance = random.Random(seed)
    async with Road(here, there) as road:
        await road.same(await road.snapshot())
        assert contents(there) == contents(here)
        assert len(contents(there)["Track"]) > 3000
        with closing(sqlite3.connect(here, isolation_level=None)) as app:
            app.execute("PRAGMA foreign_keys=ON")
            for _ in range(15):
                _transaction(app, chance)
                await road.same(await road.follow())
                assert contents(there) == contents(here)
        with closing(sqlite3.connect(there)) as target:
            assert target.execute("PRAGMA foreign_key_check").fetchall() == []
            assert target.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _transaction(app: sqlite3.Connection, chance: random.Random) -> None:
    app.execute("BEGIN")
    for _ in range(chance.randint(1, 4)):
        match chance.randrange(5):
            case 0:  # an invoice goes with its lines
                (invoice,) = app.execute("SELECT InvoiceId FROM Invoice ORDER BY random() LIMIT 1").fetchone()
                app.execute("DELETE FROM InvoiceLine WHERE InvoiceId = ?", (invoice,))
                app.execute("DELETE FROM Invoice WHERE InvoiceId = ?", (invoice,))
            case 1:  # an artist with albums
                artist = app.execute("INSERT INTO Artist(Name) VALUES('New \u97f3')").lastrowid
                for number in range(chance.randint(0, 3)):
                    app.execute("INSERT INTO Album(Title, ArtistId) VALUES(?, ?)", (f"No. {number}", artist))
            case 2:
                app.execute(
                    "UPDATE Track SET UnitPrice = UnitPrice + 0.01 WHERE TrackId % 500 = ?", (chance.randrange(500),)
                )
            case 3:  # a composite key moves
                app.execute(
                    "UPDATE OR REPLACE PlaylistTrack SET TrackId = TrackId + 1 WHERE rowid IN"
                    " (SELECT rowid FROM PlaylistTrack WHERE TrackId < 3000 ORDER BY random() LIMIT 20)"
                )
            case 4:
                app.execute("UPDATE Employee SET ReportsTo = 1 WHERE EmployeeId = ?", (chance.randint(2, 8),))
    app.execute("COMMIT")
