"""Settings, as they are typed and read, with a daemon and without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from syncd.cli.main import run_verb
from syncd.home.paths import Home
from tests.cli.fake import CHANGED, DEVICE, FakeArrange, FakeDaemon, Json, local

Capture = pytest.CaptureFixture[str]
NO_PLACE: Json = {"device": "", "user": ""}
LISTED: Json = {
    "user": "maria",
    "device": "",
    "device_name": "",
    "collection": "notes",
    "settings": [
        {"name": "direction", "value": "out", "from": "collection notes", "allowed": "", "scopes": [], "help": ""},
        {"name": "history.age", "value": "30d", "from": "usual", "allowed": "", "scopes": [], "help": ""},
    ],
    "set": [
        {"user": "", "device": "", "device_name": "", "collection": "notes", "name": "direction", "value": "out"},
        {"user": "maria", "device": "", "device_name": "", "collection": "", "name": "conflicts", "value": "merge"},
        {"user": "", "device": DEVICE, "device_name": "", "collection": "", "name": "adapter", "value": "json"},
    ],
}
EXPLAINED: Json = {
    "name": "direction",
    "value": "out",
    "from": "collection notes",
    "allowed": "one of out, in, both",
    "scopes": ["user", "collection"],
    "help": "which way changes travel",
    "chain": [
        {"from": "usual", "value": "both", "counts": False},
        {"from": "user maria", "value": "", "counts": False},
        {"from": "collection notes", "value": "out", "counts": True},
    ],
}


def verb(*argv: str) -> int:
    return run_verb(["settings", *argv], local())


def test_what_counts_is_shown_with_where_it_comes_from_and_what_was_set(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["settings"] = LISTED
    assert verb("notes") == 0
    assert capsys.readouterr().out.splitlines() == [
        "direction    out           collection notes",
        "history.age  30d           usual",
        "",
        "set:",
        "  notes: direction = out",
        "  user maria: conflicts = merge",
        f"  device {DEVICE}: adapter = json",
    ]
    assert verb("--device", "till", "--user", "tom", "--json") == 0
    assert json.loads(capsys.readouterr().out) == LISTED
    assert daemon.asked == [
        ("settings", {"collection": "notes"} | NO_PLACE),
        ("settings", {"collection": "", "device": "till", "user": "tom"}),
    ]


def test_a_selection_that_devices_may_refuse_is_warned_of(daemon: FakeDaemon, capsys: Capture) -> None:
    told = CHANGED | {"warnings": ["notes: note.tag references tag, of which none is taken"]}
    daemon.answers |= {"settings_set": told, "settings_import": told}
    assert verb("set", "notes.selection", 'tables ["note"]') == 0
    assert "  warning: notes: note.tag references tag, of which none is taken\n" in capsys.readouterr().out


def test_a_value_is_set_and_unset(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers |= {"settings_set": CHANGED, "settings_unset": CHANGED | {"changed": []}}
    assert verb("set", "notes.direction", "out", "--device", "till") == 0
    assert capsys.readouterr().out.splitlines() == [
        "notes on till: direction: not set -> out",
        "  what counts there: out (collection notes on till)",
    ]
    assert verb("unset", "notes.direction", "--device", "till") == 0
    assert capsys.readouterr().out.startswith("nothing changes\n")
    place = {"device": "till", "user": ""}
    assert daemon.asked == [
        ("settings_set", {"name": "notes.direction", "value": "out"} | place),
        ("settings_unset", {"name": "notes.direction"} | place),
    ]


def test_it_is_explained_which_place_decides(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["settings_explain"] = EXPLAINED
    assert verb("explain", "notes.direction") == 0
    assert capsys.readouterr().out.splitlines() == [
        "direction: which way changes travel",
        "  allowed: one of out, in, both; set for a user, collection",
        "    usual: both",
        "    user maria: not set",
        "  * collection notes: out",
    ]


def test_the_journal_tells_who_changed_what(daemon: FakeDaemon, capsys: Capture) -> None:
    place: Json = {"user": "maria", "device": "", "device_name": "", "collection": ""}
    change: Json = place | {"time": "", "name": "direction", "before": "out", "after": ""}
    daemon.answers["settings_journal"] = {"journal": [change | {"who": "uid 7"}, change | {"who": ""}]}
    assert verb("journal", "--limit", "2") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith(", uid 7: user maria: direction: out -> not set")
    assert ", unknown: " in second
    assert daemon.asked == [("settings_journal", {"limit": 2})]


def test_export_prints_or_writes_and_import_reads(daemon: FakeDaemon, capsys: Capture, tmp_path: Path) -> None:
    toml, file = '[[settings]]\nuser = "maria"\ndirection = "out"\n', tmp_path / "settings.toml"
    daemon.answers |= {"settings_export": {"toml": toml}, "settings_import": {"changed": CHANGED["changed"]}}
    assert verb("export") == 0
    assert capsys.readouterr().out == toml
    assert verb("export", str(file)) == 0
    assert file.read_text() == toml
    capsys.readouterr()
    assert verb("import", str(file)) == 0
    assert capsys.readouterr().out == "notes on till: direction: not set -> out\n"
    assert daemon.asked[-1] == ("settings_import", {"toml": toml})


def test_a_file_that_cannot_be_read_or_written_is_one_line(daemon: FakeDaemon, capsys: Capture, tmp_path: Path) -> None:
    daemon.answers["settings_export"] = {"toml": ""}
    large, binary = tmp_path / "large", tmp_path / "binary"
    large.write_bytes(b"#" * (512 * 1024 + 1))
    binary.write_bytes(b"\xff")
    for words, said in (
        (("import", str(tmp_path / "none")), "cannot be read"),
        (("import", str(large)), "larger than 512 KiB"),
        (("import", str(binary)), "is not UTF-8"),
        (("export", str(tmp_path)), "cannot be written"),
    ):
        assert verb(*words) == 1
        assert said in capsys.readouterr().err


def test_without_a_daemon_it_is_arranged(home: Home, capsys: Capture) -> None:
    arranged = FakeArrange()
    assert run_verb(["settings", "set", "notes.direction", "out"], local(arranged)) == 0
    assert "direction: not set -> out" in capsys.readouterr().out
    assert arranged.asked == [("settings_set", {"name": "notes.direction", "value": "out"} | NO_PLACE)]


def test_at_another_socket_nothing_is_arranged(home: Home, capsys: Capture, tmp_path: Path) -> None:
    assert verb("--socket", str(tmp_path / "none.sock")) == 3
    assert "daemon" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["set", "direction"],
        ["set", "direction", "out", "now"],
        ["unset"],
        ["explain"],
        ["journal", "notes"],
        ["export", "a", "b"],
        ["import"],
        ["notes", "photos"],
        ["journal", "--device", "till"],
        ["import", "file", "--user", "ada"],
    ],
)
def test_other_words_are_a_mistake_of_usage(words: list[str], home: Home, capsys: Capture) -> None:
    assert verb(*words) == 2
    assert capsys.readouterr().err.startswith("syncd: ")


def test_help_shows_all_forms(capsys: Capture) -> None:
    assert verb("--help") == 0
    said = capsys.readouterr().out
    assert "syncd settings explain [COLLECTION.]NAME" in said
    assert "syncd settings import FILE" in said
