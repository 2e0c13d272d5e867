"""Selections: one canonical form each, compiled for the types of a collection (R8)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.core.errors import ExpressionError
from syncd.core.model import DataType
from syncd.core.selection import ALL, Selection, chooser, read_chosen, read_selection, selection_for
from tests.core.expression_kit import expressions

CUSTOMER = DataType(1, "Customer", ("id",), ("name", "country", "photo"), ("CREATE TABLE Customer",))
INVOICE = DataType(2, "Invoice", ("id",), ("customer", "total"))
LINE = DataType(3, "Line", ("invoice", "number"), ("total", "photo"))
TYPES = (CUSTOMER, INVOICE, LINE)


def names(selection: Selection) -> list[str]:
    return [one.name for one in selection.of_types(TYPES)]


def test_nothing_set_takes_all() -> None:
    assert Selection() == ALL == read_selection("all")
    assert ALL.canonical == "all"
    assert ALL.takes("Anything")
    assert ALL.of_types(list(TYPES)) == TYPES
    made = chooser(ALL, TYPES)
    assert [made.answer(one.id) for one in TYPES] == [True] * 3
    assert made.takes(1, [1], ["Anna", None, b""])
    assert not made.takes(9, [1], [])
    assert made.sql(1) == ("1", ())


def test_the_same_selection_in_other_words_is_the_same_class() -> None:
    one = Selection("total>5 and country=='FR'", ("Line", "Customer"), ("photo", "name"), ("Line/1 ", "", "# ours"))
    other = Selection("country == 'FR' and 5 < total", ("Customer", "Line", "Line"), ("name", "photo"), ("Line/1",))
    assert one == other
    assert hash(one) == hash(other)
    assert one.digest == other.digest
    assert len(one.digest) == 16
    assert one.canonical == (
        'tables ["Customer", "Line"] without ["name", "photo"] keys ["Line/1"] where country == "FR" and total > 5'
    )
    assert replace(one, where="").canonical == one.canonical.split(" where ")[0]
    assert one.digest != replace(one, where="").digest


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(st.just(""), expressions.map(lambda one: one.source)),
    *[st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), max_size=3)] * 2,
    st.lists(st.sampled_from(["a", "!b", "Line/1\\ ", '"', "ü\u00a0x", "] where "]), max_size=3),
)
def test_the_canonical_form_is_one_line_that_reads_back(
    where: str, tables: list[str], without: list[str], keys: list[str]
) -> None:
    made = Selection(where, tuple(tables), tuple(without), tuple(keys))
    assert read_selection(made.canonical) == made
    assert len(made.canonical.splitlines()) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "none", "all ", "where ", "where a==1", "tables []", 'tables ["b", "a"]', 'keys ["a"] tables ["a"]'),
        "[" * 9_999,
    ],
)
def test_what_is_no_canonical_form_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        read_selection(text)


@pytest.mark.parametrize(
    ("selection", "told"),
    [
        (Selection(tables=("Invoice",)), ["Invoice"]),
        (Selection("country == 'FR'"), ["Customer"]),
        (Selection("type != 'Line'"), ["Customer", "Invoice"]),
        (Selection("total > 1", ("Customer", "Line")), ["Line"]),
        (Selection(keys=("!Invoice",)), ["Customer", "Line"]),
        (Selection(keys=("Line/1/*",)), ["Line"]),
    ],
)
def test_a_type_of_which_nothing_can_be_taken_is_never_told(selection: Selection, told: list[str]) -> None:
    selection.check(TYPES)
    assert names(selection) == told


def test_an_object_is_taken_if_each_part_takes_it() -> None:
    made = chooser(Selection("total >= 10", ("Line",), keys=("!Line/1",)), TYPES)
    assert [made.answer(one.id) for one in TYPES] == [False, False, None]
    assert made.takes(3, (2, 1), (10, b""))
    assert not made.takes(3, (2, 1), (9, b""))
    assert not made.takes(3, (1, 1), (10, b""))
    assert not made.takes(2, (2,), (1, 10))
    assert made.sql(3) == ('+"Line"."total" COLLATE BINARY >= ?', (10,))
    assert made.sql(2) == ("0", ())


def test_fields_left_out_are_neither_told_nor_kept() -> None:
    selection = Selection("photo is None", without=("photo", "Customer.country"))
    selection.check(TYPES)
    made = chooser(selection, TYPES)
    assert [one.fields for one in made.types] == [("name",), ("customer", "total"), ("total",)]
    assert made.types[0] == replace(CUSTOMER, id=made.told(1), fields=("name",))
    assert (made.told(1) > 2**31, made.told(2), made.types[2].id) == (True, 2, made.told(3))
    assert made.narrow() == {made.told(1): (1, (0,)), made.told(3): (3, (0,))}
    assert selection.of_types(TYPES) == made.types
    assert [made.leaves_out(one.id) for one in TYPES] == [True, False, True]
    assert made.takes(1, (1,), ("Anna", "FR", None)), "what is left out can still be asked"
    assert made.project(1, ("Anna", "FR", None)) == ("Anna",)
    assert made.project(2, (7, 10)) == (7, 10)
    everything = chooser(Selection(without=CUSTOMER.fields), TYPES)
    assert everything.project(1, ("Anna", "FR", None)) == ()
    assert chooser(Selection(without=("Customer.name",)), TYPES).project(1, ("Anna", "FR", 1)) == ("FR", 1)


def test_a_selection_is_compiled_once_for_the_same_types() -> None:
    assert chooser(Selection("total > 1"), TYPES) is chooser(Selection("1 < total"), tuple(TYPES))


def test_a_field_that_has_gone_since_is_absent() -> None:
    assert names(Selection("gone == 1")) == []
    assert names(Selection("gone is None")) == ["Customer", "Invoice", "Line"]


@pytest.mark.parametrize(
    ("selection", "text"),
    [
        (Selection("contry == 'FR'"), "no type has a field 'contry'"),
        (Selection(tables=("Invoices",)), "there is no table 'Invoices'"),
        (Selection(without=("foto",)), "no table has a field 'foto'"),
        (Selection(without=("Invoice.photo",)), "no table has a field 'Invoice.photo'"),
        (Selection(without=("id",)), "'id' is part of the key of Customer"),
        (Selection(without=("Line.number",)), "'Line.number' is part of the key of Line"),
    ],
)
def test_what_does_not_fit_the_collection_is_named(selection: Selection, text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        selection.check(TYPES)
    assert caught.value.text == text
    assert caught.value.advice


def test_a_mistake_is_shown_in_what_the_person_wrote() -> None:
    wanted = Selection(tables=("Customer",))
    made = selection_for(TYPES, wanted, "name=='A'   and country=='FR'")
    assert made == Selection("country == 'FR' and name == 'A'", ("Customer",))
    assert selection_for(TYPES, wanted, " ") == wanted
    with pytest.raises(ExpressionError) as caught:
        selection_for(TYPES, wanted, "total>1 and   contry=='FR'")
    assert caught.value.advice.endswith("\n  total>1 and   contry=='FR'\n                ^^^^^^")
    with pytest.raises(ExpressionError, match="there is no table 'X'"):
        selection_for(TYPES, Selection(tables=("X",)), "total > 1")


@pytest.mark.parametrize("wrong", [{"where": "a ="}, {"keys": ("a[",)}, {"tables": ("\ud800",)}])
def test_what_cannot_be_read_is_no_selection(wrong: dict[str, object]) -> None:
    with pytest.raises(ExpressionError):
        Selection(**wrong)  # type: ignore[arg-type]


# ---------------------------------------------------------------- what a person writes


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("without photo", Selection(without=("photo",))),
        ("all without photo", Selection(without=("photo",))),
        (
            'country == "FR" without photo, Customer.country',
            Selection('country == "FR"', without=("photo", "Customer.country")),
        ),
        ("without photo where total > 1", Selection("total > 1", without=("photo",))),
        ('tables ["Line"] without photo keys ["!Line/1"]', Selection("", ("Line",), ("photo",), ("!Line/1",))),
        ('without ["photo", "Line.total"] where total > 1', Selection("total > 1", without=("photo", "Line.total"))),
        ('without "two words", Line."odd, one"', Selection(without=("two words", "Line.odd, one"))),
        ("without a without b", Selection(without=("a", "b"))),
        ("name == 'x without photo'", Selection("name == 'x without photo'")),
        ("without == 1 and not without in (2, 3)", Selection("without == 1 and not without in (2, 3)")),
        ("a == 1 and without is None", Selection("a == 1 and without is None")),
        ("all", ALL),
    ],
)
def test_fields_are_left_out_by_a_word_beside_what_is_taken(text: str, made: Selection) -> None:
    assert read_chosen(text) == made
    assert read_chosen(made.canonical) == made


@pytest.mark.parametrize("text", ["without", "total > 1 without", "without photo,", "without photo, where x > 1"])
def test_without_any_field_is_a_mistake(text: str) -> None:
    with pytest.raises(ExpressionError):
        read_chosen(text)


def test_what_devices_call_a_type_says_which_fields_it_has() -> None:
    """Edits that were made with others left out are not taken for those of this selection."""
    told = {Selection(without=one).told_id(7) for one in (("a",), ("b",), ("a", "b"))}
    assert len(told) == 3
    assert all(2**31 < one < 2**53 for one in told)
    assert Selection("x > 1", without=("a",)).told_id(7) in told
    assert Selection(without=("a",)).told_id(8) > Selection(without=("a",)).told_id(7)
