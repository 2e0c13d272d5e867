"""The road of a person before any daemon runs: init, share, init, accept; on real files, through the real entry."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from syncd.__main__ import main
from syncd.core.model import Role
from syncd.home import config
from syncd.home.paths import Home


@pytest.fixture
def syncd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Syncd:
    monkeypatch.delenv("SYNCD_DEBUG", raising=False)
    monkeypatch.delenv("SYNCD_HOME", raising=False)
    monkeypatch.chdir(tmp_path)
    return Syncd(monkeypatch, capsys)


class Syncd:
    """Calls the command line: ``syncd("init", ...)`` gives exit code, stdout and stderr."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def __call__(self, *words: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["syncd", *words])
        code = main()
        said = self._capsys.readouterr()
        return code, said.out, said.err

    def told(self, *words: str) -> dict[str, object]:
        code, out, err = self(*words, "--json")
        assert (code, err) == (0, "")
        told: dict[str, object] = json.loads(out)
        return told


def application(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text)")
        db.execute("CREATE TABLE log(line)")
        db.execute("INSERT INTO note VALUES (1, 'milk')")


def test_two_devices_are_arranged_with_four_lines(syncd: Syncd, tmp_path: Path) -> None:
    application(tmp_path / "notes.db")
    assert syncd.told("init", "--home", "p", "--role", "primary", "--user", "maria", "--listen", "127.0.0.1:0")
    shared = syncd.told("share", "notes", "--from", "sqlite:notes.db", "--home", "p")
    assert "log" in str(shared["problems"])
    assert syncd.told("init", "--home", "a", "--role", "auxiliary", "--name", "laptop")
    assert syncd.told("accept", "notes", "--into", "sqlite:copy.db", "--home", "a") == {"problems": [], "backup": None}

    primary, auxiliary = config.load(Home(tmp_path / "p")), config.load(Home(tmp_path / "a"))
    assert (primary.role, primary.user) == (Role.PRIMARY, "maria")
    assert (auxiliary.role, auxiliary.name) == (Role.AUXILIARY, "laptop")
    assert [entry.path for entry in primary.collections] == [str(tmp_path / "notes.db")]
    assert [entry.path for entry in auxiliary.collections] == [str(tmp_path / "copy.db")]
    assert not (tmp_path / "copy.db").exists()


def test_a_second_init_is_refused_in_one_line(syncd: Syncd) -> None:
    assert syncd("init", "--home", "a", "--role", "auxiliary")[0] == 0
    code, out, err = syncd("init", "--home", "a", "--role", "auxiliary")
    assert (code, out) == (1, "")
    assert err.count("\n") == 1
    assert "is a syncd home already: use it, or give another --home" in err


def test_a_target_with_objects_of_its_own_is_refused_and_replaced_only_after_a_copy(
    syncd: Syncd, tmp_path: Path
) -> None:
    application(tmp_path / "own.db")
    syncd("init", "--home", "a", "--role", "auxiliary")
    accept = ("accept", "notes", "--into", "sqlite:own.db", "--home", "a")
    code, _, err = syncd(*accept)
    assert code == 1
    assert "--replace" in err
    backup = syncd.told(*accept, "--replace")["backup"]
    assert isinstance(backup, str)
    with closing(sqlite3.connect(backup)) as db:
        assert db.execute("SELECT * FROM note").fetchall() == [(1, "milk")]


def test_a_kind_that_is_not_there_yet_is_refused_in_words(syncd: Syncd) -> None:
    syncd("init", "--home", "p", "--role", "primary", "--user", "maria")
    code, _, err = syncd("share", "cards", "--from", "vdir:cards", "--home", "p")
    assert (code, err) == (
        1,
        "syncd: applications of kind 'vdir' are not supported: this version takes sqlite:PATH\n",
    )


def test_status_without_a_daemon_says_how_to_start_it(syncd: Syncd) -> None:
    syncd("init", "--home", "a", "--role", "auxiliary")
    assert syncd("status", "--home", "a") == (
        3,
        "",
        "syncd: the daemon is not running: start it with `syncd run` (or systemctl)\n",
    )
