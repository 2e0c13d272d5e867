"""config.toml as typed values, and what each field may hold (settings module, claim 24f)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import msgspec

from syncd.core.model import Role
from syncd.core.settings import check_name

PORT_MAX = 65_535

_NAME = "1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"

# Field -> what it may hold, for people.
ALLOWED = {
    "role": '"primary" or "auxiliary"',
    "name": _NAME,
    "user": _NAME,
    "listen": '"HOST:PORT" with a port from 1 to 65535, such as "0.0.0.0:8765" or "[::]:8765"',
    "discovery": "true or false",
    "interfaces": 'a list of different interfaces by name or address, as ["eth0", "10.0.0.5"]; empty for all',
    "interfaces_excluded": 'a list of different interfaces by name or address, as ["docker0"]',
    "addresses": 'a list of different HOST:PORT, such as ["desk.example:8765"]',
    "adapter": '"msgpack" or "json"',
    "socket": "a path, or empty for syncd.sock in the home",
    "socket_group": "the name of a group of this machine, or empty",
    "log_level": '"debug", "info", "warning" or "error"',
    "collections": "one [[collections]] table for each collection",
    "kind": '"sqlite"',
    "path": "an absolute path",
    "tables": "a list of different names of tables; empty for all",
    "replace": "true or false",
    "merge": "true or false",
    "keep_edits": "true or false",
}


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collection and the application that holds it on this device. ``tables`` empty: all (primary only). ``user``:
    whose it is, empty for the configured one (primary only).

    ``replace``: what the target held of its own may be replaced; ``merge``: it is offered to the primary first (R13).
    ``keep_edits``: what is changed here stays although nothing travels to the primary (direction out). All three:
    auxiliary only.
    """

    name: str
    kind: Literal["sqlite"]
    path: str
    tables: tuple[str, ...] = ()
    user: str = ""
    replace: bool = False
    merge: bool = False
    keep_edits: bool = False

    def of(self, user: str) -> Collection:
        """The same as this user's."""
        return msgspec.structs.replace(self, user=user)


class Asked(NamedTuple):
    """A collection as a person asks for it with `share` or `accept`, not checked. Empty ``direction`` and
    ``conflicts``, None for ``keep_edits``: as it is, else the usual."""

    name: str
    kind: str
    path: str
    tables: tuple[str, ...] = ()
    user: str = ""
    direction: str = ""
    conflicts: str = ""
    replace: bool = False
    merge: bool = False
    keep_edits: bool | None = None


_USUAL = Collection(name="", kind="sqlite", path="/")
_OF_AUXILIARY = dict.fromkeys(("replace", "merge", "keep_edits"), "belongs to an auxiliary, not to a primary")
_OF_PRIMARY = {
    "tables": "are chosen on the primary, not on an auxiliary",
    "user": "is told on the primary, not on an auxiliary",
}


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of config.toml. ``user`` and ``listen``: primary only; ``addresses``, and ``adapter`` other than msgpack:
    auxiliary only."""

    role: Role
    name: str
    user: str = ""
    listen: str = ""
    discovery: bool = True
    interfaces: tuple[str, ...] = ()
    interfaces_excluded: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    adapter: Literal["msgpack", "json"] = "msgpack"
    socket: str = ""
    socket_group: str = ""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    collections: tuple[Collection, ...] = ()

    def collection(self, name: str) -> Collection | None:
        """The collection of that name."""
        return next((entry for entry in self.collections if entry.name == name), None)

    def with_collection(self, collection: Collection) -> Config:
        """The same with this collection, which takes the place of one of its name."""
        others = [collection if entry.name == collection.name else entry for entry in self.collections]
        if collection not in others:
            others.append(collection)
        return msgspec.structs.replace(self, collections=tuple(others))

    def with_user_renamed(self, old: str, new: str) -> Config:
        """The same where the user of this name has another one."""
        collections = tuple(
            msgspec.structs.replace(entry, user=new) if entry.user == old else entry for entry in self.collections
        )
        return msgspec.structs.replace(self, user=new if self.user == old else self.user, collections=collections)


class Mistake(NamedTuple):
    """A field (its place in the file) that holds what it must not, and what is wrong with it."""

    where: str
    problem: str

    def allowed(self) -> str:
        """What the field may hold; for an unknown field, which fields there are."""
        field = self.where.rsplit(".", 1)[-1].split("[")[0]
        if field in ALLOWED:
            return f"allowed: {ALLOWED[field]}"
        known = Collection if self.where.startswith("collections") else Config
        return f"the fields are {', '.join(known.__struct_fields__)}"


def mistakes(config: Config) -> Iterator[Mistake]:
    """What the types do not say: names, addresses, paths, and which field belongs to which role."""
    yield from _named("name", config.name, "device")
    yield from _role_mistakes(config)
    for address in config.addresses:
        yield from _refused("addresses", address, _check_port)
    for field in ("interfaces", "interfaces_excluded", "addresses"):
        values: tuple[str, ...] = getattr(config, field)
        if len(set(values)) != len(values) or not all(value and value.isprintable() for value in values):
            yield Mistake(field, "holds an empty text or one text twice")
    for field in ("socket", "socket_group"):
        if "\0" in getattr(config, field):
            yield Mistake(field, "holds a NUL")
    names: set[str] = set()
    for index, entry in enumerate(config.collections):
        yield from _collection_mistakes(f"collections[{index}]", entry, config.role)
        if entry.name in names:
            yield Mistake(f"collections[{index}].name", f"{entry.name!r} stands there twice")
        names.add(entry.name)


def _role_mistakes(config: Config) -> Iterator[Mistake]:
    if config.role is Role.AUXILIARY:
        for field in ("user", "listen"):
            if getattr(config, field):
                yield Mistake(field, "belongs to a primary, not to an auxiliary: leave it out")
        return
    yield from _named("user", config.user, "user")
    yield from _refused("listen", config.listen, _check_port)
    if config.adapter != "msgpack":
        yield Mistake("adapter", "is chosen on the auxiliary, not on a primary")
    if config.addresses:
        yield Mistake("addresses", "belong to an auxiliary, not to a primary: leave it out")


def _collection_mistakes(where: str, entry: Collection, role: Role) -> Iterator[Mistake]:
    yield from _named(f"{where}.name", entry.name, "collection")
    if not entry.path.startswith("/") or "\0" in entry.path:
        yield Mistake(f"{where}.path", f"{entry.path!r} is not absolute")
    foreign = _OF_AUXILIARY if role is Role.PRIMARY else _OF_PRIMARY
    for field, words in foreign.items():
        if getattr(entry, field) != getattr(_USUAL, field):
            yield Mistake(f"{where}.{field}", f"{words}: leave it out")
    if entry.replace and entry.merge:
        yield Mistake(f"{where}.merge", "and replace exclude each other")
    if role is Role.PRIMARY and entry.user:
        yield from _named(f"{where}.user", entry.user, "user")
    if len(set(entry.tables)) != len(entry.tables) or not all(entry.tables):
        yield Mistake(f"{where}.tables", "holds an empty name or one name twice")


def _named(where: str, name: str, what: str) -> Iterator[Mistake]:
    yield from _refused(where, name, lambda value: check_name(what, value))


def _refused(where: str, value: str, check: Callable[[str], object]) -> Iterator[Mistake]:
    """A mistake if ``check`` raises ValueError; an empty value is said to be missing."""
    try:
        check(value)
    except ValueError:
        yield Mistake(where, f"{value!r} is not allowed" if value else "is missing")


def _check_port(value: str) -> None:
    if split_address(value)[1] == 0:
        raise ValueError("a port that is kept is not 0")


def split_address(text: str) -> tuple[str, int]:
    """``HOST:PORT`` or ``[IPv6]:PORT`` -> host and port. Raises ValueError saying what is allowed."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    well_formed = colon and host and port.isascii() and port.isdigit() and int(port[:6]) <= PORT_MAX
    if not well_formed or (":" in host) != bracketed or not host.isprintable() or set(host) & set(" []/@"):
        raise ValueError(f"address {text!r}: HOST:PORT, or [HOST]:PORT for IPv6")
    return host, int(port)
