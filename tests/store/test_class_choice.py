"""Many objects asked at once are answered as they are one by one (R8)."""

from __future__ import annotations

import random

import pytest

from syncd.adapters.canonical import Value, pack_values
from syncd.core.model import DataType
from syncd.core.selection import Selection
from syncd.store import class_choice
from syncd.store.answered import Answered
from syncd.store.class_choice import Choice, ObjectRow, portions, values_of

ITEM = DataType(1, "item", ("id",), ("country", "total"))
PLACE = DataType(2, "place", ("id", "part"), ("country",))
SELECTIONS = (
    Selection(),
    Selection('country == "FR"'),
    Selection('type == "item" and total >= 2'),
    Selection('country == "FR"', tables=("item",)),
    Selection(keys=("item/1*",)),
    Selection('country == "FR"', keys=("item/*", "!item/3")),
)


def row(chance: random.Random, change: int) -> ObjectRow:
    type_ = chance.choice((1, 1, 1, 2, 3))
    key: list[Value] = [change] if type_ != 2 else [change, "x"]
    values: list[Value] = [chance.choice(("FR", "DE", None)), chance.randrange(4)]
    fields = values if type_ == 1 else values[:1]
    return change, type_, pack_values(key), pack_values(fields), ""


@pytest.mark.parametrize("selection", SELECTIONS, ids=str)
def test_together_as_one_by_one(selection: Selection) -> None:
    chance = random.Random(5)
    choice = Choice(selection, (ITEM, PLACE))
    for _ in range(50):
        rows = [row(chance, at) for at in range(chance.randrange(30))]
        assert choice.takes_each(rows) == [
            choice.takes(type_, values_of(key, fields, fault), False) for _, type_, key, fields, fault in rows
        ]


@pytest.mark.parametrize(
    "odd", [(9, 1, pack_values([9]), b"", "cannot be read"), (9, 1, pack_values([9]), pack_values(["FR"]), "")]
)
def test_what_must_be_looked_at_alone_is_not_answered_together(odd: ObjectRow) -> None:
    choice = Choice(Selection('country == "FR"'), (ITEM, PLACE))
    assert choice.takes_each([row(random.Random(1), 1), odd]) is None
    assert Choice(Selection(), (ITEM, PLACE)).takes_each([odd]) == [True]


def test_portions_are_of_at_least_one_object_and_end_at_their_bound() -> None:
    most = class_choice._TOGETHER_BYTES_MAX
    rows = [(at, 1, b"", bytes(size), "") for at, size in enumerate((most - 1, 1, most, 5 * most, 1))]
    assert [[one[0] for one in some] for some in portions(rows)] == [[0, 1], [2], [3], [4]]
    assert [*portions(iter(rows[:0]))] == []


def test_what_was_answered_is_known_by_change() -> None:
    answered = Answered()
    assert not answered
    answered.note([1, 5_000, 2], [True, False, False])
    assert answered
    assert answered.of([5_000, 1]) == [False, True]
    assert answered.of([1, 3]) is None
    assert answered.of([]) == []
    answered.forget()
    assert answered.of([1]) is None


def test_answers_beyond_their_bound_are_forgotten_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.store.answered._BLOCKS_MAX", 2)
    answered = Answered()
    answered.note([0, 4_096, 8_192], [True, True, True])
    assert answered.of([0, 4_096]) == [True, True]
    assert answered.of([8_192]) is None
