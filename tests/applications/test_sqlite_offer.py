"""All that a target holds is offered to the primary, parents before the rows that refer to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.adapters.canonical import unpack_values
from syncd.core.model import DataType
from tests.applications.writing import Row, local, table

pytestmark = [pytest.mark.asyncio, pytest.mark.usefixtures("wal")]


def of(number: int, name: str, *parents: str) -> DataType:
    references = ", ".join(f"{parent} REFERENCES {parent}(id)" for parent in parents)
    return table(number, name, f"id INTEGER PRIMARY KEY{references and ', '}{references}", ("id",), parents)


@pytest.mark.parametrize(
    ("types", "order"),
    [
        ((of(1, "a"), of(2, "b"), of(3, "c")), "abc"),
        ((of(1, "a", "b"), of(2, "b", "c"), of(3, "c")), "cba"),
        ((of(1, "a", "c"), of(2, "b"), of(3, "c", "c")), "bca"),
        ((of(1, "a", "b"), of(2, "b", "a"), of(3, "c", "a")), "abc"),
        ((of(1, "a", "gone"), of(2, "b", "a")), "ab"),
    ],
    ids=["no references", "a chain", "to itself", "a ring", "to another collection's"],
)
async def test_parents_are_offered_first(path: Path, types: tuple[DataType, ...], order: str) -> None:
    rows = [Row(one.name, (number,), (None,) * len(one.fields)) for one in types for number in range(3)]
    async with local(path, types[0], *rows, others=types[1:]) as here:
        names, offered = {one.id: one.name for one in types}, list[tuple[str, int]]()
        page, after = await here.target.offer(None, 2)
        while after is not None:
            offered += [(names[edit.type], int(str(unpack_values(edit.key)[0]))) for edit in page.edits]
            page, after = await here.target.offer(after, 2)
        assert offered == [(name, number) for name in order for number in range(3)]
