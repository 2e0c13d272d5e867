"""A primary without its daemon that previews decisions: an application, its store, settings, users and devices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from syncd.adapters.registry import ADAPTERS
from syncd.choices import Choices, Standpoint
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.loss import Leaving
from syncd.core.model import DataType
from syncd.core.ports import CollectionState
from syncd.core.preferences import Preferences
from syncd.core.selection import Selection
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.decisions import Grounds
from syncd.holds import Holds
from syncd.outside import Ports
from syncd.perform import perform
from syncd.previews import Previews
from syncd.settings_guard import counted
from syncd.store.memory_sync_database import MemorySyncDatabase
from tests.contract.sync_database_kit import device
from tests.deeds_kit import NAME, Desk, note

LIMITS = Limits(guard_s=86_400.0, scan_rows_max=7, lost_bytes_max=40)
TILL, LAPTOP, STRANGER = device("till"), device("laptop"), device("stranger")
OLD = 'title == "old"'


class People:
    """Links devices as the verb does."""

    def __init__(self, database: MemorySyncDatabase) -> None:
        self.changing = asyncio.Lock()
        self._database = database

    async def link(self, args: Json) -> Json:
        users = {one.name: one.id for one in await self._database.users()}
        await self._database.link_user(users[str(args["user"])], str(args["device"]))
        return {}


class ForeseeingDesk(Desk):
    """Till and laptop are ada's, whose notes these are, the stranger is bob's. ``meanwhile``: happens while a change of
    settings is being kept; ``while_read``: after a page of the store was looked at."""

    def __init__(self, *more: DataType) -> None:
        super().__init__(*more)
        self.database = MemorySyncDatabase()
        self.in_force = Preferences(LIMITS)
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        self.ports = Ports(LIMITS, ADAPTERS, lambda: 0.0, lambda: self.time_us)
        self.ports.store, self.ports.sources[NAME] = self.store, self.source
        self.choices = Choices(
            Standpoint(
                self.database,
                LIMITS,
                lambda: {NAME: "ada"},
                lambda: "ada",
                lambda: self.time_us,
                lambda: "uid 7",
                self._types,
                self._choose,
                self._holding,
                self._counted,
                lambda one: frozenset(),
            )
        )
        holds = Holds(self.deeds, self.choices, lambda: {NAME: ""}, self.ports.releasing, LIMITS)
        grounds = Grounds(self.deeds, self.choices, People(self.database), holds, self.ports.alone, LIMITS)
        names = {one.id: one.name for one in (TILL, LAPTOP, STRANGER)}
        accepted = {(TILL.id, NAME)}
        self.verbs |= Previews(grounds, names.__getitem__, lambda *at: at in accepted).verbs | holds.verbs
        self.verbs |= self.choices.verbs

    async def open(self) -> ForeseeingDesk:
        await super().open()
        for user, one in (("ada", TILL), ("ada", LAPTOP), ("bob", STRANGER)):
            await self.database.link(await self.database.ensure_user(user), one)
        return self

    async def _types(self, collection: str) -> Sequence[DataType]:
        return (await self.store.open_collection(collection)).types

    async def _choose(self, chosen: Preferences) -> None:
        if self.meanwhile is not None:
            await self.meanwhile()
        self.in_force = chosen

    async def _holding(self) -> list[tuple[str, str]]:
        return [(TILL.id, NAME), (LAPTOP.id, NAME)]

    async def _counted(self, name: str, shift: tuple[Selection, Selection]) -> Leaving:
        return await counted(self.store, LIMITS.scan_rows_max, name, shift)

    async def _keep(self, end_scan: bool = False) -> CollectionState:
        """Read as a primary does."""
        if end_scan:
            return await super()._keep(end_scan)
        while True:
            state = await self.store.open_collection(NAME)
            self.time_us += 1
            read = await perform(self.ports, fx.ReadSource(NAME, state.mark))
            assert isinstance(read, ev.SourceRead)
            if not read.more:
                return read.state

    async def notes(self, **titles: str | None) -> str:
        """``n1="old"``: note 1 has this title, or is gone. The group that came of it."""
        rows = {note(int(name[1:])): None if title is None else (title, "body") for name, title in titles.items()}
        return await self.commit(rows)

    async def foresees(self, what: str, apply: str = "", **args: object) -> Json:
        return await self.ask("preview", what=what, args=args, apply=apply)

    async def taking(self, expression: str = OLD, apply: str = "", device: str = "till") -> Json:
        """The till is to take this."""
        return await self.foresees("settings_set", apply, name=f"{NAME}.selection", value=expression, device=device)


def moves(told: Json) -> dict[tuple[str, str], list[str]]:
    """Device and what happens there -> keys."""
    found: dict[tuple[str, str], list[str]] = {}
    outcomes = told["outcomes"]
    assert isinstance(outcomes, list)
    for one in outcomes:
        for kind in ("add", "modify", "delete"):
            if one[kind]["objects"]:
                found[one["device_name"], kind] = [each["key"] for each in one[kind]["first"]]
    return found
