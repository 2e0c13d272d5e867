"""The verbs of the settings module (claim 24f): what is checked, kept, in force, told and remembered."""

from __future__ import annotations

import pytest

from syncd.choices import Choices, Standpoint
from syncd.cli.fields import texts
from syncd.core.errors import UserError
from syncd.core.loss import Leaving
from syncd.core.model import DataType, Reference
from syncd.core.preferences import Place, Preferences
from syncd.core.selection import ALL, Selection
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.home.config import Asked
from syncd.store.memory_sync_database import MemorySyncDatabase
from tests.contract.sync_database_kit import device

pytestmark = pytest.mark.asyncio

TILL, DESK = device("till"), device("desk")


class Desk:
    """A primary of ada and bob; the till is linked with ada, the desk with bob."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.database = MemorySyncDatabase()
        self.owners = {"notes": "ada", "my.photos": "ada", "bills": "bob"}
        self.in_force: list[Preferences] = []
        self.now_us = 0
        self.held_moved: list[int] = []
        self.holding: list[tuple[str, str]] = []
        self.takes: dict[Selection, set[int]] = {ALL: set(range(100))}
        self.types: dict[str, tuple[DataType, ...]] = {
            "notes": (DataType(1, "note", ("id",), ("country", "total")),),
            "bills": (DataType(2, "bill", ("id",), ("sum",)),),
        }
        self.choices = Choices(
            Standpoint(
                self.database,
                limits or Limits(),
                lambda: self.owners,
                lambda: "ada",
                lambda: self.now_us,
                lambda: "uid 7",
                self._types,
                self._choose,
                self._holding,
                self._counted,
                lambda one: frozenset({"sum"}) if one.name == "bill" else frozenset(),
                lambda: self.held_moved.append(self.now_us),
            )
        )

    async def opened(self) -> Desk:
        for user, one in (("ada", TILL), ("bob", DESK)):
            await self.database.link(await self.database.add_user(user), one)
        await self.database.set_label(DESK.id, "counter")
        return self

    async def _types(self, collection: str) -> tuple[DataType, ...]:
        return self.types.get(collection, ())

    async def _holding(self) -> list[tuple[str, str]]:
        return self.holding

    async def _counted(self, collection: str, shift: tuple[Selection, Selection]) -> Leaving:
        before, after = shift
        return Leaving(len(self.takes[before] - self.takes[after]), len(self.takes[before]), 0)

    async def _choose(self, chosen: Preferences) -> None:
        self.in_force.append(chosen)

    async def asks(self, verb: str, **args: object) -> Json:
        return await self.choices.verbs[f"settings_{verb}" if verb else "settings"](args)

    async def sets(self, name: str, value: str, **where: str) -> Json:
        return await self.asks("set", name=name, value=value, **where)

    async def kept(self) -> list[tuple[Place, str, str]]:
        return [(one.place, one.name, one.value) for one in await self.database.settings()]

    async def refuses_to_set(self, said: str, name: str, value: str, **where: str) -> str:
        return await self.refuses(said, "set", name=name, value=value, **where)

    async def refuses(self, said: str, verb: str, **args: object) -> str:
        """Refused with these words, and nothing is changed. Returns the advice."""
        before = await self.kept(), len(self.in_force)
        with pytest.raises(UserError, match=said) as caught:
            await self.asks(verb, **args)
        assert (await self.kept(), len(self.in_force)) == before
        return caught.value.advice


def records(told: Json, key: str) -> list[Json]:
    value = told[key]
    assert isinstance(value, list)
    return value


async def test_each_place_has_a_form() -> None:
    desk = await Desk().opened()
    await desk.sets("direction", "out")
    await desk.sets("direction", "in", user="bob")
    await desk.sets("direction", "in", device="till")
    await desk.sets("notes.direction", "both")
    await desk.sets("my.photos.direction", "out", device=TILL.id[:6].lower())
    assert await desk.kept() == [
        (Place(0, "", "notes"), "direction", "both"),
        (Place(0, TILL.id), "direction", "in"),
        (Place(0, TILL.id, "my.photos"), "direction", "out"),
        (Place(1), "direction", "out"),
        (Place(2), "direction", "in"),
    ]


async def test_a_change_is_in_force_once_it_is_kept_and_told() -> None:
    desk = await Desk().opened()
    told = await desk.sets("notes.history.age", "48 h")
    assert told == {
        "changed": [
            {
                "user": "", "device": "", "device_name": "", "collection": "notes",
                "name": "history.age", "before": "", "after": "2d",
            }
        ],
        "held": [],
        "warnings": [],
        "value": "2d",
        "from": "collection notes",
    }  # fmt: skip
    assert [chosen.limits_at(Place(1, "", "notes")).history_s_max for chosen in desk.in_force] == [2 * 86_400]
    again = await desk.sets("notes.history.age", "2d")
    assert (again["changed"], len(desk.in_force)) == ([], 1)
    gone = await desk.asks("unset", name="notes.history.age")
    assert (gone["value"], gone["from"]) == ("30d", "usual")
    assert len(desk.in_force) == 2


async def test_what_cannot_be_is_refused_with_what_can() -> None:
    refuses = (desk := await Desk().opened()).refuses_to_set
    assert "did you mean direction" in await refuses("no setting", "notes.directoin", "out")
    assert "out, in, both" in await refuses("direction cannot be 'up'", "direction", "up")
    assert "unset" in await refuses("direction cannot be empty", "direction", "")
    assert "syncd status" in await refuses("no collection 'old'", "old.direction", "in")
    assert "syncd devices" in await refuses("no device 'x'", "direction", "in", device="x")
    assert "syncd users" in await refuses("no user 'eve'", "direction", "in", user="eve")
    assert "for a device" in await refuses("adapter cannot be set for a user", "adapter", "json")
    await refuses("names no device and no collection", "notes.direction", "in", user="ada")
    await refuses("cannot be set for a collection on a device", "notes.conflicts", "merge", device="till")
    await desk.refuses("no text", "set", name=["direction"], value="out")


async def test_a_device_has_settings_of_collections_that_it_may_have() -> None:
    desk = await Desk().opened()
    advice = await desk.refuses_to_set("counter is not linked with user ada", "notes.direction", "in", device="counter")
    assert "syncd devices link counter ada" in advice
    await desk.sets("bills.direction", "in", device="counter")


async def test_all_that_counts_is_listed_with_where_it_comes_from() -> None:
    desk = await Desk().opened()
    await desk.sets("direction", "out")
    await desk.sets("notes.conflicts", "merge")
    told = await desk.asks("", collection="notes", device="till")
    lines = {one["name"]: (one["value"], one["from"]) for one in records(told, "settings")}
    assert lines["direction"] == ("out", "user ada")
    assert lines["conflicts"] == ("merge", "collection notes")
    assert lines["guard.percent"] == ("20 %", "usual")
    assert [(one["user"], one["collection"], one["name"]) for one in records(told, "set")] == [
        ("", "notes", "conflicts"),
        ("ada", "", "direction"),
    ]
    bills = {one["name"]: one["value"] for one in records(await desk.asks("", collection="bills"), "settings")}
    assert bills["direction"] == "both", "bob is another user"


async def test_it_is_explained_which_place_decides() -> None:
    desk = await Desk().opened()
    await desk.sets("direction", "out")
    await desk.sets("notes.direction", "in", device="till")
    told = await desk.asks("explain", name="notes.direction", device="till")
    assert [(one["from"], one["value"], one["counts"]) for one in records(told, "chain")] == [
        ("usual", "both", False),
        ("user ada", "out", False),
        ("device till", "", False),
        ("collection notes", "", False),
        ("collection notes on till", "in", True),
    ]
    assert (told["value"], told["from"]) == ("in", "collection notes on till")


async def test_the_journal_tells_who_and_what_newest_first() -> None:
    desk = await Desk().opened()
    desk.now_us = 1_000_000
    await desk.sets("direction", "out")
    await desk.asks("import", toml='[[settings]]\nuser = "ada"\ndirection = "in"\n')
    lines = records(await desk.asks("journal"), "journal")
    assert [(one["who"], one["user"], one["before"], one["after"]) for one in lines] == [
        ("uid 7, import", "ada", "out", "in"),
        ("uid 7", "ada", "", "out"),
    ]
    assert lines[0]["time"] == "1970-01-01T00:00:01+00:00"
    assert len(records(await desk.asks("journal", limit=1), "journal")) == 1
    await desk.refuses("no number above 0", "journal", limit=-1)


async def test_what_is_exported_is_imported_by_another_primary() -> None:
    desk, other = await Desk().opened(), await Desk().opened()
    for name, value, device_ in (
        ("direction", "out", ""),
        ("adapter", "json", "till"),
        ("notes.guard.percent", "5 %", ""),
    ):
        await desk.sets(name, value, device=device_)
    text = (await desk.asks("export"))["toml"]
    told = await other.asks("import", toml=text)
    assert len(records(told, "changed")) == 3
    assert await other.kept() == await desk.kept()
    assert len(other.in_force) == 1, "all at once"
    assert (await other.asks("import", toml=text))["changed"] == []


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ('collection = "nowhere"\ndirection = "in"', "no collection 'nowhere'"),
        ('device = "nobody"\nadapter = "json"', "no device 'nobody'"),
        ('user = "ada"\ndirection = "up"', "direction cannot be 'up'"),
        ('user = "ada"\nadapter = "json"', "adapter cannot be set for a user"),
        ('user = "ada"\n"notes.direction" = "in"', "'notes.direction' is no setting"),
        ('user = "ada"\ncolour = "blue"', "no setting 'colour'"),
    ],
)
async def test_a_file_with_one_mistake_changes_nothing(bad: str, said: str) -> None:
    desk = await Desk().opened()
    good = '[[settings]]\ncollection = "notes"\ndirection = "out"\n'
    await desk.refuses(said, "import", toml=f"{good}[[settings]]\n{bad}\n")


async def test_terms_of_a_collection_that_is_shared_are_settings_of_it() -> None:
    desk = await Desk().opened()
    asked = Asked("notes", "sqlite", "/n.db", direction="out")
    assert await desk.choices.agree("notes", "ada", asked) == ("out", "primary", True)
    assert await desk.kept() == [(Place(collection="notes"), "direction", "out")]
    assert await desk.choices.agree("notes", "ada", asked._replace(direction="", conflicts="merge")) == (
        "out",
        "merge",
        True,
    )
    assert await desk.choices.agree("notes", "ada", asked) == ("out", "merge", False)


# ---------------------------------------------------------------- selection


async def test_a_selection_is_kept_in_its_one_form_and_holds_where_it_was_chosen() -> None:
    desk = await Desk().opened()
    told = await desk.sets("notes.selection", "country=='FR'", device="till")
    french = Selection('country == "FR"')
    assert told["value"] == french.canonical == 'where country == "FR"'
    (chosen,) = desk.in_force
    at = Place(1, "", "notes")
    assert (chosen.selection(at), chosen.selections_apart(at)) == (ALL, {TILL.id: french})
    again = await desk.sets("notes.selection", french.canonical, device="till")
    assert again["changed"] == []
    await desk.sets("notes.selection", 'tables ["note"]')
    assert desk.in_force[-1].selection(at) == Selection(tables=("note",))
    assert (await desk.sets("notes.selection", "all"))["value"] == "all"


async def test_a_selection_fits_each_collection_that_it_is_chosen_for() -> None:
    desk = await Desk().opened()
    for where in ({"device": "till"}, {"user": "ada"}):
        advice = await desk.refuses_to_set("no type has a field 'contry'", "selection", "contry == 'FR'", **where)
        assert advice.splitlines()[1:] == ["  contry == 'FR'", "  ^^^^^^"]
    await desk.refuses_to_set("no type has a field 'total'", "bills.selection", "total > 1")
    await desk.sets("bills.selection", "sum > 1", device="counter")
    await desk.sets("my.photos.selection", "size > 1")  # nothing is known of it yet
    await desk.refuses_to_set("there is no table 'line'", "notes.selection", 'tables ["line"] where total > 1')
    await desk.refuses_to_set("nothing is chosen", "notes.selection", " ")
    await desk.refuses_to_set("no list of names", "notes.selection", 'tables ["\\x"]')
    file = '[[settings]]\ncollection = "notes"\nselection = "contry is None"\n'
    await desk.refuses("no type has a field 'contry'", "import", toml=file)


async def test_what_no_row_can_be_without_is_not_left_out() -> None:
    desk = await Desk().opened()
    refused = "bill.sum cannot be left out: it is NOT NULL and has no default"
    await desk.refuses_to_set(refused, "bills.selection", "without sum")
    await desk.refuses_to_set(refused, "bills.selection", "id > 1 without bill.sum", device="counter")
    told = await desk.sets("notes.selection", "total > 1 without country", device="till")
    assert told["value"] == 'without ["country"] where total > 1'


async def test_there_are_no_more_different_selections_than_the_limit() -> None:
    desk = await Desk(Limits(selections_max=2)).opened()
    await desk.sets("notes.selection", "total > 1", device="till")  # all is the other one
    refused = "3 different selections of notes, there may be 2"
    await desk.database.link((await desk.database.users())[0].id, DESK)
    await desk.refuses_to_set(refused, "notes.selection", "total > 2", device="counter")
    file = '[[settings]]\ncollection = "notes"\ndevice = "counter"\nselection = "total > 2"\n'
    await desk.refuses(refused, "import", toml=file)
    await desk.sets("notes.selection", "1 < total", device="counter")
    await desk.sets("notes.selection", "total > 2")
    await desk.sets("bills.selection", "sum > 1", device="counter")


async def test_selections_are_exported_and_imported() -> None:
    desk = await Desk().opened()
    await desk.sets("notes.selection", 'tables ["note"] where country == "F\\"R" or total > 1', device="till")
    kept, exported = await desk.kept(), str((await desk.asks("export"))["toml"])
    await desk.asks("unset", name="notes.selection", device="till")
    await desk.asks("import", toml=exported)
    assert await desk.kept() == kept


def with_references(desk: Desk, sides: int = 1) -> None:
    sides_of = tuple(DataType(2 + at, f"side{at}", ("id",), ()) for at in range(sides))
    references = tuple(Reference((f"to{at}",), f"side{at}") for at in range(sides))
    note = DataType(1, "note", ("id",), tuple(f"to{at}" for at in range(sides)), references=references)
    desk.types["notes"] = (note, *sides_of)


async def test_a_selection_that_leaves_out_what_its_objects_may_reference_is_warned_of() -> None:
    desk = await Desk().opened()
    with_references(desk)
    assert (await desk.sets("notes.direction", "out"))["warnings"] == []
    assert (await desk.sets("notes.selection", 'tables ["note", "side0"]'))["warnings"] == []
    (warned,) = texts(await desk.sets("notes.selection", 'tables ["note"]'), "warnings")
    assert "add `follow note.to0` at the end, or take all of side0" in warned
    assert (await desk.sets("selection", 'tables ["note"]'))["warnings"] == [warned], "of a user as well"
    assert (await desk.sets("notes.selection", 'tables ["note"] follow note.to0'))["warnings"] == []
    toml = '[[settings]]\ncollection = "notes"\ndevice = "till"\nselection = \'tables ["note"]\'\n'
    assert (await desk.asks("import", toml=toml))["warnings"] == [warned]


async def test_no_more_warnings_are_told_than_may_be() -> None:
    most = Limits().selection_warnings_max
    for sides in (most, most + 1):
        desk = await Desk().opened()
        with_references(desk, sides)
        assert len(texts(await desk.sets("notes.selection", 'tables ["note"]'), "warnings")) == most
