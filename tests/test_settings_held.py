"""Changes of settings that take much away from a device are held until a person decides (R13)."""

from __future__ import annotations

import pytest
import pytest_asyncio

from syncd.core.errors import UserError
from syncd.core.loss import Weighed
from syncd.core.selection import ALL, Selection
from syncd.core.status import Json
from syncd.home.config import Asked
from tests.control.status_page import mistakes
from tests.test_choices import DESK, TILL, Desk, records

pytestmark = pytest.mark.asyncio

DAY_US = 86_400 * 1_000_000
FRENCH, MOST, LESS = Selection('country == "FR"'), Selection("total > 1"), Selection("total > 2")
NONE = Selection("total is None")


class Shop(Desk):
    """The till and the counter are ada's, and hold 100 objects of her notes; ``takes``: which of them a selection
    takes."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 100 * DAY_US
        self.takes |= {FRENCH: set(range(10)), MOST: set(range(85)), LESS: set(range(70)), NONE: set()}

    async def opened(self) -> Shop:
        await super().opened()
        await self.database.link_user(1, DESK.id)
        self.holding = [(one.id, "notes") for one in (TILL, DESK)]
        return self

    async def takes_less(self, to: Selection = FRENCH, **where: str) -> Json:
        return await self.sets("notes.selection", to.canonical, **(where or {"device": "till"}))

    async def held(self) -> list[str]:
        return [one.id for one in await self.database.held_settings()]

    async def set_there(self) -> list[str]:
        return [one.value for one in await self.database.settings()]


@pytest_asyncio.fixture
async def shop() -> Shop:
    return await Shop().opened()


async def test_a_change_that_takes_much_away_is_held_and_told_with_what_to_do(shop: Shop) -> None:
    told = await shop.takes_less()
    assert mistakes("settings set, settings unset", "primary", told) == []
    assert (told["changed"], told["value"]) == ([], "all")
    (line,) = records(told, "held")
    assert line["group"] == "settings-1"
    assert "till would lose 90 of the 100 objects of notes that it holds" in str(line["reason"])
    assert "`syncd approve settings-1`" in str(line["reason"])
    assert (await shop.set_there(), shop.in_force) == ([], [])
    (held,) = await shop.choices.held()
    assert mistakes("held", "primary", {"held": [], "settings": [held]}) == []
    assert records(held, "losses")[0]["objects"] == 90
    assert records(held, "changes")[0]["value"] == FRENCH.canonical


@pytest.mark.parametrize(
    ("takes", "is_held"),
    [(range(81), False), (range(80), True), (range(1), True), (range(0), True), (range(100, 200), True)],
)
async def test_the_measure_is_that_of_groups(shop: Shop, takes: range, is_held: bool) -> None:
    shop.takes[FRENCH] = set(takes)
    await shop.takes_less()
    assert bool(await shop.held()) is is_held


async def test_what_leaves_nothing_is_held_however_small(shop: Shop) -> None:
    shop.takes[Selection()] = {1}
    await shop.takes_less(NONE)
    assert await shop.held() == ["settings-1"]


async def test_more_may_be_taken_and_other_settings_changed_at_any_time(shop: Shop) -> None:
    await shop.takes_less()
    await shop.sets("notes.direction", "out")
    await shop.sets("notes.guard.percent", "5 %")
    await shop.sets("notes.selection", "all", device="counter")
    assert (await shop.held(), len(await shop.set_there())) == (["settings-1"], 3)


async def test_a_device_that_holds_nothing_or_was_cut_off_loses_nothing(shop: Shop) -> None:
    await shop.database.revoke(TILL.id, 5)
    await shop.takes_less()
    shop.holding = []
    await shop.takes_less(device="counter")
    assert await shop.held() == []


async def test_a_change_for_all_devices_is_held_for_the_one_that_loses(shop: Shop) -> None:
    shop.holding = [(TILL.id, "notes")]
    await shop.takes_less(device="counter")
    shop.holding.append((DESK.id, "notes"))
    told = await shop.takes_less(device="")
    assert "till would lose 90" in str(records(told, "held")[0]["reason"])
    assert "counter" not in str(records(told, "held")[0]["reason"])


async def test_what_is_approved_is_made_and_told(shop: Shop) -> None:
    await shop.takes_less()
    told = await shop.choices.approve(1)
    assert mistakes("approve", "primary", told) == []
    assert records(told, "changed")[0]["after"] == FRENCH.canonical
    assert (await shop.set_there(), await shop.held(), len(shop.in_force)) == ([FRENCH.canonical], [], 1)
    (line,) = records(await shop.asks("journal"), "journal")
    assert line["who"] == "uid 7, approve settings-1"
    with pytest.raises(UserError, match="settings-1 is not held"):
        await shop.choices.approve(1)


async def test_of_what_is_rejected_nothing_comes(shop: Shop) -> None:
    await shop.takes_less()
    told = await shop.choices.reject(1)
    assert mistakes("reject", "primary", told) == []
    assert (await shop.set_there(), await shop.held(), shop.in_force) == ([], [], [])
    with pytest.raises(UserError, match="settings-1 is not held"):
        await shop.choices.reject(1)


async def test_what_would_take_away_much_more_than_was_seen_is_looked_at_again(shop: Shop) -> None:
    shop.takes[FRENCH] = set(range(70))
    await shop.takes_less()
    shop.takes[FRENCH] = set(range(45))
    with pytest.raises(UserError, match="it is settings-2 from here on"):
        await shop.choices.approve(1)
    assert (await shop.held(), await shop.set_there()) == (["settings-2"], [])
    shop.takes[FRENCH] = set(range(40))
    await shop.choices.approve(2)
    assert await shop.set_there() == [FRENCH.canonical], "a little more is no matter"


async def test_another_device_that_would_lose_much_was_not_seen(shop: Shop) -> None:
    shop.holding = [(TILL.id, "notes")]
    await shop.takes_less(device="")
    shop.holding.append((DESK.id, "notes"))
    with pytest.raises(UserError, match="would take away more"):
        await shop.choices.approve(1)


async def test_a_little_again_and_again_is_held_when_it_has_become_much(shop: Shop) -> None:
    await shop.takes_less(MOST)
    shop.now_us += DAY_US // 3
    await shop.takes_less(LESS)
    assert (await shop.held(), await shop.set_there()) == (["settings-1"], [MOST.canonical])
    await shop.choices.reject(1)
    shop.now_us += DAY_US
    await shop.takes_less(LESS)
    assert (await shop.held(), await shop.set_there()) == ([], [LESS.canonical])


async def test_what_a_person_approved_does_not_count(shop: Shop) -> None:
    await shop.takes_less(MOST)
    await shop.takes_less(LESS)
    await shop.choices.approve(1)
    shop.takes[FRENCH] = set(range(60))
    await shop.takes_less()
    assert (await shop.held(), await shop.set_there()) == ([], [FRENCH.canonical])


async def test_a_file_is_held_whole(shop: Shop) -> None:
    file = (
        '[[settings]]\ncollection = "notes"\n"guard.percent" = "100 %"\nselection = "total is None"\n'
        '[[settings]]\ncollection = "bills"\ndirection = "out"\n'
    )
    told = await shop.asks("import", toml=file)
    assert mistakes("settings import", "primary", told) == []
    assert (await shop.set_there(), await shop.held()) == ([], ["settings-1"])
    changed = records(await shop.choices.approve(1), "changed")
    assert len(changed) == 3
    (line, *_) = records(await shop.asks("journal"), "journal")
    assert line["who"] == "uid 7, approve settings-1"


async def test_what_is_set_later_takes_the_place_of_what_is_held(shop: Shop) -> None:
    await shop.takes_less()
    await shop.takes_less(NONE)
    assert await shop.held() == ["settings-2"]
    await shop.takes_less(MOST)
    assert (await shop.held(), await shop.set_there()) == ([], [MOST.canonical])


async def test_who_asks_for_the_same_again_is_told_of_what_is_held(shop: Shop) -> None:
    shop.takes[FRENCH] = set(range(70))
    for _ in range(2):
        told = await shop.takes_less()
        assert records(told, "held")[0]["group"] == "settings-1"
    shop.takes[FRENCH] = set(range(10))
    assert records(await shop.takes_less(), "held")[0]["group"] == "settings-2", "it would take away much more"
    assert await shop.held() == ["settings-2"]


async def test_to_be_set_no_more_may_take_away_as_well(shop: Shop) -> None:
    shop.holding = []
    await shop.takes_less(device="")
    await shop.sets("notes.selection", "all", device="till")
    shop.holding = [(TILL.id, "notes")]
    told = await shop.asks("unset", name="notes.selection", device="till")
    assert (len(records(told, "held")), told["value"]) == (1, "all")


async def test_a_device_to_which_nothing_was_sent_may_hold_everything(shop: Shop) -> None:
    await shop.sets("notes.direction", "in", device="till")
    await shop.takes_less()
    assert await shop.held() == [], "nothing is sent to it"
    told = await shop.sets("notes.direction", "both", device="till")
    assert "till would lose 90 of the 100" in str(records(told, "held")[0]["reason"])
    assert told["value"] == "in"


async def test_terms_of_a_share_are_guarded_as_well(shop: Shop) -> None:
    await shop.sets("notes.direction", "in", device="")
    await shop.takes_less(device="")
    asked = Asked("notes", "sqlite", "/n.db", direction="both")
    with pytest.raises(UserError, match="settings-1 is held") as caught:
        await shop.choices.agree("notes", "ada", asked)
    assert "syncd approve settings-1" in caught.value.advice
    assert await shop.held() == ["settings-1"]


async def test_a_change_whose_losses_a_person_has_seen_is_made(shop: Shop) -> None:
    await shop.takes_less()
    chosen = (await shop.database.held_settings())[0].chosen
    changed = await shop.choices.change(
        chosen, "preview", Weighed(await shop.choices.guard.losses(chosen), approved=True)
    )
    assert (len(changed), await shop.held()) == (1, [])
    assert await shop.database.taken_away(0) == {}


async def test_a_reason_names_the_devices_that_lose_most(shop: Shop) -> None:
    shop.owners |= {f"c{number}": "ada" for number in range(4)}
    shop.holding = [(TILL.id, f"c{number}") for number in range(4)]
    told = await shop.sets("selection", NONE.canonical, user="ada")
    reason = str(records(told, "held")[0]["reason"])
    assert (reason.count("till would lose"), "and 1 more" in reason) == (3, True)


async def test_whoever_tells_of_what_is_held_is_told_when_that_moves(shop: Shop) -> None:
    for decides in (shop.choices.approve, shop.choices.reject):
        shop.held_moved.clear()
        await shop.takes_less()
        assert len(shop.held_moved) == 1
        (held,) = await shop.database.held_settings()
        await decides(held.number)
        assert len(shop.held_moved) == 2
        await shop.takes_less(ALL)
