"""How changes from auxiliaries are performed on the primary: together, nothing for a device that may not, and an error
is an event (R6, R9, R11)."""

from __future__ import annotations

import pytest

from syncd.adapters.registry import ADAPTERS
from syncd.applications.memory import MemorySource
from syncd.applications.memory_writer import MemoryWriter
from syncd.core import events as ev
from syncd.core import upward_effects as fx
from syncd.core import upward_events as up
from syncd.core.edits import Policy, Ruling, Written
from syncd.core.effects import OpenSource
from syncd.core.messages import Made, Upload
from syncd.core.model import Kind
from syncd.core.settings import Limits
from syncd.outside import Ports
from syncd.perform import perform, stage
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_uploads import MemoryUploadQueue
from tests.perform_up_kit import EPOCH, LIMITS
from tests.two_way_kit import NAME, TYPES, A, B, note, text

pytestmark = pytest.mark.asyncio


class Primary:
    """The ports of a primary whose application holds note 1."""

    def __init__(self) -> None:
        self.source, self.uploads = MemorySource(TYPES), MemoryUploadQueue(LIMITS)
        self.source.rows = {note(1): text("one")}
        self.writer = MemoryWriter(self.source, ["note"])
        self.ports = Ports(LIMITS, ADAPTERS, lambda: 100.0, lambda: 5)
        self.ports.store, self.ports.sources[NAME] = MemorySyncStore(lambda: EPOCH), self.source
        self.ports.uploads, self.ports.writers[NAME] = self.uploads, self.writer

    async def opens(self) -> Primary:
        await perform(self.ports, OpenSource(NAME))
        return self

    async def stages(self, device: str, *numbers: int) -> ev.Event:
        effects = [fx.StageUpload(device, NAME, upload(number), b"....") for number in numbers]
        return await stage(self.ports, effects)

    async def writes(self, *devices: str, silent: str = "") -> tuple[Written, ...]:
        effect = fx.WriteUploads(NAME, 0, frozenset((silent,)), Policy.PRIMARY, frozenset(devices))
        done = await perform(self.ports, effect)
        assert isinstance(done, up.UploadsWritten)
        return done.written


def upload(number: int) -> Upload:
    """A note of this number, plus ten, is added."""
    made = (Made(number, 0, 1, True, False),)
    return Upload(NAME, "box", 0, made, bytes([Kind.ADD]), [1], [note(number + 10).key], [b""], [text("new")])


async def test_frames_that_came_together_are_staged_together() -> None:
    primary = await Primary().opens()
    assert await primary.stages(A, 1, 2) == up.UploadStaged(A, NAME, "box", 2, 8)


async def test_groups_of_devices_that_may_write_are_written() -> None:
    primary = await Primary().opens()
    await primary.stages(A, 1)
    await primary.stages(B, 1)
    first, second = await primary.writes(A)
    assert (first.ruling, second.ruling, second.mark) == (Ruling.ACCEPTED, Ruling.REFUSED, 0)
    assert "not linked" in second.cause
    assert note(11) in primary.source.rows


async def test_of_a_device_of_which_nothing_is_taken_all_is_refused() -> None:
    primary = await Primary().opens()
    await primary.stages(A, 1)
    await primary.stages(B, 2)
    one, other = await primary.writes(A, B, silent=A)
    assert (one.ruling, other.ruling) == (Ruling.REFUSED, Ruling.ACCEPTED)
    assert "from the primary only" in one.cause
    assert note(11) not in primary.source.rows


async def test_frames_are_written_at_once_and_nothing_of_them_is_queued() -> None:
    primary = await Primary().opens()
    frames = (A, upload(1)), (B, upload(1)), (A, upload(2))
    effect = fx.WriteNow(NAME, frames, frozenset(), Policy.PRIMARY, frozenset((A,)))
    done = await perform(primary.ports, effect)
    assert isinstance(done, up.WrittenNow)
    outcomes = [(one.device, one.number, one.ruling) for one in done.written]
    assert outcomes == [(A, 1, Ruling.ACCEPTED), (B, 1, Ruling.REFUSED), (A, 2, Ruling.ACCEPTED)]
    assert {note(11), note(12)} < set(primary.source.rows)
    assert await primary.uploads.received(A, NAME, "box") == 0
    again = await perform(primary.ports, effect)
    assert isinstance(again, up.WrittenNow)
    assert again.written == done.written, "after a crash it is told again"


async def test_a_conflict_is_dated_when_its_group_was_made() -> None:
    primary = await Primary().opens()
    primary.source.rows[note(11)] = text("another")
    effect = fx.WriteNow(NAME, ((A, upload(1)),), frozenset(), Policy.PRIMARY, frozenset((A,)))
    done = await perform(primary.ports, effect)
    assert isinstance(done, up.WrittenNow)
    assert [(one.ruling, one.time_us) for one in done.written] == [(Ruling.REFUSED, 5)]


async def test_an_application_that_is_away_is_an_event() -> None:
    primary = await Primary().opens()
    await primary.stages(A, 1)
    primary.source.offline = "it is locked"
    effect = fx.WriteUploads(NAME, 0, frozenset(), Policy.PRIMARY, frozenset((A,)))
    assert await perform(primary.ports, effect) == up.WriteFailed(NAME, "it is locked")
    at_once = fx.WriteNow(NAME, ((A, upload(2)),), frozenset(), Policy.PRIMARY, frozenset((A,)))
    assert await perform(primary.ports, at_once) == up.WriteFailed(NAME, "it is locked")


async def test_what_came_of_groups_is_told_by_device_and_once_more_to_whoever_asks() -> None:
    primary = await Primary().opens()
    await primary.stages(A, 1)
    written = await primary.writes(A)
    settled = await perform(primary.ports, fx.SettleWritten(NAME, written, 7, Policy.PRIMARY))
    assert isinstance(settled, up.WrittenSettled)
    outbox, (verdict,) = settled.verdicts[A]
    assert (outbox, verdict.number, verdict.ruling, verdict.seq) == ("box", 1, Ruling.ACCEPTED, 7)
    assert await perform(primary.ports, fx.ReadVerdicts(A, NAME, "box", 1)) == up.VerdictsRead(
        A, NAME, "box", 1, (verdict,)
    )
    assert await primary.writes(A) == ()


@pytest.mark.parametrize(("count", "pauses"), [(1, [0.7]), (2, [0.7]), (3, [])])
async def test_what_came_of_groups_is_told_after_a_pause_unless_they_have_many_edits(
    count: int, pauses: list[float]
) -> None:
    primary, seen = await Primary().opens(), list[float]()

    async def pause(seconds: float) -> None:
        seen.append(seconds)

    primary.ports.limits = Limits(settle_edits_together=3, settle_join_s=0.7)
    primary.ports.pause = pause
    await primary.stages(A, *range(1, count + 1))
    written = await primary.writes(A)
    assert [one.edits for one in written] == [1] * count
    settled = await perform(primary.ports, fx.SettleWritten(NAME, written, 7, Policy.PRIMARY))
    assert isinstance(settled, up.WrittenSettled)
    assert seen == pauses


async def test_executing_ends_after_a_moment_so_that_what_comes_meanwhile_is_executed_together() -> None:
    primary, seen, moments = await Primary().opens(), list[float](), iter((10.0, 10.5, 20.0, 21.5))

    async def pause(seconds: float) -> None:
        seen.append(seconds)

    primary.ports.limits = Limits(uploads_join_s=0.75)
    primary.ports.pause = pause
    primary.ports.now = lambda: next(moments)
    for number in (1, 2):
        effect = fx.WriteNow(NAME, ((A, upload(number)),), frozenset(), Policy.PRIMARY, frozenset((A,)))
        assert isinstance(await perform(primary.ports, effect), up.WrittenNow)
    assert seen == [0.25], "the second took longer than that"
