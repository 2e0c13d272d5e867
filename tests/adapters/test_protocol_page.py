"""PROTOCOL.md tells the whole wire: each message, field, refusal code and limit, with the values that are used."""

from __future__ import annotations

import re
from dataclasses import fields
from enum import StrEnum
from pathlib import Path

import pytest

import syncd.adapters
from syncd.adapters.canonical import pack_values
from syncd.core.edits import Direction, Policy, Ruling
from syncd.core.errors import REFUSALS
from syncd.core.messages import Cut, Failed, Made, Objects, Report, Run, Types, Upload, Verdict, Verdicts, Wire
from syncd.core.model import DataType, Kind, Tie
from syncd.core.settings import Limits
from tests.adapters.vectors import BY_NAME, CLASSES

PAGE = (Path(syncd.adapters.__file__).parent / "PROTOCOL.md").read_text(encoding="utf-8")
LIMITS = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", PAGE, re.MULTILINE))
PARTS: dict[type[Wire], tuple[str, ...]] = {
    Types: tuple(field.name for field in fields(DataType) if field.name != "references"),  # they do not travel
    Objects: (*Run._fields, *Tie._fields, *(field.name for field in fields(Cut))),
    Report: tuple(field.name for field in fields(Failed)),
    Upload: Made._fields,
    Verdicts: tuple(field.name for field in fields(Verdict)),
}


def section(kind: str) -> str:
    """What the page says of one message."""
    found = re.search(rf"^### {kind} — .*?(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"PROTOCOL.md has no section on {kind}"
    return found.group()


@pytest.mark.parametrize("kind", CLASSES)
def test_each_field_of_each_message_is_told(kind: str) -> None:
    cls, text = CLASSES[kind], section(kind)
    names = (*(field.name for field in fields(cls)), *PARTS.get(cls, ()))
    assert [name for name in names if f"`{name}`" not in text] == []


def test_each_kind_of_generic_message_is_told() -> None:
    text = section("objects")
    assert all(f"{kind.value} {kind.name.lower()}" in text for kind in Kind)


def test_each_kind_of_edit_is_told() -> None:
    text = section("upload")
    assert all(f"{kind.value} {kind.name.lower()}" in text for kind in (Kind.ADD, Kind.MODIFY, Kind.DELETE))


@pytest.mark.parametrize("values", [Direction, Policy, Ruling], ids=lambda values: values.__name__)
def test_each_direction_policy_and_ruling_is_told(values: type[StrEnum]) -> None:
    text = section("terms") + section("verdicts")
    assert [value for value in values if f"`{value}`" not in text] == []


def test_each_refusal_code_is_told() -> None:
    assert [code for code in REFUSALS if f"`{code}`" not in PAGE] == []


def test_the_limits_told_are_those_that_are_used() -> None:
    limits = Limits()
    assert len(LIMITS) > 10
    assert {name: float(value) for name, value in LIMITS.items()} == {name: getattr(limits, name) for name in LIMITS}


def test_each_limit_that_is_mentioned_is_told() -> None:
    names = {field.name for field in fields(Limits)}
    mentioned = set(re.findall(r"`(\w+)`", PAGE)) & names
    assert mentioned == LIMITS.keys()


def test_the_example_is_the_golden_vector() -> None:
    example = re.search(r"^    83 a4 .*\n.*", PAGE, re.MULTILINE)
    assert example
    assert bytes.fromhex("".join(example.group().split())) == BY_NAME["credit"].frames["msgpack"]


@pytest.mark.parametrize(
    ("values", "header"),
    [
        ([0], "00"),
        ([127], "7f"),
        ([128], "cc"),
        ([65536], "ce"),
        ([2**63 - 1], "cf"),
        ([-1], "ff"),
        ([-(2**63)], "d3"),
        ([1.0], "cb"),
        ([None], "c0"),
        ([""], "a0"),
        ([b""], "c4"),
    ],
)
def test_canonical_forms_are_those_of_the_table(values: list[int], header: str) -> None:
    assert pack_values(values)[:2].hex() == "91" + header
