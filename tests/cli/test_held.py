"""What is held, as it is read, approved and rejected: groups and changes of settings (R13)."""

from __future__ import annotations

import json

import pytest

from syncd.cli.main import run_verb
from tests.cli.fake import DEVICE, FakeDaemon, Json, local

Capture = pytest.CaptureFixture[str]
GROUP: Json = {
    "group": "notes:held-2",
    "collection": "notes",
    "since": "2026-11-29T03:00:00+00:00",
    "objects": 13,
    "gone": 12,
    "of": 40,
    "released": False,
    "reading": False,
    "reason": "12 of 40 objects were deleted",
    "named": [{"type": "note", "key": f"[{number}]", "gone": number < 12} for number in range(13)],
}
CHANGE: Json = {"user": "", "device": DEVICE, "device_name": "till", "collection": "notes", "name": "selection"}
SETTINGS: Json = {
    "group": "settings-3",
    "since": "2026-11-29T03:00:00+00:00",
    "who": "uid 0",
    "changes": [CHANGE | {"value": "where id < 4"}],
    "losses": [{"device": DEVICE, "device_name": "till", "collection": "notes", "objects": 36, "of": 40}],
    "reason": "settings-3 is held, and nothing is changed: till would lose 36 of the 40 objects",
}
HELD: Json = {"held": [GROUP], "settings": [SETTINGS]}


def verb(*argv: str) -> int:
    return run_verb(list(argv), local())


def test_what_is_held_is_listed_with_its_reason(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["held"] = HELD
    assert verb("held") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "notes:held-2: 12 of 40 objects were deleted"
    assert said[1:] == [
        *(f"  deleted: note [{number}]" for number in range(10)),
        "  and 2 more",
        "settings-3 is held, and nothing is changed: till would lose 36 of the 40 objects",
        "  would be set: notes on till: selection = where id < 4",
    ]
    assert verb("held", "--json") == 0
    assert json.loads(capsys.readouterr().out) == HELD
    daemon.answers["held"] = {"held": [], "settings": []}
    assert verb("held") == 0
    assert capsys.readouterr().out == "nothing is held\n"


def test_a_change_of_settings_is_approved_and_rejected(daemon: FakeDaemon, capsys: Capture) -> None:
    changed = [CHANGE | {"before": "", "after": "where id < 4"}]
    daemon.answers |= {"approve": {"group": "settings-3", "changed": changed}, "reject": {"group": "settings-3"}}
    assert verb("approve", "settings-3") == 0
    assert capsys.readouterr().out.splitlines() == [
        "settings-3: approved",
        "notes on till: selection: not set -> where id < 4",
    ]
    assert verb("reject", "settings-3") == 0
    assert capsys.readouterr().out == "settings-3: rejected, nothing is changed\n"
    assert daemon.asked == [("approve", {"group": "settings-3"}), ("reject", {"group": "settings-3"})]


def test_a_group_is_approved_and_rejected(daemon: FakeDaemon, capsys: Capture) -> None:
    left = [{"type": "note", "key": "[3]"}]
    daemon.answers["approve"] = {name: value for name, value in GROUP.items() if name != "named"}
    daemon.answers["reject"] = {"group": "notes:held-2", "objects": 11, "left": left, "more": 0, "conflicts": []}
    assert verb("approve", "notes:held-2") == 0
    assert capsys.readouterr().out == "notes:held-2: approved, 12 objects deleted on all devices\n"
    assert verb("reject", "notes:held-2") == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        "notes:held-2: rejected, 11 objects given back",
        "  there again since, and left: note [3]",
    ]


@pytest.mark.parametrize("in_json", [False, True])
def test_a_setting_that_is_held_ends_with_1_and_says_why(daemon: FakeDaemon, capsys: Capture, in_json: bool) -> None:
    held = [{"group": "settings-3", "reason": SETTINGS["reason"]}]
    told: Json = {"changed": [], "held": held, "value": "all", "from": "usual"}
    daemon.answers["settings_set"] = told
    assert verb("settings", "set", "notes.selection", "id < 4", *(["--json"] if in_json else [])) == 1
    seen = capsys.readouterr()
    assert "till would lose 36 of the 40 objects" in seen.err
    assert (json.loads(seen.out) == told) if in_json else (seen.out == "")
