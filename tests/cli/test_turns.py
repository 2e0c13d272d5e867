"""`pause`, `resume` and `now`, as they are typed and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncd.cli.main import run_verb
from syncd.core.errors import UserError
from tests.cli.fake import PAUSED, RAN, STATUS, FakeArrange, FakeDaemon, Json, local, make_home

Capture = pytest.CaptureFixture[str]


def verb(*argv: str) -> int:
    return run_verb([*argv], local())


def test_what_is_paused_and_goes_on_is_told(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers |= {"pause": PAUSED, "resume": {"changed": []}}
    assert verb("pause", "notes", "--device", "till") == 0
    assert capsys.readouterr().out == "notes on till: paused\n"
    assert verb("resume", "--user", "tom") == 0
    assert capsys.readouterr().out == "nothing changes\n"
    assert verb("pause", "--json") == 0
    assert json.loads(capsys.readouterr().out) == PAUSED
    assert daemon.asked == [
        ("pause", {"collection": "notes", "device": "till", "user": ""}),
        ("resume", {"collection": "", "device": "", "user": "tom"}),
        ("pause", {"collection": "", "device": "", "user": ""}),
    ]


def test_an_auxiliary_that_pauses_everything_says_so(daemon: FakeDaemon, capsys: Capture) -> None:
    place = {"user": "", "device": "", "device_name": "", "collection": ""}
    daemon.answers["resume"] = {"changed": [place | {"name": "pause", "before": "on", "after": ""}]}
    assert verb("resume") == 0
    assert capsys.readouterr().out == "everything: goes on\n"


def test_it_is_kept_without_a_daemon(tmp_path: Path, capsys: Capture) -> None:
    arrange, home = FakeArrange(), make_home(tmp_path / "home")
    assert run_verb(["--home", str(home.path), "pause", "notes"], local(arrange)) == 0
    assert arrange.asked == [("pause", {"collection": "notes", "device": "", "user": ""})]
    assert "paused" in capsys.readouterr().out


def test_what_ran_is_told_and_what_did_not_come_to_its_end_is_a_failure(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["now"] = RAN
    assert verb("now", "notes") == 1
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "notes on till: identical",
        "notes on laptop: not connected: it runs when it is",
    ]
    assert told.err.startswith("syncd: 1 collection on devices did not come to the end: notes on laptop: not connected")
    daemon.answers["now"] = {"runs": RAN["runs"][:1]}  # type: ignore[index]
    assert verb("now", "--device", "till", "--json") == 0
    assert json.loads(capsys.readouterr().out) == daemon.answers["now"]
    daemon.answers["now"] = {"runs": []}
    assert verb("now") == 0
    assert capsys.readouterr().out == "nothing rests: changes travel as they are made\n"
    assert daemon.asked[1] == ("now", {"collection": "", "device": "till", "user": ""})


def test_what_is_refused_is_a_failure(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["pause"] = UserError("no collection 'old' is shared", "`syncd status` names those that are")
    assert verb("pause", "old") == 1
    assert "no collection" in capsys.readouterr().err


def test_the_picture_says_why_it_rests_and_when_it_goes_on(daemon: FakeDaemon, capsys: Capture) -> None:
    status: Json = json.loads(json.dumps(STATUS))
    rests = {"state": "paused", "reason": "its schedule is within 22:00-06:00", "parked": 0, "failed": []}
    status["devices"][0]["collections"][0] |= rests | {"resumes": "2024-05-01T20:00:00+00:00"}  # type: ignore[index]
    daemon.answers["status"] = status
    assert verb("status") == 0
    told = capsys.readouterr().out
    assert "paused" in told
    assert "its schedule is within 22:00-06:00" in told
    assert "goes on at 2024-05-0" in told
