"""Exit codes, the one line of a failure, and where each verb goes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from syncd import __version__, arrange
from syncd.cli import call
from syncd.cli.main import run_verb
from syncd.core.errors import ExpressionError, SyncdError, UserError
from syncd.home.config import Asked
from syncd.home.lock import lock
from syncd.home.paths import Home
from tests.cli.fake import (
    ACCEPTED,
    DEVICE,
    OPENED,
    RETRIED,
    SHARED,
    STATUS,
    FakeArrange,
    FakeDaemon,
    local,
)

Capture = pytest.CaptureFixture[str]
NOT_RUNNING = "syncd: the daemon is not running: start it with `syncd run` (or systemctl)\n"


def failure(capture: Capture) -> str:
    """What stands on stderr, which must be one line of ours."""
    said = capture.readouterr().err
    assert said.startswith("syncd: ")
    assert said.count("\n") == 1
    assert said.endswith("\n")
    return said


def printed_json(capture: Capture) -> object:
    return json.loads(capture.readouterr().out)


@pytest.mark.parametrize(
    "argv",
    [
        ["dance"],
        ["share", "notes"],
        ["share", "notes", "--from", "notes.db"],
        ["share", "notes", "--from", "sqlite:"],
        ["accept", "--into", "sqlite:x"],
        ["accept", "notes", "--into", "sqlite:x", "--replace", "--merge"],
        ["share", "notes", "--from", "sqlite:x", "--direction", "up"],
        ["share", "notes", "--from", "sqlite:x", "--conflicts", "loudest"],
        ["conflicts", "show", "7", "8"],
        ["conflicts", "notes", "7"],
        ["resolve", "7"],
        ["undo"],
        ["history", "notes"],
        ["history", "notes", "1", "--limit", "0"],
        ["resend"],
        ["dismiss"],
        ["init"],
        ["init", "--role", "king"],
        ["status", "--jso"],
        ["transactions", "--outcome", "lost"],
        ["transactions", "--limit", "0"],
        ["transactions", "--limit", "many"],
        ["pair", "--address", "desk:8765"],
        ["pair", "TOKEN", "--token"],
        ["pair", "TOKEN", "--address", "desk"],
        ["run", "--json"],
        ["sta\ntus"],
    ],
)
def test_a_line_that_cannot_be_understood_ends_with_two(capsys: Capture, argv: list[str]) -> None:
    assert run_verb(argv, local()) == 2
    assert "see `syncd" in failure(capsys) or argv[0] == "pair"


@pytest.mark.parametrize("argv", [["--help"], ["status", "--help"], ["pair", "-h"]])
def test_help_is_printed_and_ends_with_zero(capsys: Capture, argv: list[str]) -> None:
    assert run_verb(argv, local()) == 0
    assert "usage: syncd" in capsys.readouterr().out


def test_the_version_is_printed(capsys: Capture) -> None:
    assert run_verb(["--version"], local()) == 0
    assert capsys.readouterr().out == f"syncd {__version__}\n"


@pytest.mark.parametrize(
    "argv",
    [
        ["status"],
        ["status", "--watch"],
        ["transactions"],
        ["retry"],
        ["pair"],
        ["pair", "T", "--json"],
        ["conflicts"],
        ["undo", "n:1"],
    ],
)
def test_a_verb_that_needs_the_daemon_ends_with_three(home: Home, capsys: Capture, argv: list[str]) -> None:
    assert run_verb(argv, local()) == 3
    assert failure(capsys) == NOT_RUNNING


@pytest.mark.parametrize(
    "argv", [["status"], ["run"], ["pair"], ["retry"], ["share", "n", "--from", "sqlite:x"], ["transactions"]]
)
def test_without_a_home_each_verb_says_to_make_one(tmp_path: Path, capsys: Capture, argv: list[str]) -> None:
    assert run_verb(["--home", str(tmp_path / "none"), *argv], local()) == 1
    assert "run `syncd init` first" in failure(capsys)


@pytest.mark.parametrize("order", [["--home", "HOME", "status", "--json"], ["status", "--json", "--home", "HOME"]])
def test_the_home_may_stand_before_or_after_the_verb(
    daemon: FakeDaemon, home: Home, monkeypatch: pytest.MonkeyPatch, capsys: Capture, order: list[str]
) -> None:
    monkeypatch.setenv("SYNCD_HOME", "/nowhere")
    assert run_verb([str(home.path) if word == "HOME" else word for word in order], local()) == 0
    assert printed_json(capsys) == daemon.answers["status"]


def test_a_refusal_of_the_daemon_is_one_line_with_the_advice(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["retry"] = UserError("group notes:9 is not parked here", "see `syncd transactions`")
    assert run_verb(["retry", "notes:9"], local()) == 1
    assert failure(capsys) == "syncd: group notes:9 is not parked here: see `syncd transactions`\n"


def test_a_mistake_in_an_expression_is_marked(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["settings_set"] = ExpressionError("no field 'contry'", "write country", "contry == 1", 0, 6)
    assert run_verb(["settings", "set", "notes.selection", "contry == 1"], local()) == 1
    assert capsys.readouterr().err == "syncd: no field 'contry': write country\n  contry == 1\n  ^^^^^^\n"
    daemon.answers["settings_set"] = SyncdError("bad\n\x1b[2J", "a\nb\nc\nd", ExpressionError.code)
    assert run_verb(["settings", "set", "notes.selection", "contry == 1"], local()) == 1
    assert capsys.readouterr().err == "syncd: bad\n\\x1b[2J: a\nb\\nc\\nd\n"


def test_a_hostile_refusal_stays_one_line_without_control_characters(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["retry"] = SyncdError("bad\n\x1b[2J\u202eevil\ud800", "a\rb")
    assert run_verb(["retry"], local()) == 1
    assert failure(capsys) == "syncd: bad\\n\\x1b[2J\\u202eevil\\ud800: a\\rb\n"


def test_a_fault_of_ours_is_one_line_and_no_traceback(home: Home, capsys: Capture) -> None:
    def broken(_home: Path) -> int:
        raise ZeroDivisionError("a\nbug")

    assert run_verb(["run"], local(run=broken)) == 1
    assert "ZeroDivisionError: a\\nbug: run it again with SYNCD_DEBUG=1" in failure(capsys)


def test_with_debugging_the_traceback_is_shown(home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCD_DEBUG", "1")
    assert run_verb(["status"], local()) == 3
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith(NOT_RUNNING)


def test_an_interrupted_verb_says_so(home: Home, capsys: Capture) -> None:
    def interrupted(_home: Path) -> int:
        raise KeyboardInterrupt

    assert run_verb(["run"], local(run=interrupted)) == 1
    assert failure(capsys) == "syncd: interrupted: run it again\n"


def test_run_starts_the_daemon_of_the_home_and_ends_with_its_code(home: Home) -> None:
    started: list[Path] = []

    def run(path: Path) -> int:
        started.append(path)
        return 1

    assert run_verb(["run"], local(run=run)) == 1
    assert started == [home.path]


def test_init_passes_on_what_was_asked(tmp_path: Path, capsys: Capture) -> None:
    arranged = FakeArrange()
    argv = ["init", "--role", "primary", "--user", "maria", "--listen", "0.0.0.0:0", "--no-discovery"]
    assert run_verb([*argv, "--home", str(tmp_path)], local(arranged)) == 0
    said = capsys.readouterr().out
    assert "primary of user maria" in said
    assert "-".join(["ABCD"] * 13) in said
    assert run_verb([*argv, "--home", str(tmp_path), "--json"], local(arranged)) == 0
    told = printed_json(capsys)
    assert told == {
        "home": str(tmp_path),
        "device": {"id": DEVICE, "name": "host", "role": "primary"},
        "user": "maria",
        "listen": "0.0.0.0:0",
    }


def test_share_goes_to_the_daemon_with_the_whole_path(
    daemon: FakeDaemon, capsys: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["share"] = SHARED
    monkeypatch.chdir(tmp_path)
    asked = ["share", "notes", "--from", "sqlite:a/../n.db", "--table", "x", "y", "--table", "z", "--user", "ada"]
    assert run_verb(asked, local()) == 0
    wanted = Asked("notes", "sqlite", str(tmp_path / "n.db"), ("x", "y", "z"), "ada")
    assert [(verb, arrange.asked_for(args)) for verb, args in daemon.asked] == [("share", wanted)]
    assert "not synchronized: view v: is computed" in capsys.readouterr().out


def test_accept_goes_to_the_daemon_and_tells_the_backup(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["accept"] = ACCEPTED
    assert run_verb(["accept", "notes", "--into", "sqlite:/d/n.db", "--replace"], local()) == 0
    wanted = Asked("notes", "sqlite", "/d/n.db", replace=True)
    assert [(verb, arrange.asked_for(args)) for verb, args in daemon.asked] == [("accept", wanted)]
    assert "/d/n.db.syncd-backup-1" in capsys.readouterr().out


def test_share_and_accept_are_arranged_here_when_no_daemon_runs(home: Home, capsys: Capture) -> None:
    arranged = FakeArrange()
    assert run_verb(["share", "notes", "--from", "sqlite:~/n.db", "--json"], local(arranged)) == 0
    assert printed_json(capsys) == SHARED | {"problems": ["table log: no primary key"]}
    assert run_verb(["accept", "notes", "--into", "sqlite:/n.db", "--replace"], local(arranged)) == 0
    assert "when the daemon runs" in capsys.readouterr().out
    assert arranged.asked == [
        ("share", Asked("notes", "sqlite", os.path.expanduser("~/n.db"))),
        ("accept", Asked("notes", "sqlite", "/n.db", replace=True)),
    ]


def test_share_and_accept_pass_on_which_way_changes_travel_and_what_becomes_of_what_is_there(
    home: Home, capsys: Capture
) -> None:
    arranged = FakeArrange()
    terms = ["--direction", "out", "--conflicts", "newest"]
    assert run_verb(["share", "notes", "--from", "sqlite:/n.db", *terms], local(arranged)) == 0
    assert run_verb(["accept", "notes", "--into", "sqlite:/n.db", "--merge", "--keep-edits"], local(arranged)) == 0
    assert "is offered to the primary first" in capsys.readouterr().out
    assert run_verb(["accept", "notes", "--into", "sqlite:/n.db", "--no-keep-edits"], local(arranged)) == 0
    assert arranged.asked == [
        ("share", Asked("notes", "sqlite", "/n.db", direction="out", conflicts="newest")),
        ("accept", Asked("notes", "sqlite", "/n.db", merge=True, keep_edits=True)),
        ("accept", Asked("notes", "sqlite", "/n.db", keep_edits=False)),
    ]


def test_share_tells_that_the_terms_of_a_collection_have_changed(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["share"] = SHARED | {"direction": "in", "conflicts": "merge", "changed": True}
    assert run_verb(["share", "notes", "--from", "sqlite:/n.db", "--direction", "in"], local()) == 0
    assert "from here on: direction in, conflicts are decided by policy merge" in capsys.readouterr().out


def test_nothing_is_arranged_under_a_daemon_that_takes_no_verb(
    home: Home, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(call, "START_S_MAX", 0.05)
    arranged = FakeArrange()
    for verb, code in ((["share", "notes", "--from", "sqlite:/n.db"], 3), (["status"], 3)):
        with lock(home, daemon=True):
            assert run_verb(verb, local(arranged)) == code
        assert "still starting" in failure(capsys)
    assert arranged.asked == []


@pytest.mark.parametrize("verb", [["share", "notes", "--from", "sqlite:/n.db"], ["status"], ["pair", "--token"]])
def test_a_verb_waits_for_a_daemon_that_starts(
    home: Home, verb: list[str], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    daemon = FakeDaemon({"share": SHARED, "status": STATUS, "pair_open": OPENED})
    with contextlib.ExitStack() as stack:
        stack.enter_context(lock(home, daemon=True))
        running = daemon.running(home)
        pauses: list[Callable[[], object]] = [lambda: stack.enter_context(running), lambda: None]
        monkeypatch.setattr("time.sleep", lambda _: pauses.pop()())
        assert run_verb(verb, local()) == 0
    assert [name for name, _ in daemon.asked] == [verb[0] if verb[0] != "pair" else "pair_open"]


def test_a_verb_that_asks_takes_a_socket_in_place_of_a_home(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with FakeDaemon({"status": STATUS}).running(home) as daemon:
        monkeypatch.setenv("SYNCD_HOME", str(tmp_path / "another users"))
        assert run_verb(["status", "--json", "--socket", str(home.socket)], local()) == 0
        monkeypatch.setenv("SYNCD_SOCKET", str(home.socket))
        assert run_verb(["status", "--json"], local()) == 0
        assert run_verb(["status", "--json", "--socket", str(tmp_path / "none")], local()) == 3
        assert run_verb(["accept", "notes", "--into", "sqlite:/n.db"], local()) == 1  # writes into the home
    assert [name for name, _ in daemon.asked] == ["status", "status"]


def test_retry_names_what_was_applied_and_fails_if_something_failed_again(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["retry"] = RETRIED
    assert run_verb(["retry"], local()) == 1
    shown = capsys.readouterr()
    assert shown.out == "notes:1: applied\nnotes:2: failed again: CHECK\n"
    assert shown.err == "syncd: 1 group failed again: remove the cause, then `syncd retry`\n"
    assert daemon.asked == [("retry", {"group": None})]


def test_retry_of_very_many_groups_says_how_far_it_has_come(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["retry"] = {
        "retried": ["notes:1"],
        "applied": ["notes:1"],
        "failed": [],
        "parts": {"asked": 60_000, "tried": 30_000, "applied": 20_000},
    }
    assert run_verb(["retry"], local()) == 1
    assert capsys.readouterr().err == (
        "syncd: 30,000 of 60,000 groups tried so far, 20,000 applied: "
        "the others are tried after them, see `syncd status`\n"
    )


def test_retry_with_nothing_parked_is_no_failure(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["retry"] = {"retried": [], "applied": [], "failed": []}
    assert run_verb(["retry"], local()) == 0
    assert capsys.readouterr().out == "nothing is parked\n"


def test_without_a_verb_the_help_is_printed_and_it_ends_with_two(capsys: Capture) -> None:
    assert run_verb([], local()) == 2
    said = capsys.readouterr().err
    assert said.startswith("usage: syncd ")
    assert "Show where everything stands." in said


def test_transactions_without_rows_say_what_the_daemon_says(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["transactions"] = {"transactions": [], "note": "no failed groups here; the primary lists all"}
    assert run_verb(["transactions"], local()) == 0
    assert capsys.readouterr().out == "no failed groups here; the primary lists all\n"


@pytest.mark.parametrize("options", [(), ("--json",)])
@pytest.mark.parametrize(
    ("where", "said"), [(">/dev/full", "cannot write the answer: No space left"), (">&-", "output is closed")]
)
def test_an_answer_that_cannot_be_written_is_one_line(
    daemon: FakeDaemon, where: str, said: str, options: tuple[str, ...]
) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-m", "syncd", "status", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert said in done.stderr


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_reader_of_a_pipe_may_leave(daemon: FakeDaemon, home: Home, options: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "syncd", "status", *options],
            stdout=write,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            timeout=120,
            check=False,
        )
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_script_does_not_pay_for_pictures_or_a_daemon(daemon: FakeDaemon) -> None:
    program = (
        "import sys; from syncd.__main__ import main; code = main(); "
        "print(sorted({'rich', 'asyncio.runners', 'sqlite3', 'cryptography', 'websockets'} & set(sys.modules)), "
        "file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status", "--json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "[]\n")
