"""Versions of objects as people read and edit them: exact, bounded, and with the place of each mistake."""

from __future__ import annotations

import json
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd import versions
from syncd.adapters.canonical import Value, pack_values, unpack_values
from syncd.core.errors import UserError
from syncd.core.model import DataType, ObjectId
from syncd.core.status import Json

NOTE = DataType(1, "note", ("id",), ("title", "body"))
ONE = ObjectId("note", pack_values([7]))
VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
)


def packed(*values: Value) -> bytes:
    return pack_values(values)


@given(VALUES)
def test_each_value_comes_back_as_it_was(value: Value) -> None:
    again = versions.read(json.loads(json.dumps(versions.shown(value))), "here")
    assert pack_values([again]) == pack_values([value])


@pytest.mark.parametrize("given_", [True, 2**63, {"hex": "0"}, {"hex": "zz"}, {"real": "nan"}, [], {}, {"hex": 1}])
def test_what_is_no_value_is_refused_with_its_place(given_: object) -> None:
    with pytest.raises(UserError, match=r"^there: ") as caught:
        versions.read(given_, "there")
    assert caught.value.advice


def test_an_object_is_shown_field_by_field_in_all_its_versions() -> None:
    line = versions.line(NOTE, ONE, {"base": packed("milk", None), "ours": None, "theirs": packed("milk", b"\xff")})
    assert line == {
        "type": "note",
        "key": "[7]",
        "there": {"base": True, "ours": False, "theirs": True},
        "fields": [
            {"name": "title", "base": "milk", "ours": None, "theirs": "milk"},
            {"name": "body", "base": None, "ours": None, "theirs": {"hex": "ff"}},
        ],
    }


def test_a_long_value_is_cut_and_says_how_long_it_is() -> None:
    assert versions.shown("é" * (versions.LONG + 1)) == {"cut": "é" * versions.LONG, "bytes": 2 * versions.LONG + 2}
    assert versions.shown(b"\0" * (versions.LONG + 1)) == {
        "cut": "00" * (versions.LONG // 2),
        "bytes": versions.LONG + 1,
    }


def test_versions_of_other_columns_have_their_numbers_for_names() -> None:
    line = versions.line(NOTE, ONE, {"base": packed(1, 2, 3)})
    fields = line["fields"]
    assert isinstance(fields, list)
    assert [one["name"] for one in fields] == ["column 1", "column 2", "column 3"]
    with pytest.raises(UserError, match="the columns of note have changed since"):
        versions.edited(NOTE, line | {"there": {"base": True}}, "base", packed(1, 2, 3), "here")


def shown(usual: bytes | None) -> Json:
    line: Json = json.loads(json.dumps(versions.line(NOTE, ONE, {"result": usual})))
    return line


@given(st.none() | st.tuples(VALUES, VALUES))
def test_what_nobody_edited_is_as_it_was(values: tuple[Value, Value] | None) -> None:
    usual = None if values is None else packed(*values)
    assert versions.edited(NOTE, shown(usual), "result", usual, "here") == usual


def test_an_edited_field_is_taken_over_and_a_cut_one_left() -> None:
    long = "x" * (versions.LONG + 1)
    line = shown(packed("milk", long))
    fields = line["fields"]
    assert isinstance(fields, list)
    fields[0]["result"] = "bread"
    assert versions.edited(NOTE, line, "result", packed("milk", long), "here") == packed("bread", long)


def test_an_object_is_deleted_and_made_by_saying_whether_it_is_there() -> None:
    there = shown(packed("milk", None))
    assert versions.edited(NOTE, there | {"there": {"result": False}}, "result", packed("milk", None), "here") is None
    gone = shown(None) | {"there": {"result": True}, "fields": [{"name": "body", "result": "new"}]}
    made = versions.edited(NOTE, gone, "result", None, "here")
    assert made is not None
    assert unpack_values(made) == [None, "new"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fields": [{"name": "titel", "result": 1}]}, r"sides\[3\].fields\[0\]: note has no column 'titel'"),
        ({"fields": [{"name": "body", "result": []}]}, r"sides\[3\].fields\[0\].result \(body\): \[\] is no value"),
        ({"fields": [{"result": 1}]}, r"sides\[3\].fields\[0\] names no field"),
        ({"fields": [7]}, r"sides\[3\].fields\[0\] names no field"),
        ({"fields": {}}, r"sides\[3\].fields is no list"),
        ({"there": {"result": 1}}, r"sides\[3\].there.result is no true or false"),
        ({"there": None}, r"sides\[3\].there.result is no true or false"),
    ],
)
def test_a_mistake_in_an_edited_version_is_named_by_its_place(change: Json, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        versions.edited(NOTE, shown(packed("milk", None)) | change, "result", packed("milk", None), "sides[3]")
    assert caught.value.advice


def test_two_versions_differ_in_the_fields_that_are_not_the_same_to_the_type() -> None:
    assert versions.differences(NOTE, packed(1, "x"), packed(1.0, "x"), 10) == [
        {"name": "title", "before": 1, "after": 1.0}
    ]
    assert versions.differences(NOTE, None, packed(None, inf), 10) == [
        {"name": "body", "before": None, "after": {"real": "inf"}}
    ]
    assert versions.differences(NOTE, packed(1, "x"), packed(1, "x"), 10) == []
