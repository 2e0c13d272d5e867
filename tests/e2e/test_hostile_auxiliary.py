"""A paired auxiliary that sends what it must not: its link closes with the typed reason, the primary's daemon lives
on and serves others, and keeps nothing of it (R9, R15)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import msgpack
import pytest

from syncd.core.errors import LinkLost
from syncd.core.messages import Begin, Credit, Follow, Objects, Report, Run, Types, Welcome, Wire
from tests.adapters.bad_messages import BAD
from tests.e2e import shop
from tests.e2e.harness import Fleet
from tests.e2e.scripted import HELLO, LIMITS, SPOKEN, dialed, greeted, refusal, say

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

HELLO_FRAME = SPOKEN.encode(HELLO)
FRAMES: dict[str, tuple[bytes | str, str]] = {
    "nothing": (b"", "bad-frame"),
    "noise": (bytes(range(256)) * 4, "bad-frame"),
    "a byte that msgpack never uses": (b"\xc1", "bad-frame"),
    "a message without its end": (HELLO_FRAME[:-3], "bad-frame"),
    "a message and more": (HELLO_FRAME + b"\0", "bad-frame"),
    "an unknown kind": (msgpack.packb({"kind": "evil"}), "bad-frame"),
    "deep nesting": (b"\x91" * 200_000, "bad-frame"),
    "deep nesting in maps": (b"\x81\xa1a" * 100_000, "bad-frame"),
    "a field twice": (b"\x83\xa4kind\xa6credit\xa4kind\xa6report\xa1a\x01", "bad-frame"),
    "an array said to be huge": (b"\xdd\x7f\xff\xff\xff", "bad-frame"),
    "text": ('{"kind": "hello"}', "bad-frame"),
    "a frame over the limit": (bytes(LIMITS.message_bytes_max + 1), "too-large"),
}
NO_OBJECTS = Objects("shop", 0, 5, (Run(1, False, 1),), b"\1", [1], [b"\x91\x01"], [b"\x91\x01"])
REPORT = Report("shop", "", 0, bytes(16), 0, False, 0, "")
ORDER: dict[str, tuple[tuple[Wire, ...], str]] = {
    "a credit before the greeting": ((Credit("shop", 5),), "bad-order"),
    "a report before the greeting": ((REPORT,), "bad-order"),
    "a greeting twice": ((HELLO, HELLO), "bad-order"),
    "a welcome": ((HELLO, Welcome(1, "me", "ada", "msgpack", 5, ())), "bad-order"),
    "a transfer": ((HELLO, Begin("shop", "e", True, 0, 0, 0, 5)), "bad-order"),
    "objects": ((HELLO, NO_OBJECTS), "bad-order"),
    "types": ((HELLO, Types("shop", ())), "bad-order"),
    "a credit for what was not asked for": ((HELLO, Credit("shop", 5)), "bad-order"),
    "another role": ((replace(HELLO, role="primary"),), "role"),
    "another version": ((replace(HELLO, versions=(99,)),), "version"),
    "another adapter": ((replace(HELLO, adapter="xml"),), "adapter"),
    "a follow for each of very many collections": (
        (HELLO, *(Follow(f"c{number}", "", 0, False, 0, 0, 0) for number in range(5_000))),
        "too-large",
    ),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("hostile")
    with Fleet(directory, auxiliaries=2) as fleet:
        fleet.primary.share("shop", shop.make(directory / "shop.db", 100))
        fleet.auxiliary.accept("shop")
        fleet.auxiliary.wait_identical("shop")
        fleet.auxiliaries[1].stop()  # its part is played here
        yield fleet


def played(fleet: Fleet) -> list[dict[str, object]]:
    """The device whose part is played, as the primary tells of it: it may call itself anything."""
    devices = fleet.primary.status()["devices"]
    assert isinstance(devices, list)
    return [one for one in devices if one["name"] != fleet.auxiliary.name]


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    """After the test the daemon is the same, knows nothing more than before, and serves the other auxiliary."""
    primary, pid = shared.primary, shared.primary.pid
    before = primary.collection("shop")
    yield shared
    assert (primary.running, primary.pid) == (True, pid), primary.log_end()
    assert "Traceback" not in primary.log.read_text()
    primary.wait(lambda: [one["collections"] for one in played(shared)] == [[]], "knows nothing of it any more")
    primary.wait(lambda: primary.collection("shop") == before, "is as it was")
    shop.execute(primary.databases["shop"], "UPDATE goods SET stock = stock + 1 WHERE id = 5")
    shared.auxiliary.wait_identical("shop")


async def test_frames_that_are_no_messages_close_the_link(fleet: Fleet) -> None:
    for what, (frame, code) in FRAMES.items():
        for greets in (False, True):
            async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
                if greets:
                    await greeted(link)
                await say(link, frame)
                assert await refusal(link) == code, what


async def test_messages_that_make_no_sense_close_the_link(fleet: Fleet) -> None:
    for what, message in BAD.items():
        async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
            await greeted(link)
            await say(link, message)
            assert await refusal(link) in ("bad-frame", "too-large"), what


async def test_messages_out_of_order_close_the_link(fleet: Fleet) -> None:
    for what, (messages, code) in ORDER.items():
        async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
            with contextlib.suppress(LinkLost):  # it may be closed before all is said
                await say(link, *messages)
            assert await refusal(link) == code, what


async def test_a_device_that_breaks_off_at_any_point_is_forgotten(fleet: Fleet) -> None:
    for times in range(20):
        async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
            if times:
                await greeted(link)
                await say(link, Follow("shop", "", 0, False, 0, 0, 0))
            link.abort()


async def test_a_device_that_does_not_greet_is_not_connected_and_let_go(fleet: Fleet) -> None:
    silent = fleet.auxiliaries[1]
    async with dialed(silent, fleet.primary) as link:
        assert [one["connected"] for one in played(fleet)] == [False]
        assert await refusal(link) == "bad-order"


async def test_reports_of_what_is_not_shared_are_not_kept(fleet: Fleet) -> None:
    async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
        await greeted(link)
        for number in range(200):
            await say(link, replace(REPORT, collection=f"unshared{number}", epoch="e", position=5, offline="evil"))
        await say(link, HELLO)
        assert await refusal(link) == "bad-order"
    kept = shop.ask(fleet.primary.home / "sync.db", "SELECT DISTINCT collection FROM reports")
    assert kept == [("shop",)]
