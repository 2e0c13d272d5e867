"""The verbs that look before anything is done: what is asked, what is printed, how they end."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.cli.main import DONE, FAILED, USAGE, run_verb
from syncd.home.paths import Home
from tests.cli.fake import FakeDaemon, Json, local
from tests.cli.fake_ahead import HOLDS, HOLDS_DEVICE, PREVIEW, objects

PLACE = {"device": "till", "user": ""}


@pytest.mark.parametrize(
    ("words", "what", "args"),
    [
        (
            ["settings", "set", "notes.selection", "a == 1", "--device", "till"],
            "settings_set",
            {"name": "notes.selection", "value": "a == 1", **PLACE},
        ),
        (
            ["settings", "unset", "notes.selection", "--device", "till"],
            "settings_unset",
            {"name": "notes.selection", **PLACE},
        ),
        (["devices", "link", "till", "ada"], "device_link", {"device": "till", "user": "ada"}),
        (["pair", "--user", "ada"], "pair", {"user": "ada"}),
        (["approve", "notes:held-1"], "approve", {"group": "notes:held-1"}),
        (["reject", "notes:held-1"], "reject", {"group": "notes:held-1"}),
        (["undo", "notes:912"], "undo", {"group": "notes:912"}),
    ],
)
def test_the_words_are_those_of_the_verb_that_is_previewed(home: Home, words: list[str], what: str, args: Json) -> None:
    daemon = FakeDaemon({"preview": PREVIEW})
    with daemon.running(home):
        assert run_verb(["preview", *words, "--home", str(home.path)], local()) == DONE
        if what != "pair":
            assert run_verb(["preview", *words, "--apply", "0f", "--home", str(home.path)], local()) == DONE
    asked = [("preview", {"what": what, "args": args, "apply": hash_}) for hash_ in ("", "0f")]
    assert daemon.asked == (asked if what != "pair" else asked[:1])


def test_a_file_of_settings_is_read_here(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("[[settings]]")
    daemon = FakeDaemon({"preview": PREVIEW})
    with daemon.running(home):
        assert run_verb(["preview", "settings", "import", str(file), "--home", str(home.path)], local()) == DONE
    assert daemon.asked[0][1]["args"] == {"toml": "[[settings]]"}


def test_it_is_shown_what_goes_where(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDaemon({"preview": PREVIEW}).running(home):
        assert run_verb(["preview", "undo", "notes:1", "--home", str(home.path)], local()) == DONE
    said = capsys.readouterr().out
    assert "\x07" not in said
    for one in ("1,204", "120 KiB", "note [1], note [2], ...", "this primary", "at most", "not accepted there yet"):
        assert one in said
    assert "--apply 0123456789abcdef" in said
    assert "changed since, and left: note [9]" in said
    assert "warning: notes: note.tag references tag, of which none is taken" in said


def test_what_moved_is_shown_anew_and_fails(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeDaemon({"preview": PREVIEW | {"refused": "the data moved"}}).running(home):
        words = ["preview", "undo", "notes:1", "--apply", "aa", "--home", str(home.path)]
        assert run_verb(words, local()) == FAILED
        assert run_verb([*words, "--json"], local()) == FAILED
    told = capsys.readouterr()
    assert "1,204" in told.out
    assert told.err.splitlines()[0].startswith("syncd: the data moved: look at what it would do now, then --apply 0123")


def test_what_was_done_says_so(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    done = PREVIEW | {"applied": True, "group": "notes:913", "outcomes": []}
    with FakeDaemon({"preview": done}).running(home):
        assert run_verb(["preview", "undo", "notes:1", "--apply", "aa", "--home", str(home.path)], local()) == DONE
    said = capsys.readouterr().out
    assert "no object moves anywhere" in said
    assert "done, by group notes:913" in said


def test_who_holds_an_object(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = FakeDaemon({"holds": HOLDS})
    with daemon.running(home):
        assert run_verb(["holds", "notes", "note", "42", "--home", str(home.path)], local()) == DONE
    assert daemon.asked == [("holds", {"collection": "notes", "words": ["note", "42"]})]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "note [42] is not in the application here any more, by group notes:912"
    assert said[1].startswith("till held an older version of it: revoked ")
    assert said[2].startswith("desk may hold it, in which version is not known: away, last seen ")
    assert said[3] == "laptop holds it: connected, as of 900"


def test_what_a_device_holds(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    daemon = FakeDaemon({"holds_device": HOLDS_DEVICE, "holds_objects": objects})
    at = ["--home", str(home.path)]
    with daemon.running(home):
        assert run_verb(["holds", "--device", "till", *at], local()) == DONE
        assert run_verb(["holds", "--device", "till", "notes", "--all", *at], local()) == DONE
        assert run_verb(["holds", "--device", "till", "notes", "--all", "--json", *at], local()) == DONE
    said = capsys.readouterr().out
    assert "1,204 objects (120 KiB): note [1], note [2], ..." in said
    assert "not remembered any more" in said
    assert "note [1]\nnote [2]  (perhaps)\n" in said
    assert said.count('{"type": "note"') == 2
    assert [one["after"] for verb, one in daemon.asked if verb == "holds_objects"] == ["", "again"] * 2


@pytest.mark.parametrize(
    "words",
    [
        ["preview"],
        ["preview", "revoke", "till"],
        ["preview", "pair", "--apply", "00"],
        ["preview", "settings", "set", "notes.selection"],
        ["preview", "devices", "rename", "till", "desk"],
        ["holds"],
        ["holds", "notes"],
        ["holds", "notes", "1", "--all"],
        ["holds", "--device", "till", "--all"],
        ["holds", "--device", "till", "notes", "1"],
    ],
)
def test_other_words_are_no_verb(home: Home, words: list[str]) -> None:
    assert run_verb([*words, "--home", str(home.path)], local()) == USAGE


@pytest.mark.parametrize("word", ["journal", "notes"])
def test_only_what_changes_settings_has_a_preview(home: Home, word: str) -> None:
    assert run_verb(["preview", "settings", word, "--home", str(home.path)], local()) == FAILED
