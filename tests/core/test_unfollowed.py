"""Which foreign keys lead out of a selection, from the types and the selection alone (R7, R8)."""

from __future__ import annotations

import pytest

from syncd.core.model import DataType, Reference
from syncd.core.selection import ALL, read_chosen
from syncd.core.unfollowed import unfollowed, warning

TYPES = (
    DataType(1, "customer", ("id",), ("country", "rep"), references=(Reference(("rep",), "employee"),)),
    DataType(2, "employee", ("id",), ("boss",), references=(Reference(("boss",), "employee"),)),
    DataType(3, "invoice", ("id",), ("customer", "total"), references=(Reference(("customer",), "customer"),)),
    DataType(4, "seat", ("row", "at"), ("free",)),
    DataType(
        5,
        "ticket",
        ("id",),
        ("row", "at", "elsewhere"),
        references=(Reference(("row", "at"), "seat"), Reference(("elsewhere",), "not shared")),
    ),
)


def leads_out(text: str) -> list[str]:
    return [f"{one.column}{'' if one.some else '!'}" for one in unfollowed(read_chosen(text, TYPES), TYPES)]


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("all", []),
        ('tables ["customer", "employee", "invoice"]', []),
        ('tables ["invoice"]', ["invoice.customer!"]),
        ('tables ["invoice"] follow invoice.customer', ["customer.rep!"]),
        ('tables ["invoice"] follow invoice.customer, customer.rep', ["employee.boss"]),
        ('tables ["invoice"] follow invoice.customer, customer.rep, employee.boss', []),
        ('type != "customer" or country == "FR"', ["invoice.customer"]),
        ("total > 5", ["invoice.customer!"]),
        ("total > 5 without customer", []),
        ('keys ["customer/*", "employee/*", "!employee/1"]', ["customer.rep", "employee.boss"]),
        ('tables ["ticket"]', ["ticket.row!"]),
        ('tables ["ticket"] follow ticket.at', []),
        ('tables ["seat"]', []),
    ],
)
def test_what_a_taken_object_may_name_and_is_not_taken(text: str, columns: list[str]) -> None:
    assert leads_out(text) == columns


def test_what_leaves_nothing_out_is_not_looked_at() -> None:
    assert unfollowed(ALL, TYPES) == []


def warned(text: str) -> str:
    return warning("shop", unfollowed(read_chosen(text, TYPES), TYPES)[0])


def test_the_warning_says_what_to_follow_and_what_to_take() -> None:
    assert warned('tables ["invoice"]') == (
        "shop: invoice.customer references customer, of which none is taken: a device refuses what references one, and"
        " what came with it; add `follow invoice.customer` at the end, or take all of customer"
    )


def test_where_some_are_taken_they_may_be_all_that_are_referenced() -> None:
    assert warned('type != "customer" or country == "FR"') == (
        "shop: invoice.customer references customer, of which just some are taken: unless these are all that are"
        " referenced, a device refuses what references another, and what came with it; add `follow invoice.customer` at"
        " the end, or take all of customer"
    )
