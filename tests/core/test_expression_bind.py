"""Expressions and the types of a collection: unknown names, fields that only some types have, what is never asked."""

from __future__ import annotations

import pytest

from syncd.core.errors import ExpressionError
from syncd.core.expression import compiled, parse
from syncd.core.model import DataType

CUSTOMER = DataType(1, "Customer", ("id",), ("name", "country"))
INVOICE = DataType(2, "Invoice", ("id",), ("customer", "total"))
TYPES = (CUSTOMER, INVOICE)


@pytest.mark.parametrize(
    ("source", "mistake", "text", "advice"),
    [
        (
            "contry == 'FR'",
            "contry",
            "no type has a field 'contry'",
            "the fields are country, customer, id, ",
        ),
        ("total > 1 and Country == 'FR'", "Country", "no type has a field 'Country'", "write country"),
        ("lower(nam) == 'a'", "nam", "no type has a field 'nam'", "the fields are"),
        ("country == nam", "nam", "no type has a field 'nam'", "the fields are"),
        ("field('a b') is None", "'a b'", "no type has a field 'a b'", "the fields are"),
        ("type == 'Custmer'", "'Custmer'", "there is no type 'Custmer'", "the types are Customer, Invoice"),
        ("type not in ('Invoice', 'customer')", "'customer'", "there is no type 'customer'", "write Customer"),
        ("not 'X' != type", "'X'", "there is no type 'X'", "the types are"),
    ],
)
def test_a_name_that_no_type_has_is_a_mistake(source: str, mistake: str, text: str, advice: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source).check(TYPES)
    assert caught.value.text == text
    assert caught.value.advice.startswith(advice)
    assert source[caught.value.start : caught.value.end] == mistake


def test_fields_keys_and_types_of_any_type_of_the_collection_are_known() -> None:
    parse("id > 1 and country == 'FR' and total > 1 and type == 'Invoice' and like(type, 'X%')").check(TYPES)


@pytest.mark.parametrize(
    ("source", "customers", "invoices"),
    [
        ("country == 'FR'", None, False),
        ("country != 'FR'", None, False),
        ("not country == 'FR'", None, False),
        ("country in ('FR', 'DE')", None, False),
        ("country not in ('FR', 'DE')", None, False),
        ("not like(country, 'F%')", None, False),
        ("length(country) > 1", None, False),
        ("country is None", None, True),
        ("country is not None", None, False),
        ("country == total", False, False),
        ("type == 'Invoice' or country == 'FR'", None, True),
        ("type != 'Invoice' and country == 'FR'", None, False),
        ("type in ('Customer', 'Invoice')", True, True),
        ("startswith(type, 'Inv')", False, True),
        ("type == 'Invoice' and total > 5", False, None),
        ("type is not None", True, True),
        ("id > 5", None, None),
    ],
)
def test_a_field_that_a_type_lacks_is_none_there(source: str, customers: bool | None, invoices: bool | None) -> None:
    for type_, answer in ((CUSTOMER, customers), (INVOICE, invoices)):
        made = compiled(parse(source), type_)
        assert made.constant is answer
        if answer is not None:
            assert made.test((1, None, None)) is answer
            assert made.sql == (str(int(answer)), ())
