"""Where the home is found and what lies where in it (DESIGN §6)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from syncd.core.errors import HomeError
from syncd.core.model import Role
from syncd.home import config
from syncd.home.config import Config
from syncd.home.paths import SOCKET_BYTES_MAX, Home, find_home

EVERYTHING = {
    "SYNCD_HOME": "/chosen",
    "STATE_DIRECTORY": "/var/lib/private/syncd:/other",
    "XDG_STATE_HOME": "/state",
    "HOME": "/home/ada",
}


def without(*names: str) -> dict[str, str]:
    return {name: value for name, value in EVERYTHING.items() if name not in names}


def test_the_option_comes_first() -> None:
    assert find_home("/given", EVERYTHING) == Path("/given")


def test_the_environment_chooses_without_an_option() -> None:
    assert find_home(None, EVERYTHING) == Path("/chosen")


def test_a_service_uses_the_directory_that_systemd_gives() -> None:
    assert find_home(None, without("SYNCD_HOME")) == Path("/var/lib/private/syncd")


def test_a_person_uses_the_xdg_state_directory() -> None:
    assert find_home(None, without("SYNCD_HOME", "STATE_DIRECTORY")) == Path("/state/syncd")
    assert find_home(None, {"HOME": "/home/ada"}) == Path("/home/ada/.local/state/syncd")


def test_a_relative_xdg_state_directory_is_ignored() -> None:
    assert find_home(None, {"HOME": "/home/ada", "XDG_STATE_HOME": "state"}) == Path("/home/ada/.local/state/syncd")


@pytest.mark.parametrize("environ", [{}, {"HOME": ""}, {"HOME": "/"}])
def test_without_a_person_the_home_is_the_systems(environ: dict[str, str]) -> None:
    assert find_home(None, environ) == Path("/var/lib/syncd")


def test_a_relative_option_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    assert find_home("here/../there", {}) == tmp_path / "there"
    assert find_home("~/there", {}) == Path("/home/ada/there")


@pytest.mark.parametrize("option", ["", "a\0b", "~nobody-of-that-name/x"])
def test_an_option_that_names_no_directory_is_refused(option: str) -> None:
    with pytest.raises(HomeError) as caught:
        find_home(option, EVERYTHING)
    assert caught.value.advice


def test_a_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "a" / "b")
    home.create()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    home.create()
    assert not home.initialized


def test_an_empty_directory_becomes_a_home_of_its_owner_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Home(tmp_path).create()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_directory_that_others_use_is_not_made_a_home(tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    tmp_path.chmod(0o755)
    with pytest.raises(HomeError, match="open to other users") as caught:
        Home(tmp_path).create()
    assert f"chmod 700 {tmp_path}" in caught.value.advice
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_home_cannot_be_made_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "home"):
        with pytest.raises(HomeError, match="cannot make the home"):
            Home(path).create()


def test_what_a_home_holds_has_names_of_its_own(home: Home) -> None:
    paths = [
        home.config,
        home.identity,
        home.sync_store,
        home.sync_database,
        home.inbound,
        home.uploads,
        home.lock,
        home.socket,
    ]
    assert len(set(paths)) == len(paths)
    assert {path.parent for path in paths} == {home.path}
    assert (home.sync_store.name, home.sync_database.name, home.inbound.name) == ("store.db", "sync.db", "inbound.db")


def test_the_socket_is_where_config_toml_says(home: Home) -> None:
    for configured, expected in [
        ("", home.path / "syncd.sock"),
        ("s", home.path / "s"),
        ("/run/syncd/s", Path("/run/syncd/s")),
    ]:
        config.save(home, Config(role=Role.AUXILIARY, name="till-1", socket=configured))
        assert home.socket == expected


def test_a_socket_path_that_the_system_cannot_hold_is_refused_with_a_way_out(tmp_path: Path) -> None:
    room = SOCKET_BYTES_MAX - len(str(tmp_path)) - len("//syncd.sock")
    assert len(str(Home(tmp_path / ("h" * room)).socket)) == SOCKET_BYTES_MAX
    with pytest.raises(HomeError, match=f"has {SOCKET_BYTES_MAX + 1} bytes") as caught:
        _ = Home(tmp_path / ("h" * (room + 1))).socket
    assert "`socket`" in caught.value.advice
