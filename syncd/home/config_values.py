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
    "adapter": '"msgpack" or "json"',
    "socket": "a path, or empty for syncd.sock in the home",
    "socket_group": "the name of a group of this machine, or empty",
    "log_level": '"debug", "info", "warning" or "error"',
    "collections": "one [[collections]] table for each collection",
    "kind": '"sqlite"',
    "path": "an absolute path",
    "tables": "a list of different names of tables; empty for all",
    "replace": "true or false",
}


class Collection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A collection and the application that holds it on this device. ``tables`` empty: all (primary only).

    ``replace``: what the target held of its own may be replaced (auxiliary only, R13).
    """

    name: str
    kind: Literal["sqlite"]
    path: str
    tables: tuple[str, ...] = ()
    replace: bool = False


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of config.toml. ``user`` and ``listen``: primary only; ``adapter`` other than msgpack: auxiliary only."""

    role: Role
    name: str
    user: str = ""
    listen: str = ""
    discovery: bool = True
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
    if config.role is Role.PRIMARY:
        yield from _named("user", config.user, "user")
        yield from _refused("listen", config.listen, _check_listen)
        if config.adapter != "msgpack":
            yield Mistake("adapter", "is chosen on the auxiliary, not on a primary")
    else:
        for field in ("user", "listen"):
            if getattr(config, field):
                yield Mistake(field, "belongs to a primary, not to an auxiliary: leave it out")
    for field in ("socket", "socket_group"):
        if "\0" in getattr(config, field):
            yield Mistake(field, "holds a NUL")
    names: set[str] = set()
    for index, entry in enumerate(config.collections):
        yield from _collection_mistakes(f"collections[{index}]", entry, config.role)
        if entry.name in names:
            yield Mistake(f"collections[{index}].name", f"{entry.name!r} stands there twice")
        names.add(entry.name)


def _collection_mistakes(where: str, entry: Collection, role: Role) -> Iterator[Mistake]:
    yield from _named(f"{where}.name", entry.name, "collection")
    if not entry.path.startswith("/") or "\0" in entry.path:
        yield Mistake(f"{where}.path", f"{entry.path!r} is not absolute")
    if role is Role.PRIMARY and entry.replace:
        yield Mistake(f"{where}.replace", "belongs to an auxiliary, not to a primary: leave it out")
    if role is Role.AUXILIARY and entry.tables:
        yield Mistake(f"{where}.tables", "are chosen on the primary, not on an auxiliary: leave it out")
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


def _check_listen(value: str) -> None:
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
