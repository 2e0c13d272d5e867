"""Conflicts, undo, history and what was refused, as they are typed and read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncd.cli.main import run_verb
from tests.cli.fake import FakeDaemon, Json, local
from tests.cli.fake_edits import (
    CONFLICT,
    CONFLICTS,
    HISTORY,
    REFUSED,
    REFUSED_GROUP,
    RESENT,
    RESOLVED,
    UNDONE,
)

Capture = pytest.CaptureFixture[str]


def verb(*argv: str) -> int:
    return run_verb(list(argv), local())


def test_conflicts_are_listed_with_who_won_and_what_a_person_did(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["conflicts"] = CONFLICTS
    assert verb("conflicts") == 0
    said = capsys.readouterr().out
    assert "7   notes" in said
    assert "lap\\x07top" in said
    assert "primary (policy newest)" in said
    assert "note [42]; resolved: theirs (notes:912)" in said
    assert "and 3 older ones" in said
    assert verb("conflicts", "notes", "--all", "--json") == 0
    assert json.loads(capsys.readouterr().out) == CONFLICTS
    assert daemon.asked == [
        ("conflicts", {"collection": "", "all": False}),
        ("conflicts", {"collection": "notes", "all": True}),
    ]


@pytest.mark.parametrize(
    ("winner", "said"),
    [
        ("primary", "the primary won (policy newest)"),
        ("auxiliary", "the auxiliary won (policy newest)"),
        ("merge", "merged (policy newest)"),
        ("both", "both kept (policy newest)"),
    ],
)
def test_a_conflict_says_what_came_of_it(daemon: FakeDaemon, capsys: Capture, winner: str, said: str) -> None:
    daemon.answers["conflict"] = CONFLICT | {"winner": winner}
    assert verb("conflicts", "show", "7") == 0
    assert said in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "said"),
    [({"conflicts": [], "more": 0}, "no conflicts\n"), ({"refused": [], "more": 0}, "nothing was refused\n")],
)
def test_that_there_are_none_is_said(daemon: FakeDaemon, capsys: Capture, answer: Json, said: str) -> None:
    daemon.answers["conflicts"] = answer
    assert verb("conflicts") == 0
    assert capsys.readouterr().out == said


def test_a_conflict_is_shown_field_by_field_where_its_versions_differ(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["conflict"] = CONFLICT
    assert verb("conflicts", "show", "7") == 0
    said = capsys.readouterr().out
    assert daemon.asked == [("conflict", {"id": "7"})]
    lines = [line.split() for line in said.splitlines()]
    assert ["FIELD", "BASE", "OURS", "THEIRS", "RESULT"] in lines, "what is there now is the result"
    assert ["title", "milk", "oat", "milk", "soy", "milk", "oat", "milk"] in lines
    assert "in conflict" in said
    assert "x'ffffffffffffffffffffffff...' (40 bytes)" in said
    assert "00ff (70,000 bytes)" in said
    assert "(no object)" in said
    assert "\x1b" not in said
    assert "place" not in said
    assert verb("conflicts", "show", "7", "--all") == 0
    assert "place" in capsys.readouterr().out


def test_what_the_application_holds_now_is_shown_where_it_is_something_else(
    daemon: FakeDaemon, capsys: Capture
) -> None:
    changed = json.loads(json.dumps(CONFLICT))
    changed["sides"][0]["fields"][0]["now"] = "no milk"
    daemon.answers["conflict"] = changed
    assert verb("conflicts", "show", "7") == 0
    said = capsys.readouterr().out
    assert "NOW" in said
    assert "no milk" in said


def test_a_conflict_is_resolved_with_a_version_or_an_edited_file(
    daemon: FakeDaemon, capsys: Capture, tmp_path: Path
) -> None:
    daemon.answers["resolve"] = RESOLVED
    assert verb("resolve", "7", "--take", "theirs") == 0
    assert "conflict 7 is resolved by group notes:920" in capsys.readouterr().out
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(CONFLICT))
    assert verb("resolve", "7", "--take", str(file)) == 0
    (_, first), (_, second) = daemon.asked
    assert first == {"id": "7", "take": "theirs"}
    assert second["take"] == "file"
    sides = second["sides"]
    assert isinstance(sides, list)
    assert sides[1] == {
        "type": "note",
        "key": "[43]",
        "there": {"result": False},
        "fields": [{"name": "title", "result": None}],
    }, "just what counts is sent"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "No such file"),
        ("{", "is not JSON"),
        ("[]", "holds no list `sides`"),
        ('{"sides": 1}', "no list `sides`"),
    ],
)
def test_a_file_that_is_none_is_refused_before_the_daemon_is_asked(
    daemon: FakeDaemon, capsys: Capture, tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "edited.json"
    if text is not None:
        file.write_text(text)
    assert verb("resolve", "7", "--take", str(file)) == 1
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"group": "", "written": False}, "nothing had to be changed"),
        ({"group": "", "written": True}, "shows the group as soon as it is read"),
    ],
)
def test_a_resolution_without_a_group_says_why(daemon: FakeDaemon, capsys: Capture, answer: Json, said: str) -> None:
    daemon.answers["resolve"] = RESOLVED | answer
    assert verb("resolve", "7", "--take", "ours") == 0
    assert said in capsys.readouterr().out


def test_undo_tells_the_group_that_undid_it_and_what_it_left(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["undo"] = UNDONE
    assert verb("undo", "notes:912") == 0
    assert daemon.asked == [("undo", {"group": "notes:912"})]
    said = capsys.readouterr().out
    assert said.startswith("notes:912: 3 objects undone by group notes:921; `syncd undo notes:921` takes it back\n")
    assert "changed since, and left: note [42]\n" in said
    assert "kept as conflict 8" in said


def test_an_undo_that_undid_nothing_has_failed(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["undo"] = UNDONE | {"objects": 0, "undone_by": ""}
    assert verb("undo", "notes:912") == 1
    assert "nothing was undone" in capsys.readouterr().err


def test_a_history_says_who_changed_what_the_newest_first(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["history"] = HISTORY
    assert verb("history", "notes", "note", "42", "--limit", "3") == 0
    assert daemon.asked == [("history", {"collection": "notes", "words": ["note", "42"], "limit": 3})]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "notes: note [42]"
    assert "undo notes:912" in said[2]
    assert "title oat milk → milk" in said[2]
    assert "laptop" in said[3]
    assert "this primary's application" in said[4]
    assert "the oldest known: title milk" in said[4]
    assert said[5] == "and older ones: --limit"


def test_all_of_an_object_is_shown_that_is_in_one_version_only(daemon: FakeDaemon, capsys: Capture) -> None:
    group = json.loads(json.dumps(REFUSED_GROUP))
    (edit,) = group["edits"]
    edit["there"] = {"base": False, "edited": True}
    edit["fields"] = [{"name": "title", "base": None, "edited": "oats"}]
    daemon.answers["conflict"] = group
    assert verb("conflicts", "show", "12") == 0
    assert ["title", "oats"] in [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_file_that_is_missing_can_but_be_named_when_a_group_is_sent_again(
    daemon: FakeDaemon, capsys: Capture, tmp_path: Path
) -> None:
    assert verb("resend", "12", "--from", str(tmp_path / "none.json")) == 1
    assert capsys.readouterr().err.endswith("none.json: No such file or directory: name a file\n")
    assert daemon.asked == []


def test_a_key_may_look_like_an_option_after_two_dashes(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["history"] = HISTORY
    assert verb("history", "notes", "--", "-7") == 0
    assert daemon.asked[0][1]["words"] == ["-7"]


def test_a_refused_group_is_dismissed(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["dismiss"] = RESENT
    assert verb("dismiss", "notes:12") == 0
    assert capsys.readouterr().out == "notes: refused group 12 is forgotten, with 1 object\n"
    assert daemon.asked == [("dismiss", {"number": "notes:12"})]


def test_refused_groups_are_listed_shown_and_sent_again(daemon: FakeDaemon, capsys: Capture, tmp_path: Path) -> None:
    daemon.answers |= {"conflicts": REFUSED, "conflict": REFUSED_GROUP, "resend": RESENT}
    assert verb("conflicts") == 0
    assert "UNIQUE constraint failed: note.title (note [42])" in capsys.readouterr().out
    assert verb("conflicts", "show", "12") == 0
    said = capsys.readouterr().out
    assert "refused: the primary's version stays (note [42])" in said
    assert "`syncd conflicts show 7` there" in said
    assert ["FIELD", "BASE", "EDITED"] in [line.split() for line in said.splitlines()]
    assert verb("resend", "12") == 0
    assert "1 object of notes changed here again" in capsys.readouterr().out
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(REFUSED_GROUP))
    assert verb("resend", "12", "--from", str(file)) == 0
    assert verb("resend", "12", "--new-keys") == 0
    assert [args for name, args in daemon.asked if name == "resend"] == [
        {"number": "12"},
        {
            "number": "12",
            "edits": [
                {
                    "type": "note",
                    "key": "[42]",
                    "there": {"edited": False},
                    "fields": [{"name": "title", "edited": None}],
                }
            ],
        },
        {"number": "12", "new_keys": True},
    ]
