"""What is checked before a collection is shared or accepted (R13)."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.applications.sqlite import backup, check_source, check_target
from syncd.core.errors import UserError
from tests.applications.road import contents, sql

NOBODY = 65534


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


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A directory of a user without special rights, who runs the test: to root nothing is forbidden."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    root = os.geteuid() == 0
    if root:
        os.chown(directory, NOBODY, NOBODY)
        os.setegid(NOBODY)
        os.seteuid(NOBODY)
    try:
        yield directory
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        shutil.rmtree(directory)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_backup_is_as_private_as_the_database(path: Path, mode: int) -> None:
    path.chmod(mode)
    before = os.umask(0)
    try:
        copy = backup(path)
    finally:
        os.umask(before)
    assert copy.stat().st_mode & 0o777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_backup_belongs_to_the_owner_of_the_database(path: Path) -> None:
    os.chown(path, NOBODY, NOBODY)
    copy = backup(path).stat()
    assert (copy.st_uid, copy.st_gid) == (NOBODY, NOBODY)


def test_a_backup_is_never_open_to_others_while_it_is_made(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def keep(descriptor: int, original: Path) -> None:
        seen.append((os.fstat(descriptor).st_mode & 0o777, os.fstat(descriptor).st_size > 0))

    monkeypatch.setattr("syncd.applications.sqlite._share_alike", keep)
    backup(path)
    assert seen == [(0o600, True)]


def test_a_backup_that_fails_leaves_no_file(path: Path) -> None:
    whole = path.read_bytes()
    sql(path, *(f"INSERT INTO t VALUES({number + 10}, '{'x' * 3000}')" for number in range(20)))
    damaged = bytearray(path.read_bytes())
    damaged[len(whole) :: 64] = b"\xff" * len(damaged[len(whole) :: 64])
    path.write_bytes(damaged)
    with pytest.raises(UserError):
        backup(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["app.db"]


def test_a_backup_where_nothing_can_be_written_is_refused(nobodys: Path) -> None:
    path = nobodys / "app.db"
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    nobodys.chmod(0o500)
    with pytest.raises(UserError, match=r"cannot make the backup copy .*: Permission denied") as caught:
        backup(path)
    nobodys.chmod(0o700)
    assert "right to write" in caught.value.advice
    assert [entry.name for entry in nobodys.iterdir()] == ["app.db"]


def test_a_path_that_cannot_be_searched_is_one_line(nobodys: Path) -> None:
    closed = nobodys / "closed"
    closed.mkdir(mode=0o000)
    for check in (
        lambda: check_source(closed / "app.db", []),
        lambda: check_target(closed / "below" / "app.db", False),
    ):
        with pytest.raises(UserError, match=r"cannot be reached \(Permission denied\)") as caught:
            check()
        assert "right" in caught.value.advice


def test_a_name_that_is_too_long_is_one_line(tmp_path: Path) -> None:
    for check in (lambda: check_source(tmp_path / ("x" * 300), []), lambda: check_target(tmp_path / ("x" * 300), True)):
        with pytest.raises(UserError, match=r"cannot be reached \(File name too long\)"):
            check()


def test_a_target_that_cannot_be_written_is_refused(nobodys: Path) -> None:
    path = nobodys / "app.db"
    sql(path, "CREATE TABLE t(id INTEGER PRIMARY KEY)")
    path.chmod(0o400)
    with pytest.raises(UserError, match=r"app\.db cannot be written") as caught:
        check_target(path, False)
    assert "right to write" in caught.value.advice
    nobodys.chmod(0o500)
    with pytest.raises(UserError, match=f"{nobodys} cannot be written"):
        check_target(nobodys / "new.db", False)
    nobodys.chmod(0o700)
