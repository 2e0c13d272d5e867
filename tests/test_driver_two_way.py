"""Changes travel both ways between two daemons that really run: their loops, links and tasks, on the twins."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from syncd.applications.memory import MemorySource
from syncd.applications.memory_target import MemoryTarget
from syncd.applications.memory_writer import MemoryWriter
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.edits import Direction, Policy
from syncd.core.effects import Effect
from syncd.core.messages import Made, Upload
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.upward_effects import StageUpload
from syncd.core.upward_events import UploadStaged
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_inbound_queue import MemoryInboundQueue
from syncd.store.memory_outbox import MemoryOutbox
from syncd.store.memory_uploads import MemoryUploadQueue
from tests.driver_kit import LIMITS, FakeLink, Script, pipe, ports, running, served, until
from tests.sim.network import PRIMARY
from tests.two_way_kit import NAME, TYPES, A, B, note, text

pytestmark = pytest.mark.asyncio


@pytest.mark.parametrize("adapter", ["msgpack", "json"])
async def test_changes_of_both_sides_meet(adapter: str) -> None:
    source, target = MemorySource(TYPES), MemoryTarget(captures=True)
    source.commit({note(number): text("first") for number in range(5)})
    here_ports, there_ports = ports(), ports()
    here_ports.store, here_ports.sources[NAME] = MemorySyncStore(), source
    here_ports.uploads, here_ports.writers[NAME] = MemoryUploadQueue(), MemoryWriter(source)
    there_ports.inbound, there_ports.outbox = MemoryInboundQueue(), MemoryOutbox()
    there_ports.targets[NAME] = there_ports.locals[NAME] = target
    primary = PrimaryEngine("desk", "ada", ("msgpack", "json"), LIMITS)
    primary.users[A] = ("ada",)
    auxiliary = AuxiliaryEngine("laptop", adapter, LIMITS)
    async with running(primary, here_ports) as here, running(auxiliary, there_ports) as there:
        here.order(primary.set_terms(NAME, Direction.BOTH, Policy.PRIMARY))
        here.order(primary.share(NAME))
        there.order(auxiliary.accept(NAME, 0.0, edits=True))
        down, up = FakeLink(A), FakeLink(PRIMARY)
        async with served(here, down), served(there, up):
            carrier = asyncio.create_task(pipe(down, up))
            await until(lambda: target.rows == source.rows)
            for number in range(20):
                target.commit({note(number): text(f"edit {number}")})
                source.commit({note(100 + number): text(f"own {number}")})
                await asyncio.sleep(0)
            await until(lambda: target.rows == source.rows and len(source.rows) == 40)
            await until(lambda: auxiliary.targets[NAME].match and not auxiliary.uplinks[NAME].pending)
            carrier.cancel()
    assert source.rows[note(3)] == text("edit 3")


def upload(device: str, number: int, outbox: str = "box") -> StageUpload:
    made = (Made(number, 0, 1, True, False),)
    frame = Upload(NAME, outbox, 0, made, b"\x01", [1], [note(number).key], [b""], [text("new")])
    return StageUpload(device, NAME, frame, b"....")


async def test_frames_of_one_device_that_arrive_while_others_are_staged_share_a_commit() -> None:
    engine, given = Script(), ports(replace(LIMITS, stage_frames_max=3))
    given.uploads = MemoryUploadQueue()
    orders: list[Effect] = [*(upload(A, number) for number in range(1, 6)), upload(B, 1), upload(B, 1, "other")]
    async with running(engine, given) as driver:
        driver.order(orders)
        await until(lambda: len(engine.heard) == 4)
    staged = [one for one in engine.heard if isinstance(one, UploadStaged)]
    assert [(one.device, one.outbox, one.number) for one in staged] == [
        (A, "box", 3),
        (A, "box", 5),
        (B, "box", 1),
        (B, "other", 1),
    ]
