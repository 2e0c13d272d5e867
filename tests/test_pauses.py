"""When changes travel, as persons set it: which place decides, and the verbs `pause` and `resume` (claim 24f)."""

from __future__ import annotations

import pytest

from syncd.core.errors import UserError
from syncd.core.preferences import Place
from syncd.pauses import Pauses
from tests.test_choices import TILL, Desk, records

pytestmark = pytest.mark.asyncio

PLACES: tuple[dict[str, str], ...] = (
    {},
    {"device": "till"},
    {"collection": "notes"},
    {"collection": "notes", "device": "till"},
)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("schedule", ("manual", "every 1h", "within 22:00-06:00", "continuous")),
        ("pause", ("on", "off", "on", "off")),
        ("priority", ("high", "", "low", "usual")),
        ("rate", ("1 MiB/s", "64 KiB/s", "", "")),
    ],
)
async def test_each_place_decides_unless_a_more_specific_one_does(name: str, values: tuple[str, ...]) -> None:
    """Usual, user, device, collection, collection on a device; empty where it cannot be set."""
    desk = await Desk().opened()
    counts = str((await desk.asks("explain", name=f"notes.{name}" if name != "rate" else name, device="till"))["value"])
    assert counts == {"schedule": "continuous", "pause": "off", "priority": "usual", "rate": "unlimited"}[name]
    for where, value in zip(PLACES, values, strict=True):
        collection, device_ = where.get("collection", ""), where.get("device", "")
        asked = f"{collection}.{name}" if collection else name
        if not value:
            await desk.refuses_to_set(f"{name} cannot be set for a ", asked, values[0], device=device_)
            continue
        await desk.sets(asked, value, device=device_)
        told = await desk.asks("explain", name=f"notes.{name}" if name != "rate" else name, device="till")
        assert told["value"] == value
    bills = await desk.asks("explain", name=f"bills.{name}" if name != "rate" else name, device="counter")
    assert bills["from"] == "usual", "bob is another user"


async def test_all_about_the_pace_is_exported_and_imported() -> None:
    desk = await Desk().opened()
    await desk.sets("notes.schedule", "every 1h within 22:00-06:00 mon-fri", device="till")
    await desk.sets("rate", "1.5 MiB/s", device="till")
    await desk.sets("notes.priority", "high")
    await Pauses(desk.choices).verbs["pause"]({"collection": "my.photos"})
    kept, exported = await desk.kept(), str((await desk.asks("export"))["toml"])
    assert 'schedule = "every 1h within 22:00-06:00 mon-fri"' in exported
    other = await Desk().opened()
    await other.asks("import", toml=exported)
    assert await other.kept() == kept
    journal = records(await desk.asks("journal", limit=1), "journal")
    assert [(one["who"], one["name"], one["after"]) for one in journal] == [("uid 7", "pause", "on")]


async def pauses(desk: Desk, verb: str, **where: str) -> list[tuple[str, str, str, str]]:
    """What changed: user, device, collection and the value."""
    told = await Pauses(desk.choices).verbs[verb](dict(where))
    return [
        (str(one["user"]), str(one["device_name"]), str(one["collection"]), str(one["after"]))
        for one in records(told, "changed")
    ]


async def test_a_pause_is_a_setting_of_its_place_and_ends_with_all_pauses_within() -> None:
    desk = await Desk().opened()
    assert await pauses(desk, "pause", collection="notes") == [("", "", "notes", "on")]
    assert await pauses(desk, "pause", collection="notes", device="till") == [("", "till", "notes", "on")]
    assert await pauses(desk, "pause", device="till") == [("", "till", "", "on")]
    assert await pauses(desk, "pause", collection="bills") == [("", "", "bills", "on")]
    assert await pauses(desk, "pause") == [("ada", "", "", "on")]
    assert await pauses(desk, "pause") == [], "it was so"
    ended = await pauses(desk, "resume")
    assert sorted(place[:3] for place in ended) == [
        ("", "", "notes"), ("", "till", ""), ("", "till", "notes"), ("ada", "", ""),
    ]  # fmt: skip
    assert await desk.kept() == [(Place(0, "", "bills"), "pause", "on")], "bob's is not ada's"
    assert await pauses(desk, "resume", user="bob") == [("", "", "bills", "")]
    assert await desk.kept() == []


async def test_what_is_resumed_goes_on_although_more_is_paused() -> None:
    desk = await Desk().opened()
    await pauses(desk, "pause")
    assert await pauses(desk, "resume", collection="notes") == [("", "", "notes", "off")]
    at = Place(1, TILL.id, "notes")
    assert [desk.in_force[-1].pace(at._replace(collection=name)).paused for name in ("notes", "my.photos")] == [
        False,
        True,
    ]
    assert await pauses(desk, "resume", collection="notes", device="till") == [], "it goes on"
    assert await pauses(desk, "pause", collection="notes", device="till") == [("", "till", "notes", "on")]
    ended = await pauses(desk, "resume", device="till")
    assert sorted(ended) == [("", "till", "", "off"), ("", "till", "notes", "")]


async def test_a_pause_names_what_there_is() -> None:
    desk = await Desk().opened()
    for what, name in (("collection", "old"), ("device", "x")):
        with pytest.raises(UserError, match=f"no {what} '{name}'"):
            await Pauses(desk.choices).verbs["pause"]({what: name})
