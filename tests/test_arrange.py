"""Arranging a device without a daemon: what is made, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from syncd import arrange
from syncd.core.errors import SyncdError, UserError
from syncd.core.model import Role
from syncd.home import config, identity
from syncd.home.config import Asked, Config, split_address
from syncd.home.paths import Home
from tests.arrange_kit import database, refused
from tests.ports import two_listening

AT_ANY_PORT = Config(role=Role.PRIMARY, name="desk", user="maria", listen="127.0.0.1:0")


@pytest.fixture
def primary(tmp_path: Path) -> Home:
    home = Home(tmp_path / "primary")
    arrange.init(home, AT_ANY_PORT)
    return home


@pytest.fixture
def auxiliary(tmp_path: Path) -> Home:
    home = Home(tmp_path / "auxiliary")
    arrange.init(home, Config(role=Role.AUXILIARY, name="laptop"))
    return home


# ---------------------------------------------------------------- init


def test_init_makes_a_private_home_with_an_identity(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home")
    told = arrange.init(home, Config(role=Role.PRIMARY, name="", user="maria"))
    loaded = config.load(home)
    assert (loaded.role, loaded.user, loaded.listen) == (Role.PRIMARY, "maria", "0.0.0.0:8765")
    assert told == {
        "home": str(home.path),
        "device": {"id": identity.load(home).device_id, "name": loaded.name, "role": "primary"},
        "user": "maria",
        "listen": "0.0.0.0:8765",
    }
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert stat.S_IMODE(home.identity.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("desk.example.org", "desk"),
        ("my desk", "my-desk"),
        ("-_odd_-", "odd"),
        ("büro", "b-ro"),
        ("ж", "device"),
        ("", "device"),
        ("x" * 80, "x" * 64),
    ],
)
def test_the_usual_name_of_a_device_is_its_host_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, name: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    home = Home(tmp_path / "home")
    arrange.init(home, Config(role=Role.AUXILIARY, name=""))
    assert config.load(home).name == name


def test_init_never_changes_a_home_that_is_there(primary: Home) -> None:
    before = primary.identity.read_bytes()
    with refused(primary, "is a syncd home already"):
        arrange.init(primary, Config(role=Role.AUXILIARY, name="other"))
    assert primary.identity.read_bytes() == before


def test_init_takes_up_the_identity_of_a_try_that_broke_off(primary: Home) -> None:
    before = identity.load(primary)
    primary.config.unlink()
    arrange.init(primary, Config(role=Role.AUXILIARY, name="desk"))
    assert identity.load(primary) == before


@pytest.mark.parametrize(
    "options",
    [
        Config(role=Role.PRIMARY, name="desk"),
        Config(role=Role.PRIMARY, name="desk", user="maria lopez"),
        Config(role=Role.PRIMARY, name="../desk", user="maria"),
        Config(role=Role.PRIMARY, name="desk", user="maria", listen="8765"),
        Config(role=Role.PRIMARY, name="desk", user="maria", listen="192.0.2.1:0"),
        Config(role=Role.AUXILIARY, name="desk", user="maria"),
        Config(role=Role.AUXILIARY, name="desk", listen="0.0.0.0:1"),
        Config(role=Role.PRIMARY, name="desk", user="maria", adapter="json"),
    ],
)
def test_init_refuses_what_cannot_work_and_makes_nothing(tmp_path: Path, options: Config) -> None:
    home = Home(tmp_path / "home")
    with pytest.raises(UserError) as caught:
        arrange.init(home, options)
    assert caught.value.advice
    assert not home.path.exists()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "localhost:0", "0.0.0.0:0"])
def test_port_zero_becomes_a_free_port_that_is_kept(tmp_path: Path, listen: str) -> None:
    home = Home(tmp_path / "home")
    told = arrange.init(home, Config(role=Role.PRIMARY, name="desk", user="maria", listen=listen))
    kept = config.load(home).listen
    host, port = split_address(kept)
    assert told["listen"] == kept
    assert (host, port > 0) == (listen.split(":", maxsplit=1)[0], True)
    with socket.socket() as listening:
        listening.bind((host, port))


def test_the_port_that_is_kept_is_none_that_connections_get(tmp_path: Path) -> None:
    """Else one of them, of any program, would sooner or later have it when the daemon begins."""
    for number in range(20):
        told = arrange.init(Home(tmp_path / str(number)), AT_ANY_PORT)
        assert 1024 <= split_address(str(told["listen"]))[1] < 32_768


def test_a_port_that_is_taken_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listening, after = two_listening()
    taken = listening.getsockname()[1]
    picks = iter((taken, taken, taken + 1))
    monkeypatch.setattr(arrange, "choice", lambda _: next(picks))
    after.close()
    with listening:
        told = arrange.init(Home(tmp_path / "home"), AT_ANY_PORT)
    assert told["listen"] == f"127.0.0.1:{taken + 1}"


# ---------------------------------------------------------------- share


def test_share_writes_the_collection_and_names_what_it_cannot_capture(primary: Home, tmp_path: Path) -> None:
    path = database(tmp_path / "notes.db")
    told = arrange.share(primary, Asked("notes", "sqlite", str(path)))
    assert isinstance(told["problems"], list)
    assert [problem for problem in told["problems"] if "log" in problem]
    assert config.load(primary).collection("notes") == config.Collection(name="notes", kind="sqlite", path=str(path))


def test_a_collection_is_shared_for_another_user(primary: Home, tmp_path: Path) -> None:
    notes, mine = database(tmp_path / "notes.db"), database(tmp_path / "mine.db")
    owner = config.load(primary).user
    arrange.share(primary, Asked("notes", "sqlite", str(notes), user="grace"))
    arrange.share(primary, Asked("mine", "sqlite", str(mine), user=owner))
    assert [one.user for one in config.load(primary).collections] == ["grace", ""], "the usual user is not repeated"
    arrange.share(primary, Asked("mine", "sqlite", str(mine)))
    with refused(primary, "is shared already, .* for grace"):
        arrange.share(primary, Asked("notes", "sqlite", str(notes)))
    with refused(primary, "user 'a b' is no name"):
        arrange.share(primary, Asked("more", "sqlite", str(notes), user="a b"))


def test_sharing_the_same_again_changes_nothing(primary: Home, tmp_path: Path) -> None:
    path = str(database(tmp_path / "notes.db"))
    first = arrange.share(primary, Asked("notes", "sqlite", path, ("note",)))
    written = primary.config.read_bytes()
    assert arrange.share(primary, Asked("notes", "sqlite", path, ("note",))) == first
    assert primary.config.read_bytes() == written


def test_share_refuses_what_contradicts_an_earlier_share(primary: Home, tmp_path: Path) -> None:
    path, other = str(database(tmp_path / "notes.db")), str(database(tmp_path / "other.db"))
    arrange.share(primary, Asked("notes", "sqlite", path))
    (tmp_path / "link.db").symlink_to(path)
    for name, again, tables in (("notes", other, ()), ("notes", path, ("note",))):
        with refused(primary, "is shared already"):
            arrange.share(primary, Asked(name, "sqlite", again, tables))
    with refused(primary, "holds collection 'notes'"):
        arrange.share(primary, Asked("mine", "sqlite", str(tmp_path / "link.db")))


def test_sharing_again_with_another_direction_or_policy_changes_just_that(primary: Home, tmp_path: Path) -> None:
    place = ("notes", "sqlite", str(database(tmp_path / "notes.db")))
    first = arrange.share(primary, Asked(*place, user="grace"))
    assert (first["direction"], first["conflicts"], first["changed"]) == ("both", "primary", False)
    told = arrange.share(primary, Asked(*place, user="grace", direction="out", conflicts="merge"))
    assert (told["direction"], told["conflicts"], told["changed"]) == ("out", "merge", True)
    told = arrange.share(primary, Asked(*place, user="grace", direction="in"))
    assert (told["direction"], told["conflicts"], told["changed"]) == ("in", "merge", True)
    told = arrange.share(primary, Asked(*place, user="grace"))
    assert (told["direction"], told["conflicts"], told["changed"]) == ("in", "merge", False)
    (entry,) = config.load(primary).collections
    assert entry.user == "grace"


def test_settings_are_made_on_a_primary_whose_daemon_is_stopped(primary: Home, auxiliary: Home, tmp_path: Path) -> None:
    arrange.share(primary, Asked("notes", "sqlite", str(database(tmp_path / "notes.db")), direction="out"))
    told = arrange.choose(primary, "settings_explain", {"name": "notes.direction"})
    assert (told["value"], told["from"]) == ("out", "collection notes")
    arrange.choose(primary, "settings_set", {"name": "guard.objects", "value": "30"})
    assert arrange.choose(primary, "settings_explain", {"name": "notes.guard.objects"})["from"] == "user maria"
    with pytest.raises(UserError, match="settings are made on the primary"):
        arrange.choose(auxiliary, "settings", {})


@pytest.mark.parametrize(
    ("asked", "words"),
    [({"direction": "up"}, "direction cannot be 'up'"), ({"conflicts": "loudest"}, "conflicts cannot be 'loudest'")],
)
def test_there_are_just_these_directions_and_policies(
    primary: Home, tmp_path: Path, asked: dict[str, str], words: str
) -> None:
    path = str(database(tmp_path / "notes.db"))
    with refused(primary, words):
        arrange.share(primary, arrange.asked_for({"name": "notes", "kind": "sqlite", "path": path} | asked))


@pytest.mark.parametrize("kind", ["vdir", "files", "objects", "oracle"])
def test_other_kinds_of_applications_are_refused_in_words(primary: Home, auxiliary: Home, kind: str) -> None:
    with refused(primary, f"kind '{kind}' are not supported"):
        arrange.share(primary, Asked("notes", kind, "/notes"))
    with refused(auxiliary, f"kind '{kind}' are not supported"):
        arrange.accept(auxiliary, Asked("notes", kind, "/notes"))


@pytest.mark.parametrize(
    ("name", "path", "tables", "words"),
    [
        ("", "n.db", (), "collection '' is no name"),
        ("a/b", "n.db", (), "collection 'a/b' is no name"),
        ("notes", "missing.db", (), "missing.db"),
        ("notes", "n.db", ("nothing",), "nothing"),
        ("notes", "n.db", ("log",), "log"),
        ("notes", "n.db", ("note", "note"), "twice"),
        ("notes", "text.db", (), "text.db"),
    ],
)
def test_share_refuses_what_cannot_work(
    primary: Home, tmp_path: Path, *, name: str, path: str, tables: tuple[str, ...], words: str
) -> None:
    database(tmp_path / "n.db")
    (tmp_path / "text.db").write_text("this is no database, whatever its name may say; " * 40)
    with refused(primary, words):
        arrange.share(primary, Asked(name, "sqlite", str(tmp_path / path), tables))


def test_a_relative_path_is_refused(primary: Home) -> None:
    with refused(primary, "is not absolute"):
        arrange.share(primary, Asked("notes", "sqlite", "notes.db"))


def test_each_role_has_its_verb(primary: Home, auxiliary: Home, tmp_path: Path) -> None:
    path = str(database(tmp_path / "notes.db"))
    with refused(auxiliary, "auxiliary"):
        arrange.share(auxiliary, Asked("notes", "sqlite", path))
    with refused(primary, "primary"):
        arrange.accept(primary, Asked("notes", "sqlite", path))


def test_nothing_is_arranged_without_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "none")
    with pytest.raises(SyncdError, match="there is no syncd home"):
        arrange.share(home, Asked("notes", "sqlite", "/n.db"))
    with pytest.raises(SyncdError, match="there is no syncd home"):
        arrange.accept(home, Asked("notes", "sqlite", "/n.db"))
