"""The outbox in a world of chance: edits, downloads, verdicts, crashes in any order (R2, R6, R7, R14).

After each step the one in SQLite says what its twin says, the checksum that the target keeps is that of what the
primary sent, and no edit is lost. When all comes to rest the application holds what the primary has.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.contract.outbox_world import World

pytestmark = pytest.mark.asyncio


async def echo(world: World) -> None:
    """A group is made, sent and decided about, and the next that there is comes down."""
    for step in (world.edit, partial(world.read, True), world.take, world.decide):
        await step()
    await world.download(min(world.position + 1, len(world.primary) - 1))


async def run(path: Path, seed: int, steps: int) -> None:
    world = await World.begin(path, seed)
    often = [world.edit] * 4 + [world.read] * 3 + [world.take, world.decide, world.settle, world.download] * 2
    often += [partial(echo, world)] * 4
    rarely = [world.others, world.undo, world.retry, world.snapshot, world.reopen, world.lose, world.renumber]
    try:
        for _ in range(steps):
            step = world.random.choice(often * 2 + rarely)
            print(getattr(step, "__name__", "echo"))
            await step()
            await world.check()
        await world.come_to_rest()
    finally:
        await world.real.close()


@pytest.mark.parametrize("number", range(8))
async def test_whatever_happens_nothing_is_lost_and_all_ends_equal(tmp_path: Path, seed: int, number: int) -> None:
    await run(tmp_path / "outbox.db", seed + number, 60)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_whatever_happens_for_long_nothing_is_lost(tmp_path: Path, seed: int) -> None:
    for number in range(40):
        await run(tmp_path / f"{number}.db", seed + number, 120)
