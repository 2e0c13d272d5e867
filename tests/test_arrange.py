"""Arranging a device without a daemon: what is made, what is refused, and that a refusal changes nothing."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from syncd import arrange
from syncd.adapters.registry import restore
from syncd.core.errors import SyncdError, UserError
from syncd.core.messages import Begin
from syncd.core.model import Role
from syncd.home import config, identity
from syncd.home.config import Config, split_address
from syncd.home.paths import Home
from syncd.store.inbound import SqliteInboundQueue


def database(path: Path, rows: int = 1) -> Path:
    """An application's database: a table with a key, and one without."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("CREATE TABLE note(id INTEGER PRIMARY KEY, text)")
        db.execute("CREATE TABLE log(line)")
        db.executemany("INSERT INTO note VALUES (?, 'x')", [(number,) for number in range(rows)])
    return path


@pytest.fixture
def primary(tmp_path: Path) -> Home:
    home = Home(tmp_path / "primary")
    arrange.init(home, Config(role=Role.PRIMARY, name="desk", user="maria", listen="127.0.0.1:0"))
    return home


@pytest.fixture
def auxiliary(tmp_path: Path) -> Home:
    home = Home(tmp_path / "auxiliary")
    arrange.init(home, Config(role=Role.AUXILIARY, name="laptop"))
    return home


@contextmanager
def refused(home: Home, words: str) -> Iterator[None]:
    """Expects a refusal with these words and with advice; what stands in config.toml must stay."""
    before = home.config.read_bytes()
    with pytest.raises(UserError, match=words) as caught:
        yield
    assert caught.value.advice
    assert home.config.read_bytes() == before


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


# ---------------------------------------------------------------- share


def test_share_writes_the_collection_and_names_what_it_cannot_capture(primary: Home, tmp_path: Path) -> None:
    path = database(tmp_path / "notes.db")
    problems = arrange.share(primary, "notes", "sqlite", str(path), ())
    assert [problem for problem in problems if "log" in problem]
    assert config.load(primary).collection("notes") == config.Collection(name="notes", kind="sqlite", path=str(path))


def test_sharing_the_same_again_changes_nothing(primary: Home, tmp_path: Path) -> None:
    path = str(database(tmp_path / "notes.db"))
    first = arrange.share(primary, "notes", "sqlite", path, ("note",))
    written = primary.config.read_bytes()
    assert arrange.share(primary, "notes", "sqlite", path, ("note",)) == first
    assert primary.config.read_bytes() == written


def test_share_refuses_what_contradicts_an_earlier_share(primary: Home, tmp_path: Path) -> None:
    path, other = str(database(tmp_path / "notes.db")), str(database(tmp_path / "other.db"))
    arrange.share(primary, "notes", "sqlite", path, ())
    (tmp_path / "link.db").symlink_to(path)
    for name, again, tables in (("notes", other, ()), ("notes", path, ("note",))):
        with refused(primary, "is shared already"):
            arrange.share(primary, name, "sqlite", again, tables)
    with refused(primary, "holds collection 'notes'"):
        arrange.share(primary, "mine", "sqlite", str(tmp_path / "link.db"), ())


@pytest.mark.parametrize("kind", ["vdir", "files", "objects", "oracle"])
def test_other_kinds_of_applications_are_refused_in_words(primary: Home, auxiliary: Home, kind: str) -> None:
    with refused(primary, f"kind '{kind}' are not supported"):
        arrange.share(primary, "notes", kind, "/notes", ())
    with refused(auxiliary, f"kind '{kind}' are not supported"):
        arrange.accept(auxiliary, "notes", kind, "/notes", False)


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
        arrange.share(primary, name, "sqlite", str(tmp_path / path), tables)


def test_a_relative_path_is_refused(primary: Home) -> None:
    with refused(primary, "is not absolute"):
        arrange.share(primary, "notes", "sqlite", "notes.db", ())


def test_each_role_has_its_verb(primary: Home, auxiliary: Home, tmp_path: Path) -> None:
    path = str(database(tmp_path / "notes.db"))
    with refused(auxiliary, "auxiliary"):
        arrange.share(auxiliary, "notes", "sqlite", path, ())
    with refused(primary, "primary"):
        arrange.accept(primary, "notes", "sqlite", path, False)


def test_nothing_is_arranged_without_a_home(tmp_path: Path) -> None:
    home = Home(tmp_path / "none")
    with pytest.raises(SyncdError, match="there is no syncd home"):
        arrange.share(home, "notes", "sqlite", "/n.db", ())
    with pytest.raises(SyncdError, match="there is no syncd home"):
        arrange.accept(home, "notes", "sqlite", "/n.db", False)


# ---------------------------------------------------------------- accept


def test_accept_takes_a_target_that_does_not_exist_and_does_not_make_it(auxiliary: Home, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    assert arrange.accept(auxiliary, "notes", "sqlite", str(path), False) == {"problems": [], "backup": None}
    assert config.load(auxiliary).collection("notes") == config.Collection(name="notes", kind="sqlite", path=str(path))
    assert not path.exists()


def test_accept_refuses_a_target_with_objects_of_its_own(auxiliary: Home, tmp_path: Path) -> None:
    path = database(tmp_path / "own.db", rows=3)
    with pytest.raises(UserError, match="3 objects") as caught:
        arrange.accept(auxiliary, "notes", "sqlite", str(path), False)
    assert "--replace" in caught.value.advice
    assert config.load(auxiliary).collections == ()
    assert [entry.name for entry in tmp_path.glob("own.db*backup*")] == []


def test_accept_with_replace_makes_a_copy_first_and_leaves_the_target(auxiliary: Home, tmp_path: Path) -> None:
    path = database(tmp_path / "own.db", rows=3)
    backup = arrange.accept(auxiliary, "notes", "sqlite", str(path), True)["backup"]
    assert isinstance(backup, str)
    for file in (backup, path):
        with closing(sqlite3.connect(file)) as db:
            assert db.execute("SELECT count(*) FROM note").fetchone() == (3,)
    accepted = config.load(auxiliary).collection("notes")
    assert accepted is not None
    assert accepted.replace


def test_accepting_the_same_again_changes_nothing_even_when_it_holds_objects(auxiliary: Home, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    arrange.accept(auxiliary, "notes", "sqlite", str(path), False)
    database(path, rows=3)
    written = auxiliary.config.read_bytes()
    assert arrange.accept(auxiliary, "notes", "sqlite", str(path), False) == {"problems": [], "backup": None}
    assert auxiliary.config.read_bytes() == written


def test_a_collection_moves_to_another_place_only_with_replace(auxiliary: Home, tmp_path: Path) -> None:
    arrange.accept(auxiliary, "notes", "sqlite", str(tmp_path / "one.db"), False)
    with refused(auxiliary, "accepted already"):
        arrange.accept(auxiliary, "notes", "sqlite", str(tmp_path / "two.db"), False)
    arrange.accept(auxiliary, "notes", "sqlite", str(tmp_path / "two.db"), True)
    assert [(entry.path, entry.replace) for entry in config.load(auxiliary).collections] == [
        (str(tmp_path / "two.db"), True)
    ]


@pytest.mark.parametrize(("replace", "forgotten"), [(False, []), (True, ["notes"])])
def test_what_was_received_for_the_former_target_is_forgotten_when_it_is_replaced(
    auxiliary: Home, tmp_path: Path, replace: bool, forgotten: list[str]
) -> None:
    path, names = str(tmp_path / "one.db"), ("notes", "others")
    arrange.accept(auxiliary, "notes", "sqlite", path, False)

    async def received(begin: bool) -> list[str]:
        """The collections of which nothing was received; with ``begin``, a transfer of each begins first."""
        queue = await SqliteInboundQueue.open(auxiliary.inbound, restore)
        try:
            for name in names if begin else ():
                await queue.begin(name, Begin(name, "e1", False, 7, 0, 7, 7))
            return [name for name in names if (await queue.load(name))[0] is None]
        finally:
            await queue.close()

    assert asyncio.run(received(begin=True)) == []
    arrange.accept(auxiliary, "notes", "sqlite", path, replace)
    assert asyncio.run(received(begin=False)) == forgotten


def test_two_collections_do_not_share_a_target(auxiliary: Home, tmp_path: Path) -> None:
    arrange.accept(auxiliary, "notes", "sqlite", str(tmp_path / "one.db"), False)
    with refused(auxiliary, "holds collection 'notes'"):
        arrange.accept(auxiliary, "other", "sqlite", str(tmp_path / "one.db"), False)


def test_a_target_in_a_directory_that_is_missing_is_refused(auxiliary: Home, tmp_path: Path) -> None:
    with refused(auxiliary, "directory .* does not exist"):
        arrange.accept(auxiliary, "notes", "sqlite", str(tmp_path / "gone" / "copy.db"), False)
