"""What a person arranges, daemon or no daemon: a home, and which collection lives in which application.

Each function checks everything first and then writes config.toml, whole or not at all. R13: a target that holds
objects of its own is refused unless it may be replaced, and then a backup copy is made before anything else. Who
calls holds the home's lock, so that no two of them write at once.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
from pathlib import Path
from typing import NoReturn

from syncd.applications import sqlite
from syncd.core.errors import InvariantBroken, UserError
from syncd.core.model import Role
from syncd.core.settings import check_name
from syncd.home import config as configuration
from syncd.home import identity
from syncd.home.config import Collection, Config, split_address
from syncd.home.lock import lock
from syncd.home.paths import Home
from syncd.store.inbound import SqliteInboundQueue

LISTEN = "0.0.0.0:8765"
KINDS = ("sqlite",)


def init(home: Home, options: Config) -> dict[str, object]:
    """Makes a home: directory, identity, config.toml. Of the options, an empty name or address stands for the usual
    one, and port 0 for a free one, which is kept. A home that is there is never changed."""
    if home.initialized:
        raise UserError(f"{home.path} is a syncd home already", "use it, or give another --home")
    primary = options.role is Role.PRIMARY
    if not primary and (options.user or options.listen):
        raise UserError("an auxiliary takes neither --user nor --listen", "the primary has them: leave them out here")
    if primary and not options.user:
        raise UserError("a primary needs a user whose data it is", "add --user NAME")
    config = Config(
        role=options.role,
        name=_checked_name("device", options.name or _host_name()),
        user=_checked_name("user", options.user) if primary else "",
        listen=_kept_address(options.listen or LISTEN) if primary else "",
        discovery=options.discovery,
        adapter=options.adapter,
        socket=options.socket,
        socket_group=options.socket_group,
        log_level=options.log_level,
    )
    home.create()
    with lock(home):
        # config.toml comes last and makes it a home: where an earlier try broke off, its identity is taken up.
        known = home.identity.exists()
        own = identity.load(home) if known else identity.create(home, config.name)
        configuration.save(home, config)
    device = {"id": own.device_id, "name": config.name, "role": config.role.value}
    return {"home": str(home.path), "device": device, "user": config.user, "listen": config.listen}


def share(home: Home, name: str, kind: str, path: str, tables: tuple[str, ...]) -> list[str]:
    """On a primary: the collection comes from the application at ``path``. Returns what cannot be captured there."""
    config = configuration.load(home)
    if config.role is not Role.PRIMARY:
        raise UserError("this device is an auxiliary: it shares nothing", "run `syncd share` on the primary")
    asked = _collection(name, kind, path, tables)
    known = config.collection(name)
    if known is not None and known != asked:
        raise UserError(
            f"collection {name!r} is shared already, from {known.path}, with {_tables(known)}",
            "choose another name",
        )
    _check_alone(config, asked)
    problems = sqlite.check_source(Path(asked.path), asked.tables)
    if known is None:
        configuration.save(home, config.with_collection(asked))
    return problems


def accept(home: Home, name: str, kind: str, path: str, replace: bool) -> dict[str, object]:
    """On an auxiliary whose daemon is stopped: as ``take_in``, and what was received for the former target is void."""
    told = take_in(home, name, kind, path, replace)
    if replace and home.inbound.exists():
        asyncio.run(_forget_received(home, name))
    return told


async def _forget_received(home: Home, name: str) -> None:
    def never(frame: bytes) -> NoReturn:
        raise InvariantBroken("no frame is read while a collection is forgotten")

    queue = await SqliteInboundQueue.open(home.inbound, never)
    try:
        await queue.clear(name)
    finally:
        await queue.close()


def take_in(home: Home, name: str, kind: str, path: str, replace: bool) -> dict[str, object]:
    """The collection goes into the application at ``path``. Tells the backup that was made. A daemon that runs clears
    its inbound queue by itself."""
    config = configuration.load(home)
    if config.role is not Role.AUXILIARY:
        raise UserError("this device is the primary: it accepts nothing", "run `syncd accept` on an auxiliary")
    asked = _collection(name, kind, path, (), replace)
    known = config.collection(name)
    if known is not None and not replace:
        if (known.kind, known.path) == (asked.kind, asked.path):
            return {"problems": [], "backup": None}
        raise UserError(
            f"collection {name!r} is accepted already, into {known.path}", "add --replace to move it to the new place"
        )
    _check_alone(config, asked)
    target = Path(asked.path)
    sqlite.check_target(target, replace)
    backup = sqlite.backup(target) if replace and sqlite.looked_at(target) else None
    configuration.save(home, config.with_collection(asked))
    if replace:
        sqlite.forget(target)
    return {"problems": [], "backup": str(backup) if backup else None}


def _collection(name: str, kind: str, path: str, tables: tuple[str, ...], replace: bool = False) -> Collection:
    """A collection as a person named it, checked."""
    if kind != "sqlite":
        raise UserError(f"applications of kind {kind!r} are not supported", "this version takes sqlite:PATH")
    if not path.startswith("/") or "\0" in path:
        raise UserError(f"the path {path!r} is not absolute", "give the whole path")
    _checked_name("collection", name)
    if len(set(tables)) != len(tables) or not all(tables):
        raise UserError("a table is named twice, or its name is empty", "name each table once")
    return Collection(name=name, kind="sqlite", path=path, tables=tables, replace=replace)


def _check_alone(config: Config, asked: Collection) -> None:
    """One database holds one collection: two of them would undo each other's rows."""
    place = os.path.realpath(asked.path)
    for other in config.collections:
        if other.name != asked.name and os.path.realpath(other.path) == place:
            raise UserError(f"{asked.path} holds collection {other.name!r}", "give each collection its own database")


def _tables(collection: Collection) -> str:
    return f"tables {', '.join(collection.tables)}" if collection.tables else "all tables"


def _checked_name(what: str, name: str) -> str:
    try:
        return check_name(what, name)
    except ValueError as error:
        said, _, allowed = str(error).rpartition(": ")
        raise UserError(f"{said} is no name", f"use {allowed}") from error


def _host_name() -> str:
    """The machine's own name, without its domain and without what a name may not hold."""
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname().split(".")[0]).strip("-_")
    return host[:64] or "device"


def _kept_address(listen: str) -> str:
    """The address to listen at; port 0 becomes one that is free at this moment, the same from then on."""
    try:
        host, port = split_address(listen)
    except ValueError as error:
        raise UserError(f"--listen {listen!r} is no address", "use HOST:PORT, as 0.0.0.0:8765 or [::]:8765") from error
    if port:
        return listen
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((host, 0))
            free: int = probe.getsockname()[1]
    except OSError as error:
        raise UserError(f"cannot listen at {host}: {error.strerror}", "give an address of this machine") from error
    return f"[{host}]:{free}" if ":" in host else f"{host}:{free}"
