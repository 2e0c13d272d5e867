"""config.toml: what is written is read back, and every mistake in it is one line that says what to do."""

from __future__ import annotations

import os
import stat

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.errors import HomeError
from syncd.core.model import Role
from syncd.home import config, config_text
from syncd.home.config import Collection, Config, split_address
from syncd.home.paths import Home

PRIMARY = Config(
    role=Role.PRIMARY,
    name="office",
    user="ada",
    listen="0.0.0.0:8765",
    interfaces=("eth0", "10.0.0.5"),
    interfaces_excluded=("docker0",),
    socket="/run/syncd/s",
    socket_group="syncd",
    log_level="debug",
    collections=(
        Collection(name="products", kind="sqlite", path="/srv/shop.db", tables=("article", "price")),
        Collection(name="notes", kind="sqlite", path='/home/ada/no "tes"\n\\é\x7f.db', user="grace"),
        Collection(name="till", kind="sqlite", path="/t.db", user="grace"),
    ),
)
AUXILIARY = Config(
    role=Role.AUXILIARY,
    name="till-1",
    discovery=False,
    addresses=("desk.example:8765", "[fd00::1]:8765"),
    adapter="json",
    collections=(Collection(name="products", kind="sqlite", path="/srv/till.db", replace=True, keep_edits=True),),
)

HEAD = 'role = "primary"\nname = "office"\nuser = "ada"\nlisten = "0.0.0.0:8765"\n'
ONE = HEAD + '[[collections]]\nname = "a"\nkind = "sqlite"\npath = "/a"\n'
LEAST = 'role = "auxiliary"\nname = "x"\n' + ONE.removeprefix(HEAD)


@pytest.mark.parametrize("saved", [PRIMARY, AUXILIARY])
def test_what_is_saved_is_loaded(home: Home, saved: Config) -> None:
    config.save(home, saved)
    assert config.load(home) == saved


@given(
    path=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    tables=st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), unique=True),
)
def test_any_text_survives_the_file(tmp_path_factory: pytest.TempPathFactory, path: str, tables: list[str]) -> None:
    home = Home(tmp_path_factory.mktemp("home"))
    entry = Collection(name="c", kind="sqlite", path="/" + path, tables=tuple(tables))
    saved = msgspec.structs.replace(PRIMARY, collections=(entry,))
    config.save(home, saved)
    assert config.load(home) == saved


def test_a_person_may_write_the_least_that_is_needed(home: Home) -> None:
    home.config.write_text('role = "auxiliary"\nname = "till-1"\n')
    assert config.load(home) == Config(role=Role.AUXILIARY, name="till-1")


def test_the_file_explains_its_fields_to_the_person_who_edits_it() -> None:
    lines = config_text.write(PRIMARY).splitlines()
    assert 'listen = "0.0.0.0:8765"  # HOST:PORT where auxiliaries connect' in lines
    assert lines.count("[[collections]]") == 3


def test_the_file_is_for_its_owner_alone(home: Home) -> None:
    home.config.touch(0o644)
    config.save(home, PRIMARY)
    assert stat.S_IMODE(home.config.stat().st_mode) == 0o600
    assert [path.name for path in home.path.iterdir()] == ["config.toml"]


def test_a_save_that_fails_leaves_the_file_as_it_was(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    config.save(home, PRIMARY)

    def broken(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("os.fsync", broken)
    with pytest.raises(HomeError, match=r"cannot write .*Input/output error"):
        config.save(home, AUXILIARY)
    assert config.load(home) == PRIMARY
    assert [path.name for path in home.path.iterdir()] == ["config.toml"]


def test_a_collection_takes_the_place_of_one_of_its_name() -> None:
    moved = Collection(name="products", kind="sqlite", path="/srv/moved.db")
    added = Collection(name="orders", kind="sqlite", path="/srv/shop.db")
    changed = PRIMARY.with_collection(moved).with_collection(added)
    assert [entry.name for entry in changed.collections] == ["products", "notes", "till", "orders"]
    assert changed.collection("products") == moved
    assert changed.collection("none") is None


@pytest.mark.parametrize(
    ("text", "where", "allowed"),
    [
        (HEAD.replace("primary", "boss"), "role", '"primary" or "auxiliary"'),
        (HEAD.replace('"ada"', "7"), "user", "letters, digits"),
        (HEAD.replace('user = "ada"\n', ""), "user: is missing", "letters, digits"),
        (HEAD.replace('name = "office"\n', ""), "name: is missing", "letters, digits"),
        (HEAD.replace("office", "the office"), "name: 'the office'", "letters, digits"),
        (HEAD.replace('listen = "0.0.0.0:8765"\n', ""), "listen: is missing", '"HOST:PORT"'),
        (HEAD.replace("8765", "0"), "listen", '"HOST:PORT"'),
        (HEAD.replace("8765", "70000"), "listen", '"HOST:PORT"'),
        (HEAD + 'discovery = "yes"', "discovery", "true or false"),
        (HEAD + 'log_level = "loud"', "log_level", '"debug"'),
        (HEAD + 'adapter = "json"', "adapter", '"msgpack" or "json"'),
        (HEAD + "colour = 1", "colour: there is no such field", "the fields are role, name"),
        (HEAD + "collections = 3", "collections", "[[collections]]"),
        (HEAD + "collections = [1]", "collections[0]", "[[collections]]"),
        (HEAD + 'socket = "a\\u0000b"', "socket", "a path"),
        (ONE.replace("sqlite", "vdir"), "collections[0].kind", '"sqlite"'),
        (ONE.replace('"/a"', '"a"'), "collections[0].path", "an absolute path"),
        (ONE.replace('path = "/a"\n', ""), "collections[0].path: is missing", "an absolute path"),
        (ONE + 'tables = ["t", "t"]', "collections[0].tables", "different names"),
        (ONE + 'tables = "t"', "collections[0].tables", "different names"),
        (ONE + "replace = true", "collections[0].replace", "true or false"),
        (ONE + 'user = "a b"', "collections[0].user: 'a b'", "letters, digits"),
        (ONE + "merge = true", "collections[0].merge", "true or false"),
        (ONE + "keep_edits = true", "collections[0].keep_edits", "true or false"),
        (LEAST + 'user = "ada"', "collections[0].user: is told on the primary", "1 to 64 letters"),
        (LEAST + "replace = true\nmerge = true", "collections[0].merge: and replace exclude", "true or false"),
        (ONE + "speed = 1", "collections[0].speed: there is no such field", "the fields are name, kind"),
        (ONE + ONE.removeprefix(HEAD), "collections[1].name: 'a' stands there twice", "letters, digits"),
        ('role = "auxiliary"\nname = "x"\nuser = "ada"', "user: belongs to a primary", "letters, digits"),
        (ONE.replace("primary", "auxiliary") + 'tables = ["t"]', "user: belongs to a primary", ""),
        (
            LEAST + 'user = "ada"',
            "collections[0].user: is told on the primary",
            "letters, digits",
        ),
        ("role = ", "is not TOML", "correct the file"),
        ("a = " + "[" * 10_000, "is not TOML", "correct the file"),
        ('name = "\udcff"', "is not TOML", "correct the file"),
    ],
)
def test_a_mistake_is_one_line_with_file_field_and_what_is_allowed(
    home: Home, text: str, where: str, allowed: str
) -> None:
    home.config.write_text(text, errors="surrogateescape")
    with pytest.raises(HomeError) as caught:
        config.load(home)
    line = caught.value.line()
    assert "\n" not in line
    assert str(home.config) in line
    assert where in caught.value.text
    assert allowed in caught.value.advice


def test_what_would_not_be_read_is_not_written(home: Home) -> None:
    with pytest.raises(HomeError, match="user: is missing"):
        config.save(home, msgspec.structs.replace(PRIMARY, user=""))
    with pytest.raises(HomeError, match="not UTF-8"):
        config.save(home, PRIMARY.with_collection(Collection(name="c", kind="sqlite", path="/\udcff")))
    assert not home.config.exists()


def test_a_home_without_config_is_none(home: Home) -> None:
    with pytest.raises(HomeError, match="there is no syncd home") as caught:
        config.load(home)
    assert "syncd init" in caught.value.advice


def test_what_is_no_file_or_too_large_is_refused(home: Home) -> None:
    home.config.mkdir()
    with pytest.raises(HomeError, match="is not a file"):
        config.load(home)
    home.config.rmdir()
    home.config.write_bytes(b"#" * (config.CONFIG_BYTES_MAX + 1))
    with pytest.raises(HomeError, match="is larger than"):
        config.load(home)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("0.0.0.0:8765", "0.0.0.0", 8765),
        ("[::1]:1", "::1", 1),
        ("till.local:65535", "till.local", 65535),
        ("h:0", "h", 0),
    ],
)
def test_an_address_is_host_and_port(text: str, host: str, port: int) -> None:
    assert split_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    ["", ":", "host", "host:", ":1", "::1:1", "[h]:1", "h:65536", "h:-1", "h:1x", "h:٣", "a b:1", "a/b:1", "h:9999999"],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        split_address(text)


def test_a_home_of_root_for_a_service_keeps_the_owner_of_the_directory(home: Home) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files to another user")
    os.chown(home.path, 1234, 1234)
    config.save(home, PRIMARY)
    assert home.config.stat().st_uid == 1234
