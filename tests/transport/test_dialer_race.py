"""Several addresses, hints from the network, and a primary that will not have this device any more."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import pytest

from syncd.core.errors import LinkLost, PeerError, Refused
from syncd.core.settings import Limits
from syncd.transport.dialer import Dialer, dial
from syncd.transport.door import bind
from syncd.transport.link import Link
from syncd.transport.race import TRIES_MAX, Race
from tests.transport.peers import LIMITS, Clock, Device, primary_that_knows
from tests.wait import eventually

pytestmark = pytest.mark.asyncio

REVOKED = Refused("refused", code="revoked")


@dataclass(eq=False)
class Town:
    """What answers at each address: a failure, or silence; ``dialed`` in order."""

    answers: dict[str, PeerError | None]
    dialed: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def dial(self, address: str) -> Link:
        self.dialed.append(address)
        try:
            if (answer := self.answers[address]) is not None:
                raise answer
            return await asyncio.Event().wait()  # type: ignore[return-value]
        finally:
            self.ended.append(address)


@contextlib.asynccontextmanager
async def dialing(town: Town, addresses: Callable[[], Sequence[str]], limits: Limits) -> AsyncIterator[Dialer]:
    """A dialer at work that never comes to a link."""
    dialer = Dialer(town.dial, addresses, limits, random.Random(0))

    async def travel() -> None:
        async for _ in dialer.links():
            raise AssertionError("nobody answers")

    travelling = asyncio.create_task(travel())
    try:
        yield dialer
    finally:
        travelling.cancel()
        await asyncio.wait([travelling])


async def test_an_address_that_does_not_answer_does_not_delay_the_next(shop: Device, till: Device) -> None:
    async with primary_that_knows(shop, till) as primary:
        with bind("127.0.0.1", 0) as silent:
            gone = "{}:{}".format(*silent.getsockname())

            async def call(address: str) -> Link:
                return await dial(till.identity, address, shop.certificate, patient)

            patient, limits = replace(LIMITS, open_s_max=600.0), Limits(dial_next_s=0.05)
            dialer = Dialer(call, lambda: [gone, primary.address], limits, random.Random(0))
            async with asyncio.timeout(30), contextlib.aclosing(dialer.links()) as links:
                link = await anext(links)
                assert dialer.at == primary.address
                await link.close()


@pytest.mark.parametrize("known", [1, 7, 40])
async def test_who_announces_ever_other_addresses_keeps_none_from_being_dialed(known: int) -> None:
    numbers = itertools.count(1)
    last = f"known:{known}"

    async def call(address: str) -> str:
        if address != last:
            raise LinkLost("nobody is there")
        return address

    def addresses() -> list[str]:
        heard = [f"made.up:{next(numbers)}" for _ in range(3)]
        return ["known:1", *heard, *(f"known:{number}" for number in range(2, known + 1))]

    told = await Race(call, lambda won: None, 60.0).run(addresses)
    assert told == (last, last)


async def test_one_that_answers_soon_is_dialed_alone() -> None:
    town = Town({"a:1": LinkLost("no"), "b:2": LinkLost("no")})
    async with dialing(town, lambda: ("a:1", "b:2", "a:1"), Limits(dial_next_s=60.0, retry_s_first=60.0)):
        await eventually(lambda: len(town.ended) == 4)
        assert town.dialed == town.ended == ["a:1", "b:2"] * 2  # the first retry is at once


async def test_an_address_that_becomes_known_meanwhile_takes_part() -> None:
    places = ["a:1"]
    town = Town({"a:1": None, "b:2": LinkLost("no"), "c:3": None})
    async with dialing(town, lambda: places, Limits(dial_next_s=0.01)):
        await eventually(lambda: town.dialed == ["a:1"])
        places.insert(0, "b:2")
        await eventually(lambda: town.ended == ["b:2"])
        places.append("c:3")
        await eventually(lambda: town.dialed == ["a:1", "b:2", "c:3"])
        assert town.ended == ["b:2"], "those that may still answer go on"


async def test_who_keeps_silent_at_one_address_does_not_delay_what_begins_to_answer_at_another() -> None:
    town = Town({"a:1": LinkLost("no"), "b:2": None, "c:3": Refused("no", code="unknown-device")})
    async with dialing(town, lambda: ("a:1", "b:2", "c:3"), Limits(dial_next_s=0.01)):
        await eventually(lambda: len(town.dialed) > 5)
        assert town.dialed[:6] == ["a:1", "b:2", "c:3", "a:1", "a:1", "a:1"]
        town.answers["a:1"] = REVOKED
        await eventually(lambda: "b:2" in town.ended)


async def test_addresses_without_end_are_not_dialed_without_end() -> None:
    dialed: list[str] = []

    async def silent(address: str) -> Link:
        dialed.append(address)
        return await asyncio.Event().wait()  # type: ignore[return-value]

    race = Race(silent, Link.abort, 0.001)
    racing = asyncio.create_task(race.run(lambda: [f"a:{len(dialed)}"]))
    await eventually(lambda: len(dialed) == TRIES_MAX)
    done, _ = await asyncio.wait([racing], timeout=0.05)
    assert (len(dialed), done) == (TRIES_MAX, set())
    racing.cancel()
    await asyncio.wait([racing])


async def test_dials_that_were_outrun_are_given_up() -> None:
    town = Town({"a:1": None, "b:2": None, "c:3": REVOKED})
    async with dialing(town, lambda: ("a:1", "b:2", "c:3"), Limits(dial_next_s=0.01)):
        await eventually(lambda: sorted(town.ended) == ["a:1", "b:2", "c:3"])


async def test_what_the_primary_said_for_good_ends_the_dialing_until_a_person_acts() -> None:
    town = Town({"a:1": REVOKED, "b:2": LinkLost("no")})
    async with dialing(town, lambda: ("a:1", "b:2"), Limits()) as dialer:
        await eventually(lambda: dialer.over)
        dialer.hint()
        assert not dialer._hint.is_set()
        assert town.dialed == ["a:1"]
        dialer.wake()
        await eventually(lambda: town.dialed == ["a:1", "a:1"])
        assert dialer.over


def dialer_of_a_primary_that_revokes() -> tuple[Dialer, list[str]]:
    """Each of its links is one that the primary cut off for good; and the addresses that were dialed."""

    class Cut:
        refusal = "revoked"

        def abort(self) -> None:
            pass

    dialed: list[str] = []

    async def call(address: str) -> Link:
        dialed.append(address)
        return Cut()  # type: ignore[return-value]

    return Dialer(call, lambda: ["a:1"], Limits(), random.Random(0)), dialed


async def test_a_link_that_the_primary_revoked_is_the_last() -> None:
    dialer, dialed = dialer_of_a_primary_that_revokes()
    links = dialer.links()
    await anext(links)

    async def follow() -> None:
        await anext(links)

    following = asyncio.create_task(follow())
    await eventually(lambda: dialer.over)
    assert dialed == ["a:1"]
    following.cancel()
    await asyncio.wait([following])


@pytest.mark.parametrize("answer", [None, REVOKED])
async def test_what_comes_of_a_dial_that_a_person_overtook_counts_for_nothing(answer: PeerError | None) -> None:
    """It may be the answer of a primary that this device follows no more."""

    class Former:
        aborted = False
        refusal = ""

        def abort(self) -> None:
            self.aborted = True

    former, answered = Former(), asyncio.Event()
    dialed: list[str] = []

    async def call(address: str) -> Link:
        dialed.append(address)
        if len(dialed) > 1:
            return await asyncio.Event().wait()  # type: ignore[return-value]
        await answered.wait()
        if answer is not None:
            raise answer
        return former  # type: ignore[return-value]

    dialer = Dialer(call, lambda: ["a:1"], Limits(), random.Random(0))

    async def travel() -> None:
        async for _ in dialer.links():
            raise AssertionError("it is the former primary's")

    travelling = asyncio.create_task(travel())
    await eventually(lambda: dialed)
    dialer.wake()
    answered.set()
    await eventually(lambda: len(dialed) == 2)
    assert not dialer.over
    assert former.aborted is (answer is None)
    travelling.cancel()
    await asyncio.wait([travelling])


async def test_why_a_link_ended_counts_for_nothing_where_a_person_overtook_it() -> None:
    dialer, dialed = dialer_of_a_primary_that_revokes()
    async with contextlib.aclosing(dialer.links()) as links:
        await anext(links)
        dialer.wake()
        await anext(links)
        assert dialed == ["a:1", "a:1"]


async def test_a_hint_ends_a_pause_but_hints_do_not_make_a_device_dial_without_end() -> None:
    clock = Clock()
    pauses: list[float] = []
    town = Town({"a:1": LinkLost("no")})
    dialer = Dialer(town.dial, lambda: ["a:1"], Limits(retry_s_first=60.0, retry_s_max=60.0), random.Random(0), clock)

    async def pause(pause_s: float, wake: asyncio.Event) -> None:
        pauses.append(pause_s)
        await asyncio.sleep(0)
        if pause_s > 1.0:
            await wake.wait()
        clock.time_s += min(pause_s, 1.0)

    dialer.pause = pause

    async def travel() -> None:
        async for _ in dialer.links():
            raise AssertionError("nobody answers")

    travelling = asyncio.create_task(travel())

    def resting_after(rounds: int) -> bool:
        return len(town.dialed) == rounds and bool(pauses) and pauses[-1] > 1.0

    for rounds in range(2, 7):
        await eventually(partial(resting_after, rounds))
        clock.time_s -= 1.0  # no time has passed in that pause
        dialer.hint()
    await eventually(partial(resting_after, 7))
    assert [pause_s for pause_s in pauses if pause_s <= 1.0] == pytest.approx([1.0] * 4), (
        "the first one is followed at once"
    )
    travelling.cancel()
    await asyncio.wait([travelling])


async def test_a_device_that_the_primary_forgot_is_believed_to_be_unknown_after_some_tries() -> None:
    town = Town({"a:1": Refused("not paired", code="unknown-device")})
    async with dialing(town, lambda: ("a:1",), Limits(retry_s_first=0.01)) as dialer:
        seen: list[tuple[int, bool]] = []

        def noted() -> bool:
            seen.append((len(town.ended), dialer.unknown))
            return dialer.unknown

        await eventually(noted)
        assert all(unknown is False for dialed, unknown in seen if dialed < 3)
