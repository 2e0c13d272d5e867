"""What the outbox knows after a power cut: all that it knew when it said that it was carried out (R6, DESIGN 5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.store.outbox import SqliteOutbox
from tests.contract.outbox_kit import LIMITS, NAME, NOTE, Change, accepted, at, make, work
from tests.power import Disk, powered

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with powered(tmp_path) as disk:
        yield disk


async def test_groups_that_came_down_one_by_one_are_known_to_have_come_after_a_power_cut(disk: Disk) -> None:
    """The target keeps the last of their plans; the outbox is to know those before it."""
    outbox = await SqliteOutbox.open(disk.place / "outbox.db", LIMITS)
    await outbox.types(NAME, [NOTE])
    changes: dict[str, Change] = {"a": ("1", "2"), "b": ("1", "2")}
    for key, change in changes.items():
        await make(outbox, {key: change}, seal=True)
    await outbox.settle(NAME, [accepted(1, 10), accepted(2, 11)], 9, 0)
    last = 0
    for seq, key in ((10, "a"), (11, "b")):
        plan = await outbox.plan(NAME, replace(work({key: "2"}, seq=seq), at_hand=True))
        last = plan.id
        await outbox.carried_out(NAME, at(seq, plan.id))
        await outbox.plan(NAME, replace(work({"other": "2"}, seq=seq), at_hand=True))
    disk.cut()
    await outbox.close()
    disk.again()
    outbox = await SqliteOutbox.open(disk.place / "outbox.db", LIMITS)
    try:
        state = await outbox.carried_out(NAME, at(11, last))
        assert (state.pending, state.undo) == (0, False)
    finally:
        await outbox.close()
