"""What is checked before a collection is shared or accepted (R13)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications.sqlite import backup, check_source, check_target
from syncd.core.errors import UserError
from tests.applications.road import contents, sql


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "app.db"
    sql(made, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)", "CREATE TABLE keyless(a)", "INSERT INTO t VALUES(1, 'x')")
    return made


def test_a_database_can_be_shared_and_what_cannot_be_captured_is_said(path: Path) -> None:
    assert check_source(path, []) == ["table keyless: not captured, it has no primary key"]
    assert check_source(path, ["t"]) == []


def test_sharing_changes_nothing_yet(path: Path) -> None:
    before = path.read_bytes()
    check_source(path, [])
    assert path.read_bytes() == before


@pytest.mark.parametrize("tables", [["none"], ["t", "keyless"]])
def test_a_named_table_must_be_there_with_a_key(path: Path, tables: list[str]) -> None:
    with pytest.raises(UserError, match=f"no table {tables[-1]}"):
        check_source(path, tables)


def test_what_cannot_be_shared(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        check_source(tmp_path / "none.db", [])
    with pytest.raises(UserError, match="is not a file"):
        check_source(tmp_path, [])
    (tmp_path / "text").write_text("text " * 1000)
    with pytest.raises(UserError, match="not a sound SQLite database"):
        check_source(tmp_path / "text", [])
    sql(tmp_path / "keyless.db", "CREATE TABLE t(a)")
    with pytest.raises(UserError, match="no table with a primary key"):
        check_source(tmp_path / "keyless.db", [])


def test_what_cannot_be_looked_for_is_neither_shared_nor_accepted(tmp_path: Path) -> None:
    for unreachable in (tmp_path / ("x" * 300) / "app.db", tmp_path / ("x" * 300)):
        with pytest.raises(UserError, match="cannot be reached"):
            check_source(unreachable, [])
        with pytest.raises(UserError, match="cannot be reached"):
            check_target(unreachable, replace=False)


def test_a_target_with_objects_of_its_own_is_refused_unless_they_may_be_replaced(path: Path) -> None:
    with pytest.raises(UserError, match="holds 1 objects of its own") as caught:
        check_target(path, replace=False)
    assert "--replace" in caught.value.advice
    check_target(path, replace=True)
    assert sql(path, "SELECT * FROM t") == [(1, "x")]


def test_a_target_that_is_missing_or_empty_is_fine(path: Path, tmp_path: Path) -> None:
    check_target(tmp_path / "new.db", replace=False)
    assert not (tmp_path / "new.db").exists()
    sql(path, "DELETE FROM t")
    check_target(path, replace=False)


def test_what_cannot_be_a_target(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"directory .* does not exist"):
        check_target(tmp_path / "none" / "app.db", replace=False)
    (tmp_path / "text").write_text("text " * 1000)
    with pytest.raises(UserError, match="not a sound SQLite database"):
        check_target(tmp_path / "text", replace=True)


def test_a_backup_is_whole_and_never_overwrites_another(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as app:
        app.execute("PRAGMA journal_mode=WAL")
        app.execute("INSERT INTO t VALUES(2, 'in the log')")
        first = backup(path)
    sql(path, "DELETE FROM t")
    second = backup(path)
    assert (first.name, second.name) == ("app.db.syncd-backup-1", "app.db.syncd-backup-2")
    assert len(contents(first)["t"]) == 2
    assert contents(second)["t"] == []
