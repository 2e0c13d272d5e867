"""What a device that takes a selection holds of an object: all of it, less of it, or nothing."""

from __future__ import annotations

import pytest

from syncd.adapters.canonical import Value, pack_values
from syncd.core.errors import UserError
from syncd.core.model import DataType, Reference
from syncd.core.selection import ALL, Selection
from syncd.views import Seen, View

PERSON = DataType(1, "person", ("id",), ("name", "photo"))
TAG = DataType(2, "tag", ("id",), ("word",))
TYPES = (PERSON, TAG)


def seen(type_: int, *fields: Value) -> Seen:
    return Seen(type_, pack_values([7]), pack_values(fields))


@pytest.mark.parametrize(
    ("selection", "object_", "held"),
    [
        (ALL, seen(1, "ada", b"x"), ("ada", b"x")),
        (ALL, seen(9, "of a table that is gone"), ("of a table that is gone",)),
        (None, seen(1, "ada", b"x"), None),
        (Selection('name == "ada"'), seen(1, "ada", b"x"), ("ada", b"x")),
        (Selection('name == "ada"'), seen(1, "bob", b"x"), None),
        (Selection(tables=("tag",)), seen(1, "ada", b"x"), None),
        (Selection(tables=("tag",)), seen(2, "red"), ("red",)),
        (Selection(without=("photo",)), seen(1, "ada", b"x"), ("ada",)),
        (Selection(without=("photo",)), seen(2, "red"), ("red",)),
    ],
)
def test_what_is_held_is_what_the_selection_takes(
    selection: Selection | None, object_: Seen, held: tuple[Value, ...] | None
) -> None:
    assert View(selection, TYPES).held(object_) == (None if held is None else pack_values(held))


def test_what_cannot_be_asked_is_not_known() -> None:
    view = View(Selection('name == "ada"'), TYPES)
    assert view.takes(Seen(1, pack_values([7]), b"")) is None
    assert view.takes(seen(1, "of other columns")) is None
    assert View(Selection(tables=("person",)), TYPES).takes(Seen(1, pack_values([7]), b"")) is True


SALE = DataType(3, "sale", ("id",), ("country", "person"), references=(Reference(("person",), "person"),))
FRENCH = Selection('country == "FR"', follow=("sale.person",))


def test_what_depends_on_others_is_not_known() -> None:
    view = View(FRENCH, (*TYPES, SALE))
    assert view.takes(seen(1, "ada", b"x")) is None
    assert view.takes(seen(2, "red")) is False
    assert [view.takes(seen(3, country, 1)) for country in ("FR", "DE")] == [True, False]
    named = View(Selection('name == "ada"', follow=FRENCH.follow), (*TYPES, SALE))
    assert [named.takes(seen(1, name, b"x")) for name in ("ada", "bob")] == [True, None]


def test_what_follows_references_cannot_be_foreseen() -> None:
    with pytest.raises(UserError, match="references: that cannot be foreseen"):
        View(FRENCH, (*TYPES, SALE)).held(seen(3, "FR", 1))
