"""Who holds what: the devices that hold an object, and the objects on a device, from positions and what was sent."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import pytest_asyncio

from syncd.core.devices import Device, find_device
from syncd.core.errors import UserError
from syncd.core.messages import Failed, Report
from syncd.core.model import Span
from syncd.core.ports import ChunkRequest
from syncd.core.reach import Reaches
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.holders import Holders
from syncd.past import Past
from syncd.whereabouts import Sight
from tests.contract.sync_database_kit import device
from tests.control.status_page import mistakes
from tests.deeds_kit import NAME, Desk, note

pytestmark = pytest.mark.asyncio
TILL, LAPTOP, STRANGER = device("till"), device("laptop"), device("stranger")
OLD, NEW = Selection('title == "old"'), Selection('title == "new"')
FOLLOWING = Selection('title == "old"', follow=("note.body",))


class HoldersDesk(Desk):
    """Till and laptop may have the notes; ``said``: what devices reported last. ``silent``: they are sent nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.paired = {one.id: one for one in (TILL, LAPTOP, STRANGER)}
        self.linked = {TILL.id, LAPTOP.id}
        self.said: dict[tuple[str, str], Report] = {}
        self.silent: set[str] = set()
        self.reaches = Reaches()
        past = Past(self.deeds, str, Limits())
        sight = Sight(self.store, self.reaches, 1_000)
        self.verbs |= Holders(past, sight, self, lambda: [NAME]).verbs

    def all(self) -> Sequence[Device]:
        return list(self.paired.values())

    def find(self, asked: str) -> Device:
        return find_device(self.paired.values(), asked)

    def may(self, device: str, collection: str) -> bool:
        return device in self.linked

    def sends(self, device: str, collection: str) -> bool:
        return device not in self.silent

    def connected(self, device: str) -> bool:
        return device == LAPTOP.id

    async def reports(self) -> dict[tuple[str, str], Report]:
        return self.said

    async def notes(self, **titles: str | None) -> int:
        """``n1="old"``: note 1 has this title, or is gone. The head after it."""
        rows = {note(int(name[1:])): None if title is None else (title, "body") for name, title in titles.items()}
        await self.commit(rows)
        return (await self.store.open_collection(NAME)).head

    async def stands(self, one: Device, selection: Selection = ALL, at: int | None = None) -> Report:
        """The device says that it stands at the head, or there."""
        state = await self.store.open_class(NAME, selection, 1_000)
        seen = state.of(selection)
        assert seen is not None
        report = Report(NAME, seen.epoch, state.head if at is None else at, b"", 0, True, 0, "")
        self.said[one.id, NAME] = report
        return report

    async def holders(self, key: int) -> dict[str, tuple[object, object]]:
        told = await self.ask("holds", collection=NAME, words=["note", str(key)])
        assert mistakes("holds", "primary", told) == []
        devices = told["devices"]
        assert isinstance(devices, list)
        return {one["device_name"]: (one["holds"], one["version"]) for one in devices}

    async def on(self, one: Device) -> tuple[set[str], set[str], bool]:
        """Keys that it holds, and that it may hold; the counts say the same."""
        told = await self.ask("holds_device", device=one.name, collection=NAME)
        assert mistakes("holds --device", "primary", told) == []
        (line,) = told["collections"] if isinstance(told["collections"], list) else []
        found: dict[str, list[str]] = {"yes": [], "maybe": []}
        after = ""
        while True:
            page = await self.ask("holds_objects", device=one.name, collection=NAME, after=after)
            assert mistakes("holds --device --all", "primary", page) == []
            assert isinstance(page["objects"], list)
            for each in page["objects"]:
                found[each["holds"]].append(each["key"])
            if not (after := str(page["after"])):
                break
        assert (line["holds"]["objects"], line["maybe"]["objects"]) == (len(found["yes"]), len(found["maybe"]))
        assert len({*found["yes"], *found["maybe"]}) == len(found["yes"]) + len(found["maybe"])
        return set(found["yes"]), set(found["maybe"]), line["whole"]


@pytest_asyncio.fixture
async def desk() -> HoldersDesk:
    """Notes 1 to 3 are old, 4 is new."""
    desk = HoldersDesk()
    await desk.open()
    await desk.notes(n1="old", n2="old", n3="old", n4="new")
    return desk


async def test_who_has_passed_the_newest_version_holds_it(desk: HoldersDesk) -> None:
    await desk.stands(LAPTOP)
    await desk.stands(TILL, OLD)
    assert await desk.holders(1) == {"till": ("yes", "current"), "laptop": ("yes", "current")}
    assert await desk.holders(4) == {"laptop": ("yes", "current")}


async def test_who_is_away_holds_what_was_there_then(desk: HoldersDesk) -> None:
    await desk.stands(TILL, OLD)
    await desk.notes(n1=None, n2="new", n3="old", n4="old", n5="old")
    await desk.stands(LAPTOP)
    assert await desk.holders(1) == {"till": ("yes", "older")}
    assert await desk.holders(2) == {"till": ("yes", "older"), "laptop": ("yes", "current")}
    assert await desk.holders(3) == {"till": ("yes", "current"), "laptop": ("yes", "current")}
    assert await desk.holders(4) == await desk.holders(5) == {"laptop": ("yes", "current")}
    assert await desk.on(TILL) == ({"[1]", "[2]", "[3]"}, set(), True)
    assert await desk.on(LAPTOP) == ({"[2]", "[3]", "[4]", "[5]"}, set(), True)


async def test_what_is_in_flight_is_not_guessed(desk: HoldersDesk) -> None:
    epoch = (await desk.stands(LAPTOP)).epoch
    head = await desk.notes(n1=None, n2="changed", n5="new")
    desk.reaches.spans[LAPTOP.id, NAME] = {epoch: Span(0, head)}
    assert await desk.holders(1) == {"laptop": ("maybe", "older")}
    assert await desk.holders(2) == {"laptop": ("yes", "unknown")}
    assert await desk.holders(3) == {"laptop": ("yes", "current")}
    assert await desk.holders(5) == {"laptop": ("maybe", "current")}
    assert await desk.on(LAPTOP) == ({"[2]", "[3]", "[4]"}, {"[1]", "[5]"}, True)
    await desk.stands(LAPTOP)
    assert await desk.on(LAPTOP) == ({"[2]", "[3]", "[4]", "[5]"}, set(), True)


async def test_a_selection_that_changed_while_a_device_was_away_counts_as_it_was(desk: HoldersDesk) -> None:
    await desk.stands(TILL, OLD)
    await desk.store.drop_class(NAME, OLD)
    await desk.store.open_class(NAME, NEW, 1_000)
    await desk.notes(n1="new")
    assert await desk.holders(1) == {"till": ("yes", "older")}
    assert await desk.on(TILL) == ({"[1]", "[2]", "[3]"}, set(), True)


async def test_during_a_transfer_of_another_selection_both_count(desk: HoldersDesk) -> None:
    await desk.stands(TILL, OLD)
    state = await desk.store.open_class(NAME, NEW, 1_000)
    seen = state.of(NEW)
    assert seen is not None
    desk.reaches.spans[TILL.id, NAME] = {seen.epoch: Span(state.head, state.head - 1)}
    assert await desk.on(TILL) == ({"[1]", "[2]", "[3]"}, set(), True), "no cut was sent yet"
    desk.reaches.spans[TILL.id, NAME] = {seen.epoch: Span(state.head, state.head)}
    assert await desk.on(TILL) == (set(), {"[1]", "[2]", "[3]", "[4]"}, True)


async def test_what_a_device_has_by_reference_counts_as_it_was_when_it_stood_there(desk: HoldersDesk) -> None:
    await desk.commit({note(1): ("old", 4), note(4): ("new", 5), note(5): ("new", None), note(6): ("new", None)})
    await desk.stands(TILL, FOLLOWING)
    assert await desk.on(TILL) == ({"[1]", "[2]", "[3]", "[4]", "[5]"}, set(), True)
    assert await desk.holders(5) == {"till": ("yes", "current")}
    await desk.commit({note(4): ("newer", 6)})
    assert await desk.on(TILL) == ({"[1]", "[2]", "[3]", "[4]", "[5]"}, set(), True)
    assert await desk.holders(6) == {}


async def test_what_a_device_may_have_by_reference_is_not_denied(desk: HoldersDesk) -> None:
    head = await desk.notes(n1="old")
    await desk.commit({note(1): ("old", 4)})
    report = await desk.stands(TILL, FOLLOWING, head)
    desk.reaches.spans[TILL.id, NAME] = {report.epoch: Span(0, head + 1)}
    assert await desk.on(TILL) == ({"[1]", "[2]", "[3]"}, {"[4]"}, True)
    assert await desk.holders(4) == {"till": ("maybe", "unknown")}


async def test_what_failed_on_a_device_is_not_guessed(desk: HoldersDesk) -> None:
    head = await desk.notes(n1="changed", n5="new")
    report = await desk.stands(LAPTOP)
    failed = (Failed(head, "rolled-back", "its rule", "note", b""),)
    desk.said[LAPTOP.id, NAME] = replace(report, parked=1, failed=failed)
    assert await desk.on(LAPTOP) == ({"[2]", "[3]", "[4]"}, {"[1]", "[5]"}, True)
    desk.said[LAPTOP.id, NAME] = replace(report, parked=2, failed=failed)
    assert (await desk.on(LAPTOP))[0] == set()


async def test_who_is_cut_off_or_unlinked_held_what_was_there_then(desk: HoldersDesk) -> None:
    await desk.stands(TILL, OLD)
    await desk.stands(LAPTOP)
    desk.paired[TILL.id] = replace(TILL, revoked_us=5_000_000)
    desk.linked.discard(LAPTOP.id)
    await desk.notes(n1=None)
    told = await desk.ask("holds", collection=NAME, words=["1"])
    devices = told["devices"]
    assert isinstance(devices, list)
    assert [(one["device_name"], one["standing"], one["since"][:10]) for one in devices] == [
        ("till", "revoked", "1970-01-01"),
        ("laptop", "unlinked", ""),
    ]


async def test_who_never_had_a_collection_is_not_named(desk: HoldersDesk) -> None:
    desk.said[STRANGER.id, "bills"] = await desk.stands(TILL)
    assert "stranger" not in await desk.holders(1)
    with pytest.raises(UserError, match="never had"):
        await desk.ask("holds_device", device="stranger", collection=NAME)
    with pytest.raises(UserError, match="never had"):
        await desk.ask("holds_objects", device="stranger", collection=NAME)
    assert (await desk.ask("holds_device", device="stranger"))["collections"] == []


async def test_who_reported_nothing_holds_nothing_unless_it_was_sent_something(desk: HoldersDesk) -> None:
    assert await desk.holders(1) == {}
    assert await desk.on(TILL) == (set(), set(), True)
    state = await desk.store.open_collection(NAME)
    desk.reaches.spans[TILL.id, NAME] = {state.epoch: Span(state.head, state.head)}
    assert await desk.on(TILL) == (set(), {"[1]", "[2]", "[3]", "[4]"}, True)


async def test_of_who_is_sent_nothing_nothing_is_known(desk: HoldersDesk) -> None:
    desk.silent.add(TILL.id)
    assert await desk.holders(1) == {"till": ("maybe", "unknown")}
    assert (await desk.on(TILL))[:2] == (set(), {"[1]", "[2]", "[3]", "[4]"})


async def test_a_position_in_another_store_says_nothing(desk: HoldersDesk) -> None:
    report = await desk.stands(TILL)
    desk.said[TILL.id, NAME] = replace(report, epoch="another")
    assert (await desk.on(TILL))[:2] == (set(), {"[1]", "[2]", "[3]", "[4]"})


async def test_what_is_forgotten_is_not_known(desk: HoldersDesk) -> None:
    await desk.stands(TILL)
    await desk.notes(n1="changed", n2=None)
    await desk.store.forget_history(NAME, 2**62, 0)
    sure, _, whole = await desk.on(TILL)
    assert (sure, whole) == ({"[3]", "[4]"}, False)
    assert await desk.holders(1) == {"till": ("maybe", "unknown")}


async def test_a_list_that_nobody_reads_on_ends(desk: HoldersDesk) -> None:
    with pytest.raises(UserError, match="not being read"):
        await desk.ask("holds_objects", device="till", collection=NAME, after="0123")


@pytest.mark.parametrize("seed", range(40))
async def test_what_a_device_holds_is_what_its_class_had_at_its_position(desk: HoldersDesk, seed: int) -> None:
    print("seed", seed)
    chance = random.Random(seed)
    states: list[tuple[int, dict[Selection, set[str]]]] = []
    for _ in range(12):
        titles = [chance.choice(["old", "new", None]) for _ in range(chance.randrange(1, 4))]
        changed = {f"n{chance.randrange(8)}": title for title in titles}
        head = await desk.notes(**changed)
        states.append((head, {one: await members(desk, one) for one in (ALL, OLD, NEW)}))
    selection, first = chance.choice([ALL, OLD, NEW]), chance.randrange(12)
    last = chance.randrange(first, 12)
    report = await desk.stands(TILL, selection, states[first][0])
    desk.reaches.spans[TILL.id, NAME] = {report.epoch: Span(0, states[last][0])}
    between = [held[selection] for _, held in states[first : last + 1]]
    sure, perhaps = set.intersection(*between), set.union(*between)
    assert await desk.on(TILL) == (sure, perhaps - sure, True)
    for key in range(8):
        told = (await desk.holders(key)).get("till", ("no", ""))[0] if await known(desk, key) else "no"
        assert told == ("yes" if f"[{key}]" in sure else "maybe" if f"[{key}]" in perhaps else "no")


async def known(desk: HoldersDesk, key: int) -> bool:
    return bool(await desk.store.history(NAME, desk.ids["note"], note(key).key, 1))


async def members(desk: HoldersDesk, selection: Selection) -> set[str]:
    await desk.store.open_class(NAME, selection, 1_000)
    chunk = await desk.store.read(ChunkRequest(NAME, selection, 0, 0, 0), 1_000, 1_000_000)
    keys: dict[bytes, Json] = {row.key: {} for row in chunk.rows if row.fields is not None}
    return {f"[{number}]" for number in range(10) if note(number).key in keys}
