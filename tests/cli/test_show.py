"""What a person sees: the status as a picture, its watch, and the table of transactions."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from syncd.cli.main import run_verb
from syncd.home.paths import Home
from tests.cli.fake import DEVICE, STATUS, TRANSACTIONS, FakeDaemon, Json, local
from tests.wait import eventually_blocking

Capture = pytest.CaptureFixture[str]
REPOSITORY = Path(__file__).resolve().parents[2]


def shown(capture: Capture, *argv: str) -> str:
    assert run_verb(list(argv), local()) == 0
    return capture.readouterr().out


def changed(**changes: object) -> Any:
    return {**deepcopy(STATUS), **changes}


def test_the_picture_names_each_thing_that_a_person_asks_for(daemon: FakeDaemon, capsys: Capture) -> None:
    said = shown(capsys, "status")
    for part in (
        "desk · primary of maria · 192.0.2.1:8765 · up 1 h 2 min",
        "-".join(["ABCD"] * 13),
        "0 of 1 identical, 1 parked",
        "12,345 objects at 918",
        "sqlite:/home/maria/notes.db",
        "! table log: no primary key",
        "laptop   connected",
        "parked   12,300 objects at 900 of 918, 18 changes behind",
        "25%   250 of 1,000",
        "notes:895 rolled-back: UNIQUE constraint failed: person.email (person [42])",
        "`syncd retry`",
    ):
        assert part in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("users", "advice"),
    [
        (["maria"], "takes nothing yet: `syncd accept NAME --into sqlite:PATH` there"),
        ([], "is linked with no user: `syncd devices link laptop USER`"),
    ],
)
def test_a_device_that_takes_nothing_tells_what_to_do(
    daemon: FakeDaemon, capsys: Capture, users: list[str], advice: str
) -> None:
    devices = STATUS["devices"]
    assert isinstance(devices, list)
    daemon.answers["status"] = changed(devices=[{**devices[0], "users": users, "collections": []}])
    assert advice in shown(capsys, "status")


def test_of_many_addresses_the_first_is_shown(daemon: FakeDaemon, capsys: Capture) -> None:
    """What was heard by mDNS may be long, and made up by anybody."""
    daemon.answers["status"] = changed(address="192.0.2.1:8765, 192.0.2.2:8765, [2001:db8::1]:8765")
    said = shown(capsys, "status").splitlines()
    assert said[0] == "desk · primary of maria · 192.0.2.1:8765 and 2 more · up 1 h 2 min"


def test_all_is_well_in_one_line(daemon: FakeDaemon, capsys: Capture) -> None:
    status = changed()
    status["devices"][0]["collections"][0] = {"name": "notes", "state": "identical", "position": 918, "head": 918}
    daemon.answers["status"] = status
    assert "everything is identical" in shown(capsys, "status")


def test_a_device_that_is_away_tells_since_when(daemon: FakeDaemon, capsys: Capture) -> None:
    status = changed()
    status["devices"][0] |= {"connected": False, "last_seen": "2001-01-01T00:00:00Z"}
    daemon.answers["status"] = status
    assert "not connected, last seen " in shown(capsys, "status")


def test_conflicts_are_counted_and_a_direction_is_named(daemon: FakeDaemon, capsys: Capture) -> None:
    assert "2 conflicts: `syncd conflicts`" in shown(capsys, "status")
    status = changed()
    status["collections"][0] |= {"direction": "out", "conflicts": 0}
    daemon.answers["status"] = status
    said = shown(capsys, "status")
    assert "notes.db   from the primary only" in said
    assert "syncd conflicts" not in said


def test_an_auxiliary_tells_what_was_changed_on_it(daemon: FakeDaemon, capsys: Capture) -> None:
    status = changed()
    status["device"]["role"] = "auxiliary"
    status["collections"][0] |= {"direction": "both", "pending": 3, "refused": 1}
    daemon.answers["status"] = status
    said = shown(capsys, "status")
    assert "3 groups of changes made here, on the way to the primary" in said
    assert "1 group of changes made here refused: `syncd conflicts`" in said


def test_an_offline_application_tells_the_reason_and_that_nothing_is_deleted(
    daemon: FakeDaemon, capsys: Capture
) -> None:
    status = changed()
    status["collections"][0] |= {"state": "offline", "reason": "the file is missing"}
    daemon.answers["status"] = status
    said = shown(capsys, "status")
    assert "notes: offline here" in said
    assert "the file is missing" in said
    assert "nothing is deleted" in said


def test_a_held_application_is_not_all_well(daemon: FakeDaemon, capsys: Capture) -> None:
    status = changed()
    status["collections"][0] |= {"state": "held", "reason": "300 of 301 objects are gone"}
    daemon.answers["status"] = status
    said = shown(capsys, "status")
    assert "notes: held here" in said
    assert "everything is identical" not in said


def test_held_changes_of_settings_are_counted(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["status"] = changed(held_settings=2)
    assert "2 changes of settings held until you decide: `syncd held`" in shown(capsys, "status")
    daemon.answers["status"] = changed(held_settings=0)
    assert "`syncd held`" not in shown(capsys, "status")


def test_an_auxiliary_sees_its_primary_and_how_far_it_is(daemon: FakeDaemon, capsys: Capture) -> None:
    status = changed(device={"id": DEVICE, "name": "laptop", "role": "auxiliary"}, address="")
    status["devices"][0]["name"] = "desk"
    daemon.answers["status"] = status
    said = shown(capsys, "status")
    assert "auxiliary of maria" in said
    assert "Primary\n  desk   connected" in said
    assert "at 900 of 918, 18 changes behind   sqlite:/home/maria/notes.db" in said
    assert "remove the cause here" in said


@pytest.mark.parametrize("role", ["primary", "auxiliary"])
def test_an_empty_device_says_what_to_do_next(daemon: FakeDaemon, capsys: Capture, role: str) -> None:
    daemon.answers["status"] = changed(device={"id": DEVICE, "name": "desk", "role": role}, collections=[], devices=[])
    said = shown(capsys, "status")
    assert "nothing is synchronized yet" in said
    assert ("syncd share" if role == "primary" else "syncd accept") in said
    assert "syncd pair" in said


def test_names_of_other_machines_can_do_no_harm(daemon: FakeDaemon, capsys: Capture) -> None:
    status = changed()
    hostile = "[red]x[/red]\x1b[31m\x07\u202e\n[/]" + "y" * 5_000
    status["devices"][0]["name"] = hostile
    status["devices"][0]["collections"][0]["failed"][0] |= {"cause": hostile, "key": hostile, "group": hostile}
    daemon.answers["status"] = status
    daemon.answers["transactions"] = {"transactions": [{"group": hostile, "device_name": hostile, "cause": hostile}]}
    for verb in ("status", "transactions"):
        said = shown(capsys, verb)
        assert "[red]x[/red]\\x1b[31m\\x07\\u202e\\n[/]y" in said
        assert not {"\x1b", "\x07", "\u202e"} & set(said)


@pytest.mark.parametrize(
    "odd", [{}, {"devices": 3, "collections": [1, {}], "device": []}, {"devices": [{}, {"name": 5}]}]
)
def test_a_status_of_another_shape_is_still_shown(daemon: FakeDaemon, capsys: Capture, odd: Json) -> None:
    daemon.answers["status"] = odd
    assert shown(capsys, "status")


def test_transactions_are_a_table(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["transactions"] = TRANSACTIONS
    said = shown(capsys, "transactions", "--device", "laptop", "--outcome", "rolled-back", "--limit", "5")
    assert daemon.asked == [("transactions", {"device": "laptop", "outcome": "rolled-back", "limit": 5})]
    head, line = said.splitlines()
    assert head.split() == ["GROUP", "DEVICE", "OUTCOME", "OBJECTS", "TIME", "CAUSE"]
    assert line.split()[:4] == ["notes:895", "laptop", "rolled-back", "1,200"]
    assert line.rstrip().endswith("UNIQUE (person [42])")
    assert json.loads(shown(capsys, "transactions", "--json")) == TRANSACTIONS


def test_no_transactions_is_said(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["transactions"] = {"transactions": []}
    assert shown(capsys, "transactions") == "no groups\n"


class Watched:
    """``syncd status --watch`` as a process; what it printed so far is in ``out``."""

    def __init__(self, out: Path, *argv: str, terminal: int | None = None) -> None:
        self.out = out
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "xterm", "COLUMNS": "100", "LINES": "40"}
        environ.pop("NO_COLOR", None)
        self._file = out.open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "syncd", "status", "--watch", *argv],
            stdout=self._file if terminal is None else terminal,
            stderr=subprocess.PIPE,
            env=environ,
        )

    def text(self) -> str:
        return self.out.read_text()

    def interrupt(self) -> tuple[int, bytes]:
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> tuple[int, bytes]:
        try:
            _, said = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
            self._file.close()
        return self.process.returncode, said


def test_a_watch_without_a_terminal_prints_a_block_for_each_change_and_ends_with_ctrl_c(
    daemon: FakeDaemon, tmp_path: Path
) -> None:
    watched = Watched(tmp_path / "out")
    eventually_blocking(lambda: "18 changes behind" in watched.text())
    asked = len(daemon.asked)
    eventually_blocking(lambda: len(daemon.asked) > asked + 2)
    assert watched.text().count("desk · primary") == 1
    status = changed(uptime_s=9_999)
    status["devices"][0]["collections"][0] |= {"behind": 7}
    daemon.answers["status"] = status
    eventually_blocking(lambda: "7 changes behind" in watched.text().replace("18 changes", ""))
    assert watched.interrupt() == (0, b"")
    assert watched.text().count("desk · primary") == 2


def test_a_watch_in_json_prints_a_line_for_each_change(daemon: FakeDaemon, tmp_path: Path) -> None:
    watched = Watched(tmp_path / "out", "--json")
    eventually_blocking(lambda: watched.text().count("\n") == 1)
    daemon.answers["status"] = changed(epoch="e2")
    eventually_blocking(lambda: watched.text().count("\n") == 2)
    assert watched.interrupt() == (0, b"")
    assert [json.loads(line)["epoch"] for line in watched.text().splitlines()] == ["e1", "e2"]


def test_a_watch_ends_with_three_when_the_daemon_goes(home: Home, tmp_path: Path) -> None:
    with FakeDaemon({"status": STATUS}).running(home):
        watched = Watched(tmp_path / "out", "--json")
        eventually_blocking(watched.text)
    code, said = watched.end()
    assert code == 3
    assert said.startswith(b"syncd: the daemon is not running")


def test_a_watch_on_a_terminal_is_one_living_picture_with_a_bar(daemon: FakeDaemon, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    seen = bytearray()

    def appears(part: bytes) -> bool:
        seen.extend(os.read(ours, 65_536))
        return part in seen

    try:
        watched = Watched(tmp_path / "out", terminal=theirs)
        eventually_blocking(lambda: appears("━".encode()))
        status = changed()
        status["devices"][0]["collections"][0]["progress"] = {"done": 999, "total": 1_000}
        daemon.answers["status"] = status
        eventually_blocking(lambda: appears(b"999 of 1,000"))
        code, said = watched.interrupt()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (code, said) == (0, b"")
    assert b"\x1b[" in seen
