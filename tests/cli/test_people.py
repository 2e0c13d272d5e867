"""Pairing, users, devices and revocation, as they are typed and read."""

from __future__ import annotations

import json

import pytest

from syncd.cli import call
from syncd.cli.local import Local
from syncd.cli.main import run_verb
from syncd.control import client
from syncd.core.errors import UserError
from syncd.core.model import show_device
from syncd.home.paths import Home
from tests.cli.fake import DEVICE, OPENED, OPENED_CODE, PAIRED, FakeDaemon, Json

Capture = pytest.CaptureFixture[str]
CAME: Json = {"device": DEVICE, "name": "laptop", "user": "maria", "linked": True, "reason": ""}
HELD: list[Json] = [{"name": "notes", "objects": 1_234, "position": 918}]
LAPTOP: Json = {
    "id": DEVICE,
    "name": "laptop",
    "own_name": "lap-7",
    "role": "auxiliary",
    "users": ["maria", "tom"],
    "adapter": "msgpack",
    "connected": True,
    "paired": "2024-05-01T10:00:00+00:00",
    "last_seen": "2024-05-01T10:00:00+00:00",
    "revoked": "",
    "copied": "",
    "collections": HELD,
}


def verb(*argv: str) -> int:
    return run_verb(list(argv), LOCAL)


def no_arrangement() -> object:
    raise AssertionError("nothing is arranged here")


LOCAL = Local(no_arrangement, lambda home: 0)  # type: ignore[arg-type]


def test_pair_on_the_primary_shows_a_code_and_then_who_came(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers |= {"pair_open": OPENED_CODE, "pair_wait": CAME}
    assert verb("pair", "--user", "maria") == 0
    said = capsys.readouterr().out
    assert "syncd pair 4821-otter-lamp\n" in said
    assert "within 5 min" in said
    assert "--address 192.0.2.1:8766" in said
    assert said.endswith(f"linked laptop with user maria: {show_device(DEVICE)}\n")
    assert daemon.asked == [
        ("pair_open", {"token": False, "user": "maria"}),
        ("pair_wait", {"shown": "4821-otter-lamp"}),
    ]


def test_pair_tells_why_nobody_was_linked(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers |= {"pair_open": OPENED_CODE, "pair_wait": CAME | {"linked": False, "reason": "a wrong guess"}}
    assert verb("pair") == 1
    assert capsys.readouterr().err == "syncd: a wrong guess\n"


def test_ctrl_c_closes_pairing(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    daemon.answers |= {"pair_open": OPENED_CODE, "pair_close": {}}
    ask = client.ask

    def interrupted(*args: object) -> Json:
        if "pair_wait" in args:
            raise KeyboardInterrupt
        return ask(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(call, "ask", interrupted)
    assert verb("pair") == 1
    assert "pairing with 4821-otter-lamp is closed" in capsys.readouterr().err
    assert daemon.asked[1:] == [("pair_close", {"shown": "4821-otter-lamp"})]


def test_scripts_get_a_token_in_one_line_and_nobody_waits(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["pair_open"] = OPENED
    assert verb("pair", "--token") == 0
    assert capsys.readouterr().out == f"{OPENED['token']}\n"
    assert verb("pair", "--token", "--json") == 0
    assert json.loads(capsys.readouterr().out) == OPENED
    daemon.answers["pair_open"] = OPENED_CODE
    assert verb("pair", "--json") == 0
    assert json.loads(capsys.readouterr().out) == OPENED_CODE


def test_a_token_is_shown_as_a_picture_too(daemon: FakeDaemon, capsys: Capture) -> None:
    token = "syncd1-" + "a" * 80 + "@192.0.2.1:8766"
    daemon.answers["pair_open"] = OPENED | {"token": token}
    assert verb("pair", "--qr") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == token
    assert "`syncd pair` and this token" in lines[0]
    picture = [line for line in lines[1:-1] if line]
    assert len(picture) > 15
    assert len({len(line) for line in picture}) == 1
    assert set("".join(picture)) == set(" \u2580\u2584\u2588")


def test_pair_on_an_auxiliary_tells_whom_it_found(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["pair"] = PAIRED
    assert verb("pair", "4821-otter-lamp", "--address", "[::1]:8765") == 0
    assert daemon.asked == [("pair", {"shown": "4821-otter-lamp", "address": "[::1]:8765", "replace": False})]
    assert "paired with de\\x07sk, the primary of user maria: ABCD-" in capsys.readouterr().out


@pytest.mark.parametrize("linked", [True, False])
def test_pair_tells_that_the_first_link_is_still_to_come(daemon: FakeDaemon, linked: bool, capsys: Capture) -> None:
    daemon.answers["pair"] = PAIRED | {"linked": linked}
    assert verb("pair", "4821-otter-lamp", "--address", "desk:8765") == 0
    assert ("not linked yet" in capsys.readouterr().out) is not linked


@pytest.mark.parametrize(
    "argv",
    [
        ["pair", "CODE", "--token"],
        ["pair", "CODE", "--user", "x"],
        ["pair", "--address", "desk:1"],
        ["pair", "--replace"],
        ["users", "add"],
        ["devices", "link", "laptop"],
        ["devices", "burn", "laptop"],
        ["revoke"],
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(argv: list[str], home: Home, capsys: Capture) -> None:
    assert verb(*argv) == 2
    assert capsys.readouterr().err.startswith("syncd: ")


def test_users_are_listed_with_what_is_theirs(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["users"] = {
        "users": [
            {"name": "maria", "devices": [{"id": DEVICE, "name": "laptop"}], "collections": ["notes", "shop"]},
            {"name": "tom", "devices": [], "collections": []},
        ]
    }
    assert verb("users") == 0
    assert capsys.readouterr().out == "maria: notes, shop; on laptop\ntom: no collections; on no devices\n"


def test_users_are_added_and_renamed(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers |= {"user_add": {"user": "tom"}, "user_rename": {"user": "thomas"}}
    assert verb("users", "add", "tom") == 0
    assert verb("users", "rename", "tom", "thomas") == 0
    assert capsys.readouterr().out == ("user tom is added; next: `syncd pair --user tom`\nuser tom is called thomas\n")
    assert daemon.asked == [("user_add", {"user": "tom"}), ("user_rename", {"user": "tom", "name": "thomas"})]


def test_options_stand_before_or_after_the_words_of_a_verb(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["user_add"] = {"user": "tom"}
    for argv in (["--json", "add", "tom"], ["add", "tom", "--json"], ["add", "--json", "tom"]):
        assert verb("users", *argv) == 0
        assert json.loads(capsys.readouterr().out) == {"user": "tom"}


def test_devices_are_listed_with_what_they_hold(daemon: FakeDaemon, capsys: Capture) -> None:
    lost = LAPTOP | {"name": "old", "own_name": "old", "users": [], "revoked": "2024-05-01T10:00:00+00:00"}
    twice = LAPTOP | {"own_name": "laptop", "copied": "2024-05-01T10:00:00+00:00", "collections": []}
    daemon.answers["devices"] = {"devices": [LAPTOP, lost, twice]}
    assert verb("devices", "--json") == 0
    assert json.loads(capsys.readouterr().out) == daemon.answers["devices"]
    assert verb("devices") == 0
    said = capsys.readouterr().out
    assert "laptop: auxiliary of maria, tom, connected, calls itself lap-7\n" in said
    assert f"    {show_device(DEVICE)}\n    holds 1,234 objects of notes, as of 918\n" in said
    assert "old: auxiliary of no user, revoked " in said
    assert "laptop: auxiliary of maria, tom, held back: two machines use its identity" in said
    daemon.answers["devices"] = {"devices": []}
    assert verb("devices") == 0
    assert capsys.readouterr().out == "no devices: `syncd pair` links one\n"


def test_devices_are_changed_by_name(daemon: FakeDaemon, capsys: Capture) -> None:
    told: Json = {"device": DEVICE, "name": "till", "users": ["maria", "tom"]}
    daemon.answers |= dict.fromkeys(("device_rename", "device_link", "device_allow"), told)
    daemon.answers["device_unlink"] = told | {"users": []}
    assert verb("devices", "rename", "lap-7", "till") == 0
    assert verb("devices", "link", "till", "tom") == 0
    assert verb("devices", "unlink", "till", "tom") == 0
    assert verb("devices", "allow", "till") == 0
    assert capsys.readouterr().out.splitlines() == [
        "lap-7 is called till here",
        "till is linked with maria, tom",
        "till is linked with no user",
        "till may come in again; it dials by itself within half a minute",
    ]
    assert [name for name, _ in daemon.asked] == ["device_rename", "device_link", "device_unlink", "device_allow"]


def test_revoke_tells_what_the_device_held(daemon: FakeDaemon, capsys: Capture) -> None:
    daemon.answers["revoke"] = LAPTOP
    assert verb("revoke", "laptop") == 0
    said = capsys.readouterr().out
    assert said.startswith(f"laptop is revoked: {show_device(DEVICE)}\n")
    assert "  it held 1,234 objects of notes, as of 918\n" in said
    daemon.answers["revoke"] = LAPTOP | {"collections": []}
    assert verb("revoke", "laptop") == 0
    assert "it held nothing" in capsys.readouterr().out
    daemon.answers["revoke"] = UserError("there is no device 'x'", "`syncd devices` names those that there are")
    assert verb("revoke", "x") == 1


@pytest.mark.parametrize("listed", ["users", "devices"])
def test_a_list_may_be_asked_for_by_its_name(daemon: FakeDaemon, capsys: Capture, listed: str) -> None:
    daemon.answers[listed] = {listed: []}
    assert verb(listed, "list", "--json") == 0
    assert verb(listed, "--json", "list") == 0
    assert verb(listed, "--json") == 0
    assert daemon.asked == [(listed, {})] * 3
    said = capsys.readouterr().out
    assert said == 3 * (json.dumps({listed: []}, indent=2) + "\n")


def test_a_first_link_that_is_still_to_come_is_told(daemon: FakeDaemon, capsys: Capture) -> None:
    """As behind a firewall that lets pairing in and nothing else."""
    daemon.answers["pair"] = PAIRED | {"linked": False}
    assert verb("pair", "4821-otter-lamp") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("paired with ")
    assert "not linked yet" in said[1]
    assert "syncd status" in said[1]
    daemon.answers["pair"] = PAIRED | {"linked": True}
    assert verb("pair", "4821-otter-lamp") == 0
    assert "yet" not in capsys.readouterr().out
