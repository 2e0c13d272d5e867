"""The one loop: commit, then send; frames in order; what a link may do to the daemon, which is nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from syncd.applications.memory import MemorySource
from syncd.applications.memory_target import MemoryTarget
from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.errors import InvariantBroken, LinkLost
from syncd.core.holding import Batch
from syncd.core.messages import Begin, Credit, Follow, Hello, Objects, Refusal, Types, Welcome
from syncd.core.model import Observed, Role
from syncd.core.ports import ChunkRequest
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.selection import ALL
from syncd.driver import Driver
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_uploads import MemoryUploadQueue
from tests.core.kit import CITY, COUNTRY, EPOCH, NAME, frame
from tests.driver_kit import LIMITS, FakeLink, GatedQueue, Script, over, pipe, ports, running, served, until
from tests.perform_kit import TYPES, city, name

pytestmark = pytest.mark.asyncio

A, B, PRIMARY = "A" * 52, "B" * 52, "P" * 52
HELLO = Hello((1,), Role.AUXILIARY, "laptop", "msgpack")


def frames(device: str, count: int) -> list[fx.Effect]:
    return [fx.SendFrame(device, b"%d" % number, NAME) for number in range(count)]


# ---------------------------------------------------------------- sending


async def test_frames_leave_in_the_order_in_which_they_were_ordered() -> None:
    engine, link = Script(), FakeLink(A)
    engine.orders[ev.LinkUp] = lambda: frames(A, 5)
    async with running(engine, ports()) as driver, served(driver, link):
        await until(lambda: len(link.sent) == 5)
    assert link.sent == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_link_is_closed_after_what_was_sent_before_and_nothing_goes_out_after_that() -> None:
    engine, link = Script(), FakeLink(A)
    engine.orders[ev.LinkUp] = lambda: [*frames(A, 2), fx.CloseLink(A, "role", "no"), fx.SendFrame(A, b"late", NAME)]
    async with running(engine, ports()) as driver, served(driver, link) as task:
        assert await over(task) == "no"
    assert (link.sent, link.closed) == ([b"0", b"1"], "role")
    assert isinstance(engine.heard[-1], ev.LinkDown)


@pytest.mark.parametrize("closing", [[], [fx.CloseLink(A, "", "done")]], ids=["open", "closing"])
async def test_what_has_not_left_does_not_when_a_link_is_closed_at_once(closing: list[fx.Effect]) -> None:
    link = FakeLink(A)
    link.full = True
    async with running(Script(), ports()) as driver, served(driver, link) as task:
        await until(lambda: A in driver._outlets)
        frames: list[fx.Effect] = [fx.SendFrame(A, frame, NAME) for frame in (b"1", b"2")]
        driver.order([*frames, *closing, fx.CloseLink(A, "", "its users changed", at_once=True)])
        await over(task)
    assert (link.sent, link.closed) == ([], "")


async def test_messages_are_encoded_by_the_adapter_of_their_link() -> None:
    engine, link, other = Script(), FakeLink(A), FakeLink(B)
    credit = Credit(NAME, 7)
    async with running(engine, ports()) as driver, served(driver, link), served(driver, other):
        await until(lambda: len(engine.heard) == 2)
        driver.order([fx.Send(A, credit), fx.UseAdapter(A, "json"), fx.Send(A, credit), fx.Send(B, credit)])
        await until(lambda: len(link.sent) == 2 and other.sent)
    assert [type(one) for one in link.sent] == [bytes, str]
    assert [type(one) for one in other.sent] == [bytes]
    assert link.heard() == [credit, credit]


async def test_a_peer_that_does_not_read_is_dropped_at_the_bound_and_no_other_with_it() -> None:
    engine, deaf, other = Script(), FakeLink(A), FakeLink(B)
    deaf.reads = False
    async with running(engine, ports()) as driver, served(driver, deaf) as task, served(driver, other):
        await until(lambda: len(engine.heard) == 2)
        driver.order(frames(A, LIMITS.outlet_frames_max + 2) + frames(B, 3))
        assert await over(task) == "the peer does not read"
        await until(lambda: len(other.sent) == 3)
        assert ev.LinkDown(A, "the peer does not read") in engine.heard


async def test_a_peer_that_asks_and_does_not_read_is_dropped_at_the_bound_in_bytes() -> None:
    engine, deaf = Script(), FakeLink(A)
    deaf.reads = False
    limits = replace(LIMITS, outlet_frames_max=1_000, outlet_bytes_max=10_000)
    refusal = fx.Send(A, Refusal("stopping", "x" * 1_000))
    async with running(engine, ports(limits)) as driver, served(driver, deaf) as task:
        await until(lambda: len(engine.heard) == 1)
        driver.order([*[refusal] * 9, fx.SendFrame(A, b"a frame has a window of its own" * 1_000, NAME)])
        assert not deaf.aborted.is_set()
        driver.order([refusal])
        assert await over(task) == "the peer does not read"


async def test_credit_for_more_than_was_sent_closes_the_link() -> None:
    engine, link = Script(), FakeLink(A)
    engine.orders[ev.LinkUp] = lambda: [fx.SendFrame(A, b"0123456789", NAME)]
    async with running(engine, ports()) as driver, served(driver, link):
        await until(lambda: len(link.sent) == 1)
        link.says(Credit(NAME, 10))
        await until(lambda: len(engine.heard) == 2)
        link.says(Credit(NAME, 11))
        await until(lambda: link.closed == "bad-order")
    assert [event.message for event in engine.heard if isinstance(event, ev.Received)] == [Credit(NAME, 10)]


async def test_a_close_that_finds_no_room_behind_the_frames_ends_the_link_at_once() -> None:
    engine, deaf = Script(), FakeLink(A)
    deaf.reads = False
    async with running(engine, ports()) as driver, served(driver, deaf) as task:
        await until(lambda: engine.heard)
        driver.order(frames(A, 1))
        await asyncio.sleep(0)
        driver.order([*frames(A, LIMITS.outlet_frames_max), fx.CloseLink(A, "role", "no")])
        assert await over(task) == "no"


async def test_what_is_sent_to_a_device_that_is_not_linked_goes_nowhere() -> None:
    engine = Script()
    async with running(engine, ports()) as driver:
        driver.order([*frames(A, 1), fx.Send(A, HELLO), fx.UseAdapter(A, "json"), fx.CloseLink(A, "", "")])
        await driver.tell(ev.Tick())


# ---------------------------------------------------------------- links


@pytest.mark.parametrize("bad", [b"\xc1 no message", "{no json", b"", "text where bytes are spoken"])
async def test_a_frame_that_is_no_message_closes_the_link_with_its_reason_and_nothing_is_kept(bad: bytes | str) -> None:
    engine, link, next_link = Script(), FakeLink(A), FakeLink(A)
    async with running(engine, ports()) as driver:
        async with served(driver, link) as task:
            link.throws(bad)
            link.says(HELLO)
            await over(task)
        (told,) = link.heard()
        assert isinstance(told, Refusal)
        assert (told.code, link.closed) == ("bad-frame", "bad-frame")
        assert [type(event) for event in engine.heard] == [ev.LinkUp, ev.LinkDown]
        async with served(driver, next_link):  # the daemon lives on
            next_link.says(HELLO)
            await until(lambda: isinstance(engine.heard[-1], ev.Received))


async def test_a_newer_link_of_a_device_takes_over() -> None:
    engine, old, new = Script(), FakeLink(A), FakeLink(A)
    async with running(engine, ports()) as driver, served(driver, old) as task:
        await until(lambda: engine.heard)
        async with served(driver, new):
            assert await over(task) == "a newer link of the same device took over"
            driver.order(frames(A, 1))
            await until(lambda: new.sent)
            assert old.sent == []
            assert engine.heard == [ev.LinkUp(A), ev.LinkDown(A, "duplicate"), ev.LinkUp(A)]
        await until(lambda: len(engine.heard) == 4)


async def test_what_still_comes_of_the_older_link_is_not_heard_and_harms_the_newer_one_not_at_all() -> None:
    engine, old, new = Script(), FakeLink(A), FakeLink(A)
    async with running(engine, ports()) as driver, served(driver, old) as task:
        await until(lambda: engine.heard)
        old.throws(b"\xc1 no message")
        old.says(HELLO)
        async with served(driver, new) as lives:
            await over(task)
            new.says(HELLO)
            await until(lambda: len(engine.heard) == 4)
            assert not lives.done()
            assert new.heard() == []
    assert [type(event) for event in engine.heard[:4]] == [ev.LinkUp, ev.LinkDown, ev.LinkUp, ev.Received]


async def test_of_links_that_come_at_once_while_the_engine_is_busy_one_stays() -> None:
    engine = Script()
    busy = ports(replace(LIMITS, events_max=1, tick_s=60.0))
    links = [FakeLink(A) for _ in range(3)]
    async with running(engine, busy) as driver:
        first = asyncio.create_task(driver.serve(links[0]))
        await until(lambda: engine.heard)
        full = asyncio.create_task(driver.tell(ev.Tick()))  # whoever tells more has to wait
        others = [asyncio.create_task(driver.serve(link)) for link in links[1:]]
        await asyncio.wait_for(asyncio.gather(full, first), 30.0)
        await until(lambda: sum(isinstance(event, ev.LinkUp) for event in engine.heard) >= 2)
        driver.order(frames(A, 1))
        await until(lambda: sum(len(link.sent) for link in links) == 1)
        for link in links:
            link.abort()
        await asyncio.wait_for(asyncio.gather(*others), 30.0)
        await until(lambda: isinstance(engine.heard[-1], ev.LinkDown))
    up = [isinstance(event, ev.LinkUp) for event in engine.heard]
    assert up == [True, False] * (len(up) // 2), "each link begins and ends before the next one begins"


async def test_why_a_peer_refuses_is_kept_for_who_dials() -> None:
    engine, link = Script(), FakeLink(A)
    async with running(engine, ports()) as driver, served(driver, link):
        link.says(Refusal("unknown-device", "not paired"))
        await until(lambda: link.refusal)
    assert link.refusal == "unknown-device"


async def test_a_link_that_breaks_is_told_with_its_reason() -> None:
    engine, link = Script(), FakeLink(A)
    async with running(engine, ports()) as driver, served(driver, link) as task:
        link.abort()
        assert await over(task) == "the link is over"
        await until(lambda: ev.LinkDown(A, "the link is over") in engine.heard)


class TornLink(FakeLink):
    """Breaks at once when it is aborted."""

    async def receive(self) -> bytes | str:
        await self.aborted.wait()
        raise LinkLost("torn")


async def test_a_link_that_breaks_at_the_moment_of_the_end_does_not_keep_it_from_ending() -> None:
    engine, link = Script(), TornLink(A)
    async with running(engine, ports()) as driver:
        task = asyncio.create_task(driver.serve(link))
        await until(lambda: engine.heard and isinstance(engine.heard[-1], ev.LinkUp))
        await asyncio.sleep(0)
        link.abort()
        task.cancel()
        await asyncio.wait((task,), timeout=30.0)
        assert task.cancelled()


# ---------------------------------------------------------------- the inbound side


def frame_of(first: int, last: int) -> fx.Stage:
    return fx.Stage(NAME, frame(first, last, cut=False), b"raw")


BEGIN = fx.BeginTransfer(NAME, Begin(NAME, EPOCH, True, 0, 9, 0, 9))


async def test_frames_that_arrive_while_a_commit_runs_share_the_next_one() -> None:
    engine, given, queue = Script(), ports(), GatedQueue()
    given.inbound = queue
    async with running(engine, given) as driver:
        driver.order([BEGIN, frame_of(0, 1)])
        queue.gate.clear()
        await until(lambda: queue.commits)
        driver.order([frame_of(at, at + 1) for at in range(1, 8)])
        queue.gate.set()
        await until(lambda: sum(map(len, queue.commits)) == 8)
        await driver.settled(NAME)
    assert queue.commits == [[1], [2, 3, 4, 5], [6, 7, 8]]
    staged = [event for event in engine.heard if isinstance(event, ev.Staged)]
    assert [(event.frames, event.cursor) for event in staged] == [(1, 1), (4, 5), (3, 8)]


async def test_a_beginning_between_frames_is_kept_between_them() -> None:
    engine, given, queue = Script(), ports(), GatedQueue()
    given.inbound = queue
    again = fx.BeginTransfer(NAME, Begin(NAME, EPOCH, True, 0, 9, 1, 9))
    async with running(engine, given) as driver:
        driver.order([BEGIN, frame_of(0, 1), frame_of(1, 2), again, frame_of(1, 3)])
        await driver.settled(NAME)
    assert queue.commits == [[1, 2], [3]]
    transfer = (await queue.load(NAME))[0]
    assert transfer is not None
    assert transfer.cursor == 3


async def test_nothing_is_acknowledged_before_it_is_durable() -> None:
    """A frame goes out only after what it claims is durable."""
    given, queue, link = ports(replace(LIMITS, credit_bytes=1)), GatedQueue(), FakeLink(PRIMARY)
    given.inbound, given.targets[NAME] = queue, MemoryTarget()
    engine = AuxiliaryEngine("laptop", "msgpack", given.limits)
    async with running(engine, given) as driver, served(driver, link):
        driver.order(engine.accept(NAME, 0.0))
        link.says(Welcome(1, "desk", "ada", "msgpack", 1_000, (NAME,)))
        await until(lambda: any(isinstance(one, Follow) for one in link.heard()))
        queue.gate.clear()
        link.says(Types(NAME, (CITY, COUNTRY)), Begin(NAME, EPOCH, True, 0, 3, 0, 3))
        rows = replace(frame(0, 3), keys=[city(at).key for at in range(3)], fields=[name("x")] * 3)
        link.says(rows)
        await until(lambda: queue.commits)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not any(isinstance(one, Credit) for one in link.heard())
        queue.gate.set()
        await until(lambda: any(isinstance(one, Credit) for one in link.heard()))


async def test_a_link_is_not_read_while_too_much_waits_for_commits() -> None:
    """``inbound_effects_max``"""
    engine, queue, link, most = Script(), GatedQueue(), FakeLink(A), 3
    given = ports(replace(LIMITS, inbound_effects_max=most))
    given.inbound = queue

    def received() -> int:
        return sum(isinstance(event, ev.Received) for event in engine.heard)

    async with running(engine, given) as driver, served(driver, link):
        queue.gate.clear()
        driver.order([BEGIN, frame_of(0, 1)])
        await until(lambda: queue.commits)
        driver.order([frame_of(at, at + 1) for at in range(1, most)])
        link.says(HELLO)
        await until(lambda: received() == 1)
        driver.order([frame_of(most, most + 1)])
        link.says(HELLO)
        for _ in range(50):
            await asyncio.sleep(0)
        assert (driver._inbound.qsize(), received()) == (most, 1)
        queue.gate.set()
        await until(lambda: received() == 2)


async def test_settled_waits_for_all_that_was_ordered_for_a_collection() -> None:
    engine, given, queue = Script(), ports(), GatedQueue()
    given.inbound = queue
    async with running(engine, given) as driver:
        queue.gate.clear()
        driver.order([BEGIN, frame_of(0, 1)])
        waits = asyncio.create_task(driver.settled(NAME))
        await until(lambda: queue.commits)
        assert not waits.done()
        queue.gate.set()
        await asyncio.wait_for(waits, 30.0)
        assert isinstance(engine.heard[-1], ev.Staged)


async def test_a_chunk_that_is_at_hand_is_told_though_the_store_cannot_be_read() -> None:
    engine, given = Script(), ports()
    given.store = store = MemorySyncStore()
    await store.open_collection(NAME)
    types = await store.set_source(NAME, "the application", TYPES)
    await store.keep(NAME, Batch([Observed(types[0].id, b"a", b"1")], publish=True, loose=False), 1)
    request = ChunkRequest(NAME, ALL, 0, 0, 0)
    async with running(engine, given) as driver:
        store.read = None  # type: ignore[assignment, method-assign]
        driver.order([fx.ReadChunk(request, "msgpack")])
        await asyncio.wait_for(driver.settled(NAME), 5.0)
        told = engine.heard[-1]
    assert isinstance(told, ev.ChunkRead)
    assert (told.request, told.last) == (request, 1)
    assert told.proof is not None


async def test_an_error_that_is_ours_stops_the_daemon() -> None:
    engine, given = Script(), ports()
    given.inbound = GatedQueue()
    driver = Driver(engine, given, lambda effect: None)
    with pytest.RaisesGroup(pytest.RaisesExc(InvariantBroken, match="does not continue"), flatten_subgroups=True):
        async with asyncio.TaskGroup() as group, asyncio.timeout(30):
            group.create_task(driver.run())
            await driver.started.wait()
            driver.order([frame_of(5, 6)])
            await asyncio.Event().wait()


# ---------------------------------------------------------------- the whole road


@pytest.mark.parametrize("adapter", ["msgpack", "json"])
async def test_what_is_committed_on_the_primary_arrives_on_the_auxiliary(adapter: str) -> None:
    source, target = MemorySource(TYPES), MemoryTarget()
    source.commit({city(number): name("first") for number in range(10)})
    primary_ports, auxiliary_ports = ports(), ports()
    primary_ports.store, primary_ports.sources[NAME] = MemorySyncStore(), source
    primary_ports.uploads = MemoryUploadQueue()
    auxiliary_ports.inbound, auxiliary_ports.targets[NAME] = GatedQueue(), target
    primary = PrimaryEngine("desk", "ada", ("msgpack", "json"), LIMITS)
    primary.users[A] = ("ada",)
    auxiliary = AuxiliaryEngine("laptop", adapter, LIMITS)
    async with running(primary, primary_ports) as here, running(auxiliary, auxiliary_ports) as there:
        here.order(primary.share(NAME))
        there.order(auxiliary.accept(NAME, 0.0))
        down, up = FakeLink(A), FakeLink(PRIMARY)
        async with served(here, down), served(there, up):
            carrier = asyncio.create_task(pipe(down, up))
            await until(lambda: target.rows == source.rows)
            source.commit({city(3): None, city(4): name("second"), city(99): name("third")})
            await until(lambda: target.rows == source.rows and auxiliary.targets[NAME].match)
            carrier.cancel()
    assert isinstance(down.heard()[0], Welcome)
    assert {type(one) for one in down.sent[1:]} == {str if adapter == "json" else bytes}
    assert any(isinstance(one, Objects) for one in down.heard())
