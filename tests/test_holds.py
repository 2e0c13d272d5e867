"""Held groups as persons decide about them: shown, approved, rejected (R13)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
import pytest_asyncio

from syncd.adapters.canonical import pack_values
from syncd.adapters.registry import ADAPTERS
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.errors import UserError
from syncd.core.guard import guard_of_groups
from syncd.core.holding import Batch
from syncd.core.model import ObjectId
from syncd.core.ports import CollectionState
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.deeds import Barred, Deed, Done
from syncd.holds import Holds
from syncd.outside import Ports
from syncd.perform import perform
from tests.control.status_page import mistakes
from tests.deeds_kit import NAME, Desk, note

pytestmark = pytest.mark.asyncio

LIMITS = Limits(guard_s=86_400.0, scan_rows_max=7, lost_bytes_max=40)


class GuardedDesk(Desk):
    """What its application changes is read as a primary does; 30 notes are there in the beginning."""

    def __init__(self) -> None:
        super().__init__()
        self.ports = Ports(LIMITS, ADAPTERS, lambda: 0.0, lambda: self.time_us)
        self.ports.store, self.ports.sources[NAME] = self.store, self.source
        self.verbs |= Holds(self.deeds, self, lambda: [NAME], self.ports.releasing, LIMITS).verbs

    async def held(self) -> list[Json]:
        """Of changes of settings nothing is held here, see ``test_settings_held``."""
        return []

    async def approve(self, number: int) -> Json:
        return {"approved": number}

    async def reject(self, number: int) -> Json:
        return {"rejected": number}

    async def _keep(self, end_scan: bool = False) -> CollectionState:
        if end_scan:
            return await super()._keep(end_scan)
        while True:
            state = await self.store.open_collection(NAME)
            read = await perform(self.ports, fx.ReadSource(NAME, state.mark))
            assert isinstance(read, ev.SourceRead)
            if not read.more:
                return read.state

    async def read(self) -> CollectionState:
        return await self._keep()

    async def group(self) -> Json:
        (line,) = await self.records("held", "held")
        return line

    async def stored(self) -> int:
        return (await self.store.open_collection(NAME)).objects


@pytest_asyncio.fixture
async def desk() -> GuardedDesk:
    desk = GuardedDesk()
    await desk.open()
    await desk.commit({note(number): ("old", "body") for number in range(30)})
    return desk


async def delete(desk: GuardedDesk, *numbers: int) -> None:
    await desk.commit({note(number): None for number in numbers})


async def test_nothing_is_held_where_little_was_deleted(desk: GuardedDesk) -> None:
    await delete(desk, *range(5))
    assert (await desk.records("held", "held"), await desk.stored()) == ([], 25)


async def test_what_is_held_is_named_with_what_to_do(desk: GuardedDesk) -> None:
    await delete(desk, *range(20))
    held = await desk.group()
    assert mistakes("held", "primary", await desk.ask("held")) == []
    assert (held["group"], held["gone"], held["of"]) == (f"{NAME}:held-1", 20, 30)
    assert "`syncd approve notes:held-1`" in str(held["reason"])
    assert isinstance(held["named"], list)
    assert len(held["named"]) == 20
    assert await desk.stored() == 30


async def test_an_approved_group_is_read_anew_and_is_one_group(desk: GuardedDesk) -> None:
    await desk.commit({note(number): None for number in range(20)} | {note(40): ("new", "")})
    await desk.commit({note(3): ("back", ""), note(25): ("after", "")})
    groups = len(await desk.store.groups(NAME, 100))
    told = await desk.ask("approve", group=f"{NAME}:held-1")
    assert mistakes("approve", "primary", told) == []
    state = await desk.read()
    assert (state.held, state.objects) == (None, 12)
    assert len(await desk.store.groups(NAME, 100)) == groups + 1


async def test_what_was_approved_goes_into_the_order_after_a_restart(desk: GuardedDesk) -> None:
    await delete(desk, *range(20))
    await desk.ask("approve", group=f"{NAME}:held-1")
    desk.ports.releasing.clear()
    opened = await perform(desk.ports, fx.OpenSource(NAME))
    assert isinstance(opened, ev.SourceOpened)
    assert (await desk.read()).objects == 10


async def test_what_is_held_is_held_after_a_restart_and_a_comparison(desk: GuardedDesk) -> None:
    await delete(desk, *range(20))
    desk.source.lose_log()
    opened = await perform(desk.ports, fx.OpenSource(NAME))
    assert isinstance(opened, ev.SourceOpened)
    assert opened.state.held is not None
    event = await perform(desk.ports, fx.BeginScan(NAME))
    while isinstance(event, ev.Scanned) and (event.after is not None or event.type < 2):
        at = event.type + (event.after is None)
        event = await perform(desk.ports, fx.ScanSource(NAME, at, event.after))
    swept = await perform(desk.ports, fx.SweepSource(NAME))
    assert isinstance(swept, ev.Swept)
    assert (swept.count, await desk.stored()) == (0, 30)


async def test_a_rejected_group_gives_the_application_its_objects_back(desk: GuardedDesk) -> None:
    await delete(desk, *range(20))
    told = await desk.ask("reject", group=f"{NAME}:held-1")
    assert (told["objects"], told["left"], told["conflicts"]) == (20, [], [])
    assert [desk.row(note(number)) for number in range(30)] == [("old", "body")] * 30
    state = await desk.read()
    assert (state.held, state.objects) == (None, 30)


async def test_what_else_was_changed_with_it_goes_on_when_it_is_rejected(desk: GuardedDesk) -> None:
    await desk.commit({note(number): None for number in range(20)} | {note(25): ("changed", ""), note(40): ("new", "")})
    await desk.ask("reject", group=f"{NAME}:held-1")
    state = await desk.read()
    assert (state.held, state.objects, desk.row(note(25))) == (None, 31, ("changed", ""))


async def test_what_is_there_again_is_not_overwritten_by_a_rejection(desk: GuardedDesk) -> None:
    await delete(desk, *range(20))
    await desk.commit({note(3): ("again", "")})
    told = await desk.ask("reject", group=f"{NAME}:held-1")
    assert told["objects"] == 19
    assert (desk.row(note(3)), (await desk.read()).held) == (("again", ""), None)


async def test_what_comes_again_while_it_is_rejected_is_kept_as_a_conflict(desk: GuardedDesk) -> None:
    await delete(desk, *range(20))
    desk.source.commit({note(0): b"\x92\xa5again\xa0"})
    told = await desk.ask("reject", group=f"{NAME}:held-1")
    assert (told["objects"], desk.row(note(0))) == (19, ("again", ""))
    assert mistakes("reject", "primary", told) == []
    assert isinstance(told["left"], list)
    assert len(told["left"]) == 1
    assert told["conflicts"] != []
    assert (await desk.read()).held is None


class Needing:
    """Stands before the application: it refuses rows of notes that come without the note that they all refer to."""

    def __init__(self, desk: GuardedDesk, needed: ObjectId) -> None:
        self.tried: list[int] = []
        self._do = desk.deeds.do
        self._needed = needed.key

    @classmethod
    async def deleted(cls, desk: GuardedDesk, needed: ObjectId, monkeypatch: pytest.MonkeyPatch) -> Needing:
        """20 notes were deleted."""
        await delete(desk, *range(20))
        made = cls(desk, needed)
        monkeypatch.setattr(desk.deeds, "do", made.do)
        return made

    async def do(self, deed: Deed) -> Done:
        self.tried.append(len(deed.edits))
        if all(edit.key != self._needed for edit in deed.edits):
            raise Barred("the application refuses it", "remove the cause there, then say it again")
        return await self._do(deed)


async def test_what_the_application_refuses_apart_is_given_back_with_more(
    desk: GuardedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    needing = await Needing.deleted(desk, note(19), monkeypatch)
    told = await desk.ask("reject", group=f"{NAME}:held-1")
    assert (told["objects"], desk.row(note(0)), desk.row(note(19))) == (20, ("old", "body"), ("old", "body"))
    assert needing.tried == sorted(needing.tried)
    assert needing.tried[-1] == 20
    assert (await desk.read()).held is None


async def test_what_the_application_refuses_as_a_whole_is_held_as_before(
    desk: GuardedDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    needing = await Needing.deleted(desk, note(29), monkeypatch)
    with pytest.raises(UserError, match="the application refuses it"):
        await desk.ask("reject", group=f"{NAME}:held-1")
    assert needing.tried[-1] == 20
    assert (await desk.group())["gone"] == 20


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_a_group_that_has_grown_is_looked_at_again(desk: GuardedDesk, verb: str) -> None:
    await delete(desk, *range(20))
    await delete(desk, *range(20, 30))
    with pytest.raises(UserError, match="more was deleted since"):
        await desk.ask(verb, group=f"{NAME}:held-1")
    with pytest.raises(UserError, match="no held group"):
        await desk.ask(verb, group=f"{NAME}:12")
    await desk.ask(verb, group=f"{NAME}:held-2")
    assert (await desk.read()).held is None


@pytest.mark.parametrize("verb", ["approve", "reject"])
async def test_where_nothing_is_held_there_is_nothing_to_decide(desk: GuardedDesk, verb: str) -> None:
    with pytest.raises(UserError, match="nothing of notes is held"):
        await desk.ask(verb, group=f"{NAME}:held-1")


async def first_page(desk: GuardedDesk) -> ev.Event | None:
    """The application lost its log, and a comparison comes to the first of what it did not see."""
    desk.source.lose_log()
    read = await perform(desk.ports, fx.ReadSource(NAME, (await desk.store.open_collection(NAME)).mark))
    assert isinstance(read, ev.SourceRead)
    assert read.lost
    event = await perform(desk.ports, fx.BeginScan(NAME))
    while isinstance(event, ev.Scanned) and (event.after is not None or event.type + 1 < len(event.state.types)):
        event = await perform(desk.ports, fx.ScanSource(NAME, event.type + (event.after is None), event.after))
    return await perform(desk.ports, fx.SweepSource(NAME))


async def compared(desk: GuardedDesk) -> CollectionState:
    """The application is compared with the store as a whole, page by page."""
    event = await first_page(desk)
    while isinstance(event, ev.Swept) and event.count:
        event = await perform(desk.ports, fx.SweepSource(NAME))
    assert isinstance(event, ev.Swept)
    read = await perform(desk.ports, fx.ReadSource(NAME, event.state.mark, end_scan=True, loose=True))
    assert isinstance(read, ev.SourceRead)
    return await desk.read()


async def vanished(desk: GuardedDesk, *numbers: int) -> CollectionState:
    """These are gone from the application, and no log says so."""
    desk.source.commit({note(number): None for number in numbers})
    return await compared(desk)


async def test_what_a_comparison_finds_gone_is_a_held_group(desk: GuardedDesk) -> None:
    state = await vanished(desk, *range(20))
    assert (state.objects, state.scanning, state.published) == (30, False, True)
    held = await desk.group()
    assert (held["group"], held["gone"], held["of"], held["objects"]) == (f"{NAME}:held-1", 20, 30, 20)
    assert "20 of 30 objects are not in the application any more" in str(held["reason"])
    assert isinstance(held["named"], list)
    assert len(held["named"]) == 20


async def test_other_changes_go_on_while_what_a_comparison_found_gone_is_held(desk: GuardedDesk) -> None:
    before = await vanished(desk, *range(20))
    await desk.commit({note(25): ("changed", ""), note(40): ("new", ""), note(29): None})
    state = await desk.read()
    assert state.held == before.held
    assert (state.objects, state.head > before.head) == (30, True)


async def test_what_a_comparison_found_gone_is_deleted_when_it_is_approved(desk: GuardedDesk) -> None:
    await vanished(desk, *range(20))
    await desk.ask("approve", group=f"{NAME}:held-1")
    state = await desk.read()
    assert (state.held, state.objects) == (None, 10)


async def test_an_application_that_is_empty_gets_all_of_it_back_when_that_is_rejected(desk: GuardedDesk) -> None:
    await vanished(desk, *range(30))
    told = await desk.ask("reject", group=f"{NAME}:held-1")
    assert (told["objects"], told["left"]) == (30, [])
    assert [desk.row(note(number)) for number in range(30)] == [("old", "body")] * 30
    state = await desk.read()
    assert (state.held, state.objects) == (None, 30)


async def test_what_is_back_by_the_next_comparison_is_held_no_longer(desk: GuardedDesk) -> None:
    await vanished(desk, *range(20))
    desk.source.commit({note(number): pack_values(["old", "body"]) for number in range(20)})
    state = await compared(desk)
    assert (state.held, state.objects) == (None, 30)


async def test_what_vanishes_after_it_gets_another_number(desk: GuardedDesk) -> None:
    await vanished(desk, *range(12))
    state = await vanished(desk, *range(12, 24))
    assert state.held is not None
    assert (state.held.number, state.held.gone, state.objects) == (2, 24, 30)
    with pytest.raises(UserError, match="more was deleted since"):
        await desk.ask("approve", group=f"{NAME}:held-1")


async def test_a_group_that_is_still_looked_through_cannot_be_approved(desk: GuardedDesk) -> None:
    """As after a crash, or while the application is offline: the comparison is made anew, and completes the group."""
    desk.source.commit({note(number): None for number in range(20)})
    await first_page(desk)
    with pytest.raises(UserError, match="still being read"):
        await desk.ask("approve", group=f"{NAME}:held-1")
    state = await compared(desk)
    assert state.held is not None
    assert (state.held.number, state.held.gone, state.objects) == (1, 20, 30)
    await desk.ask("approve", group=f"{NAME}:held-1")
    assert (await desk.read()).objects == 10


async def test_a_change_of_settings_is_decided_by_its_id(desk: GuardedDesk) -> None:
    assert await desk.ask("approve", group="settings-7") == {"approved": 7}
    assert await desk.ask("reject", group="settings-7") == {"rejected": 7}
    for name in ("settings-", "settings-x", f"settings-{'9' * 5_000}", f"{NAME}:held-{'9' * 5_000}"):
        with pytest.raises(UserError, match="no held group"):
            await desk.ask("approve", group=name)


async def test_the_undo_of_a_group_that_added_many_is_not_held(desk: GuardedDesk) -> None:
    group = await desk.commit({note(number): ("more", "") for number in range(100, 160)})
    await desk.ask("undo", group=group)
    assert (await desk.records("held", "held"), await desk.stored()) == ([], 30)


async def in_part(desk: GuardedDesk) -> None:
    """A transaction that deletes much is read in part."""
    desk.source.commit({note(number): None for number in range(20)})
    state = await desk.store.open_collection(NAME)
    changes = await desk.source.changes(state.mark, 12)
    batch = Batch(changes.observed, publish=False, loose=False, mark=changes.mark, guard=guard_of_groups(LIMITS))
    await desk.store.keep(NAME, batch, desk.time_us)


async def test_a_rejection_waits_until_all_of_the_group_was_read(desk: GuardedDesk) -> None:
    await in_part(desk)
    held = await desk.group()
    assert (held["gone"], held["reading"], "more is being read" in str(held["reason"])) == (12, True, True)
    with pytest.raises(UserError, match="is still being read"):
        await desk.ask("approve", group=f"{NAME}:held-1")
    told = await desk.ask("reject", group=f"{NAME}:held-1")
    assert told["objects"] == 20
    assert (await desk.read()).held is None


async def test_for_so_long_as_it_may(desk: GuardedDesk) -> None:
    await in_part(desk)
    desk.source.offline = "the disk is not mounted"
    holds = Holds(desk.deeds, desk, lambda: [NAME], set(), replace(LIMITS, held_read_s_max=0.0))
    desk.deeds.changed = asyncio.Event()
    with pytest.raises(UserError, match="is still being read"):
        await holds.verbs["reject"]({"group": f"{NAME}:held-1"})
    assert (await desk.group())["gone"] == 12
