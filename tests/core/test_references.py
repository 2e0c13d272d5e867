"""References that a selection follows: how they are written, which foreign keys they are, and what is reached (R8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.core.errors import ExpressionError
from syncd.core.model import DataType, Reference
from syncd.core.references import Followed, Object, followed, settle, split_follow
from syncd.core.selection import ALL, Selection, chooser, read_chosen, read_selection

CUSTOMER = DataType(1, "Customer", ("id",), ("country", "rep"), references=(Reference(("rep",), "Employee"),))
EMPLOYEE = DataType(2, "Employee", ("id",), ("boss",), references=(Reference(("boss",), "Employee"),))
INVOICE = DataType(
    3,
    "Invoice",
    ("id",),
    ("country", "customer", "shop", "till"),
    references=(
        Reference(("customer",), "Customer"),
        Reference(("shop", "till"), "Till"),
        Reference(("shop",), "NotShared"),
    ),
)
TILL = DataType(4, "Till", ("shop", "number"), ("name",))
TYPES = (CUSTOMER, EMPLOYEE, INVOICE, TILL)


@pytest.mark.parametrize(
    ("written", "rest", "names"),
    [
        ('country == "FR" follow Invoice.customer', 'country == "FR"', ("Invoice.customer",)),
        ("total > 1 follow A.b ,C.d\t", "total > 1", ("A.b", "C.d")),
        ('tables ["Invoice"] follow Invoice.customer', 'tables ["Invoice"]', ("Invoice.customer",)),
        ('name == "a follow B.c"', 'name == "a follow B.c"', ()),
        ("follow == 3", "follow == 3", ()),
        ("a == follow and b == 1", "a == follow and b == 1", ()),
        ("a == follow", "a == follow", ()),
        ("all", "all", ()),
    ],
)
def test_what_is_followed_is_written_at_the_end(written: str, rest: str, names: tuple[str, ...]) -> None:
    assert split_follow(written) == (rest, names)


@pytest.mark.parametrize("end", ["Invoice", "Invoice.a, b", "Invoice.a and b", "Invoice.a,"])
def test_what_names_no_field_of_a_table_is_marked(end: str) -> None:
    with pytest.raises(ExpressionError, match="names no foreign key") as error:
        read_chosen(f'country == "FR" follow {end}')
    assert error.value.start == len('country == "FR" follow ')


def test_a_selection_that_follows_has_one_canonical_form() -> None:
    made = read_chosen('country=="FR" follow Invoice.customer, Customer.rep', TYPES)
    assert made.canonical == 'follow ["Customer.rep", "Invoice.customer"] where country == "FR"'
    assert read_selection(made.canonical) == made == read_chosen(made.canonical, TYPES)
    assert made != Selection('country == "FR"')


@pytest.mark.parametrize(
    ("follow", "said"),
    [
        ("Invoice.nothing", "there is no field 'Invoice.nothing'"),
        ("Nothing.customer", "there is no field 'Nothing.customer'"),
        ("Invoice.country", "'Invoice.country' is no foreign key that holds the primary key of a shared table"),
    ],
)
def test_what_is_no_foreign_key_is_refused_at_once(follow: str, said: str) -> None:
    with pytest.raises(ExpressionError, match=said):
        read_chosen(f'country == "FR" follow {follow}', TYPES)


def test_the_advice_names_what_can_be_followed() -> None:
    with pytest.raises(ExpressionError) as error:
        read_chosen('country == "FR" follow Invoice.country', TYPES)
    assert "Customer.rep, Employee.boss, Invoice.customer, Invoice.shop" in error.value.advice


def test_to_follow_from_everything_is_no_choice() -> None:
    with pytest.raises(ExpressionError, match="nothing is chosen"):
        read_chosen("follow Invoice.customer", TYPES)
    assert read_chosen("all", TYPES) == ALL


def test_foreign_keys_are_found_by_each_of_their_columns() -> None:
    assert followed(["Invoice.customer"], TYPES) == {3: (Followed((2,), 1),)}
    assert followed(["Invoice.shop"], TYPES) == followed(["Invoice.till", "Invoice.shop"], TYPES)
    assert followed(["Invoice.shop", "Invoice.nothing"], TYPES) == {3: (Followed((3, 4), 4),)}


def test_a_device_is_told_the_tables_that_references_lead_to() -> None:
    made = chooser(Selection(tables=("Invoice",), follow=("Invoice.customer",)), TYPES)
    assert [one.name for one in made.types] == ["Customer", "Invoice"]
    assert (made.answer(1), made.answer(2), made.answer(3)) == (False, False, True)
    assert not made.takes(1, [1], ["FR", 2])
    assert made.sql(1) == ("0", ())


# ---------------------------------------------------------------- what a batch changes

Links = dict[Object, tuple[bool, tuple[Object, ...]]]  # whether it is taken by itself, and what it references
THINGS: list[Object] = [(1, bytes([number])) for number in range(7)]
links = st.tuples(st.booleans(), st.lists(st.sampled_from(THINGS), max_size=2).map(tuple))
batches = st.lists(st.dictionaries(st.sampled_from(THINGS), st.none() | links, max_size=3), max_size=12)


def reached(links: Links) -> set[Object]:
    """The class by its definition."""
    members: set[Object] = set()
    queue = [one for one, (own, _) in links.items() if own]
    while queue:
        one = queue.pop()
        if one in links and one not in members:
            members.add(one)
            queue += links[one][1]
    return members


@dataclass
class World:
    """``asked``: how often anything was looked up."""

    links: Links = field(default_factory=dict)
    members: set[Object] = field(default_factory=set)
    recorded: dict[Object, tuple[Object, ...]] = field(default_factory=dict)
    asked: int = 0

    def is_member(self, one: Object) -> bool:
        self.asked += 1
        return one in self.members

    def is_there(self, one: Object) -> bool:
        self.asked += 1
        return one in self.links

    def is_own(self, one: Object) -> bool:
        return self.links[one][0]

    def targets(self, one: Object) -> Iterable[Object]:
        return self.recorded.get(one, ())

    def referrers(self, one: Object) -> Iterable[Object]:
        for by, targets in self.recorded.items():
            if one in targets:
                yield by

    def record(self, one: Object) -> None:
        self.recorded[one] = self.links[one][1]

    def forget(self, one: Object) -> None:
        self.recorded.pop(one, None)

    def change(self, batch: dict[Object, tuple[bool, tuple[Object, ...]] | None]) -> None:
        for one, after in batch.items():
            self.links.pop(one, None)
            if after is not None:
                self.links[one] = after
        entered, left = settle(self, list(batch))
        assert not self.members & set(entered)
        assert set(left) <= self.members
        self.members = (self.members - set(left)) | set(entered)


@settings(max_examples=500, deadline=None)
@given(batches)
def test_members_are_what_is_taken_and_what_that_references(
    batches: list[dict[Object, tuple[bool, tuple[Object, ...]] | None]],
) -> None:
    world = World()
    for batch in batches:
        world.change(batch)
        assert world.members == reached(world.links)
        assert world.recorded == {one: world.links[one][1] for one in world.members}


def test_a_change_costs_what_it_reaches_and_not_the_class() -> None:
    world = World()
    hub = (2, b"hub")
    world.change({hub: (False, ())} | {(1, bytes([number])): (True, (hub,)) for number in range(200)})
    assert hub in world.members
    world.asked = 0
    world.change({hub: (False, ()), (1, b"\x00"): None, (1, b"\x01"): (True, ())})
    assert hub in world.members
    assert world.asked < 30
