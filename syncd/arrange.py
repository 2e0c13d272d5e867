"""What a person arranges, daemon or no daemon: a home, and which collection lives in which application.

Each function checks everything first and then writes config.toml, whole or not at all. R13: a target that holds
objects of its own is refused unless it may be replaced, and then a backup copy is made before anything else. Who
calls holds the home's lock, so that no two of them write at once.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import choice
from typing import NamedTuple, NoReturn

from syncd import own_pause
from syncd.applications import sqlite
from syncd.applications.sqlite_usual import required
from syncd.choices import Choices, Standpoint
from syncd.core.devices import checked_name
from syncd.core.edits import Direction, Policy
from syncd.core.errors import InvariantBroken, UserError
from syncd.core.loss import Leaving
from syncd.core.model import DataType, Role
from syncd.core.preferences import Preferences, setting
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.core.upward_ports import Outbox
from syncd.home import config as configuration
from syncd.home import identity
from syncd.home.config import Asked, Collection, Config, split_address
from syncd.home.lock import lock
from syncd.home.paths import Home
from syncd.lent import losing
from syncd.pauses import Pauses
from syncd.store.inbound import SqliteInboundQueue
from syncd.store.outbox import SqliteOutbox
from syncd.store.sync_database import SqliteSyncDatabase
from syncd.store.sync_store import SqliteSyncStore

LISTEN = "0.0.0.0:8765"
ADAPTER = "msgpack"  # the usual one
_PORTS = range(10_000, 32_768)  # below those of outgoing connections, which come and go: a port that is kept stays free
Terms = tuple[Direction, Policy, bool]  # which way changes travel, what decides a conflict, and that it is another


def init(home: Home, options: Config) -> dict[str, object]:
    """Makes a home: directory, identity, config.toml. Of the options, an empty name or address stands for the usual
    one, and port 0 for a free one, which is kept. A home that is there is never changed."""
    if home.initialized:
        raise UserError(f"{home.path} is a syncd home already", "use it, or give another --home")
    primary = options.role is Role.PRIMARY
    if not primary and (options.user or options.listen):
        raise UserError("an auxiliary takes neither --user nor --listen", "the primary has them: leave them out here")
    if primary and options.addresses:
        raise UserError("a primary takes no --address", "it is dialed, and dials nobody: see --listen")
    if primary and options.adapter != ADAPTER:
        raise UserError("a primary takes no --adapter", "each auxiliary has its own: give it to `syncd init` there")
    if primary and not options.user:
        raise UserError("a primary needs a user whose data it is", "add --user NAME")
    config = Config(
        role=options.role,
        name=checked_name("device", options.name or _host_name()),
        user=checked_name("user", options.user) if primary else "",
        listen=_kept_address(options.listen or LISTEN) if primary else "",
        discovery=options.discovery,
        interfaces=options.interfaces,
        interfaces_excluded=options.interfaces_excluded,
        addresses=options.addresses,
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


class Sharing(NamedTuple):
    """A collection that may be shared: what config.toml becomes, its entry, and what cannot be captured of it."""

    config: Config
    entry: Collection
    problems: list[str]
    known: bool


def share(home: Home, asked: Asked) -> dict[str, object]:
    """On a primary whose daemon is stopped: as ``sharing``, ``keep`` and ``told``, and its terms are kept."""
    one = sharing(home, asked)
    terms = asyncio.run(_agree(home, one, asked))
    keep(home, one)
    return told(one, terms)


async def _agree(home: Home, one: Sharing, asked: Asked) -> Terms:
    async with _choices(home, one.config) as choices:
        return await choices.agree(one.entry.name, one.entry.user or one.config.user, asked)


@asynccontextmanager
async def _choices(home: Home, config: Config) -> AsyncIterator[Choices]:
    """Where the daemon is stopped: nothing is in force until it runs."""
    owners = {entry.name: entry.user or config.user for entry in config.collections}

    async def later(chosen: Preferences) -> None:
        return None

    async with AsyncExitStack() as stack:
        database = await SqliteSyncDatabase.open(home.sync_database)
        stack.push_async_callback(database.close)
        await database.ensure_user(config.user)
        yield Choices(
            Standpoint(
                database=database,
                limits=Limits(),
                owners=lambda: owners,
                user=lambda: config.user,
                wall_us=lambda: time.time_ns() // 1000,
                who=lambda: f"uid {os.getuid()}",
                types=partial(_types_of, home),
                in_force=later,
                holding=partial(_holding, database),
                counting=partial(_counted, home),
                required=required,
            )
        )


async def _holding(database: SqliteSyncDatabase) -> Sequence[tuple[str, str]]:
    return [(device, report.collection) for device, report in await database.reports()]


async def _counted(home: Home, name: str, shift: tuple[Selection, Selection]) -> Leaving:
    store = await SqliteSyncStore.open(home.sync_store, Limits())
    try:
        await store.open_collection(name)
        return await losing(store, Limits().scan_rows_max, name, shift)
    finally:
        await store.close()


async def _types_of(home: Home, name: str) -> Sequence[DataType]:
    store = await SqliteSyncStore.open(home.sync_store, Limits())
    try:
        return (await store.open_collection(name)).types
    finally:
        await store.close()


def choose(home: Home, verb: str, args: dict[str, object]) -> dict[str, object]:
    """A verb of the settings, on a primary whose daemon is stopped; on an auxiliary what it pauses itself."""
    config = configuration.load(home)
    if config.role is Role.AUXILIARY and verb in own_pause.VERBS:
        return asyncio.run(_pause(home, config, verb, args))
    if config.role is not Role.PRIMARY:
        raise UserError("this device is an auxiliary: settings are made on the primary", "run `syncd settings` there")

    async def answer() -> dict[str, object]:
        async with _choices(home, config) as choices:
            return await (choices.verbs | Pauses(choices).verbs)[verb](args)

    return asyncio.run(answer())


async def _pause(home: Home, config: Config, verb: str, args: dict[str, object]) -> dict[str, object]:
    database = await SqliteSyncDatabase.open(home.sync_database)
    try:
        accepted = [entry.name for entry in config.collections]
        return (await own_pause.change(database, verb, args, accepted, time.time_ns() // 1000))[1]
    finally:
        await database.close()


def sharing(home: Home, asked: Asked) -> Sharing:
    """On a primary: the collection comes from the application at a place, and is the user's (empty: the configured
    one's). What is shared already may get another direction or policy, and nothing else."""
    config = configuration.load(home)
    if config.role is not Role.PRIMARY:
        raise UserError("this device is an auxiliary: it shares nothing", "run `syncd share` on the primary")
    known = config.collection(asked.name)
    wanted = _wanted(asked, known).of(checked_name("user", asked.user) if asked.user not in ("", config.user) else "")
    if known is not None and _place(wanted) != _place(known):
        whose = f", for {known.user or config.user}"
        raise UserError(
            f"collection {wanted.name!r} is shared already, from {known.path}, with {_tables(known)}{whose}",
            "choose another name",
        )
    _check_alone(config, wanted)
    for name, text in (("direction", asked.direction), ("conflicts", asked.conflicts)):
        if text:
            setting(name).parse(text)
    problems = sqlite.check_source(Path(wanted.path), wanted.tables)
    return Sharing(config.with_collection(wanted), wanted, problems, known is not None)


def keep(home: Home, one: Sharing) -> None:
    """Its terms are kept before: until then nothing of it travels."""
    if not one.known:
        configuration.save(home, one.config)


def told(one: Sharing, terms: Terms) -> dict[str, object]:
    """What cannot be captured, and what holds for changes from auxiliaries."""
    direction, policy, changed = terms
    return {
        "problems": one.problems,
        "backup": None,
        "direction": direction.value,
        "conflicts": policy.value,
        "changed": one.known and changed,
    }


def asked_for(args: Mapping[str, object]) -> Asked:
    """What was asked for over the control socket. Raises UserError."""
    texts = {name: str(args.get(name) or "") for name in ("name", "kind", "path", "user", "direction", "conflicts")}
    tables, keep = args.get("tables") or (), args.get("keep_edits")
    if not isinstance(tables, list | tuple) or not (keep is None or isinstance(keep, bool)):
        raise UserError("the tables are no list, or keep_edits is neither true nor false", "see `syncd --help`")
    return Asked(
        **texts,
        tables=tuple(str(table) for table in tables),
        replace=bool(args.get("replace")),
        merge=bool(args.get("merge")),
        keep_edits=keep,
    )


def rename_user(home: Home, old: str, new: str) -> None:
    """On a primary: its collections are that user's by the other name."""
    configuration.save(home, configuration.load(home).with_user_renamed(old, new))


def accept(home: Home, asked: Asked) -> dict[str, object]:
    """On an auxiliary whose daemon is stopped: as ``take_in``, and what was received for the former target, or waits to
    be sent from it, is void."""
    told = take_in(home, asked)
    if asked.replace or asked.merge:
        told["problems"] = asyncio.run(_forget_waiting(home, asked))
    return told


async def _forget_waiting(home: Home, asked: Asked) -> list[str]:
    def never(frame: bytes) -> NoReturn:
        raise InvariantBroken("no frame is read while a collection is forgotten")

    async with AsyncExitStack() as stack:
        if home.inbound.exists():
            queue = await SqliteInboundQueue.open(home.inbound, never)
            stack.push_async_callback(queue.close)
            await queue.clear(asked.name)
        if not home.outbox.exists():
            return []
        outbox = await SqliteOutbox.open(home.outbox)
        stack.push_async_callback(outbox.close)
        return await forget_edits(outbox, asked)


async def forget_edits(outbox: Outbox, asked: Asked) -> list[str]:
    """Of the former target. What a person should know of them; with ``merge`` they are offered all the same."""
    state = await outbox.load(asked.name)
    await outbox.clear(asked.name)
    told: list[str] = []
    if state.pending and asked.replace:
        told.append(f"{_groups(state.pending)} of changes made here that waited for the primary: not sent any more")
    if state.refused:
        told.append(f"{_groups(state.refused)} of changes made here that were refused: not listed any more")
    return told


def _groups(number: int) -> str:
    return f"{number:,} {'group' if number == 1 else 'groups'}"


def take_in(home: Home, asked: Asked) -> dict[str, object]:
    """The collection goes into the application at a place. Tells the backup that was made. A daemon that runs clears
    its queues by itself."""
    config = configuration.load(home)
    if config.role is not Role.AUXILIARY:
        raise UserError("this device is the primary: it accepts nothing", "run `syncd accept` on an auxiliary")
    if asked.replace and asked.merge:
        raise UserError(
            "--replace and --merge exclude each other", "replace what the target holds, or offer it to the primary"
        )
    known, anew = config.collection(asked.name), asked.replace or asked.merge
    wanted = _wanted(asked, known)
    if known is not None and not anew:
        if (known.kind, known.path) != (wanted.kind, wanted.path):
            raise UserError(
                f"collection {wanted.name!r} is accepted already, into {known.path}",
                "add --replace to move it to the new place",
            )
        if wanted != known:
            configuration.save(home, config.with_collection(wanted))
        return {"problems": [], "backup": None}
    _check_alone(config, wanted)
    target = Path(wanted.path)
    sqlite.check_target(target, anew)
    backup = sqlite.backup(target) if anew and sqlite.looked_at(target) else None
    configuration.save(home, config.with_collection(wanted))
    if anew:
        sqlite.forget(target)
    return {"problems": [], "backup": str(backup) if backup else None}


def _wanted(asked: Asked, known: Collection | None) -> Collection:
    """What a person asks for, checked; what they leave open is as it is ``known``."""
    if asked.kind != "sqlite":
        raise UserError(f"applications of kind {asked.kind!r} are not supported", "this version takes sqlite:PATH")
    if not asked.path.startswith("/") or "\0" in asked.path:
        raise UserError(f"the path {asked.path!r} is not absolute", "give the whole path")
    checked_name("collection", asked.name)
    if len(set(asked.tables)) != len(asked.tables) or not all(asked.tables):
        raise UserError("a table is named twice, or its name is empty", "name each table once")
    usual, anew = known or Collection(name=asked.name, kind="sqlite", path=asked.path), asked.replace or asked.merge
    return Collection(
        name=asked.name,
        kind="sqlite",
        path=asked.path,
        tables=asked.tables,
        replace=asked.replace if anew else usual.replace,
        merge=asked.merge if anew else usual.merge,
        keep_edits=usual.keep_edits if asked.keep_edits is None else asked.keep_edits,
    )


def _check_alone(config: Config, asked: Collection) -> None:
    """One database holds one collection: two of them would undo each other's rows."""
    place = os.path.realpath(asked.path)
    for other in config.collections:
        if other.name != asked.name and os.path.realpath(other.path) == place:
            raise UserError(f"{asked.path} holds collection {other.name!r}", "give each collection its own database")


def _place(collection: Collection) -> tuple[object, ...]:
    """What a collection that is shared keeps."""
    return collection.kind, collection.path, collection.tables, collection.user


def _tables(collection: Collection) -> str:
    return f"tables {', '.join(collection.tables)}" if collection.tables else "all tables"


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
        while not _is_free(family, host, free := choice(_PORTS)):
            pass
    except OSError as error:
        raise UserError(f"cannot listen at {host}: {error.strerror}", "give an address of this machine") from error
    return f"[{host}]:{free}" if ":" in host else f"{host}:{free}"


def _is_free(family: socket.AddressFamily, host: str, port: int) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return False
    return True
