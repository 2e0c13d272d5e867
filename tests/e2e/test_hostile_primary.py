"""A primary that sends what it must not: the link closes with the typed reason, the auxiliary's daemon lives on and
keeps nothing of it, and goes on with the true primary (R15)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from syncd.adapters.canonical import pack_values
from syncd.core.messages import Begin, Credit, Cut, Follow, Objects, Refusal, Run, Types, Welcome, Wire
from syncd.core.model import DataType, Kind
from syncd.home import config
from syncd.home.paths import Home
from syncd.transport.link import Link
from tests.adapters.bad_messages import BAD
from tests.e2e import shop
from tests.e2e.harness import Fleet, limited
from tests.e2e.scripted import hear_until, listening, refusal, say
from tests.e2e.test_hostile_auxiliary import FRAMES
from tests.wait import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

WELCOME = Welcome(1, "primary", "ada", "msgpack", 4 * 1024 * 1024, ("shop",))
GOODS = DataType(9, "goods", ("id",), ("name", "stock"), ())
KEY, FIELDS = pack_values([7]), pack_values(["evil", 7])
Script = tuple[Wire | bytes | str, ...]


@dataclass
class Played:
    """A primary played by the test: says its script to each link, and notes why the auxiliary closed it."""

    script: Script = ()
    greets: bool = True
    codes: list[str] = field(default_factory=list)

    async def __call__(self, link: Link) -> None:
        if self.greets:
            await say(link, WELCOME)
            await hear_until(link, Follow)
        await say(link, *self.script)
        self.codes.append(await refusal(link))


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("hostile")
    with Fleet(directory, launcher=limited(retry_s_max=0.2)) as fleet:  # the auxiliary dials again and again
        fleet.primary.share("shop", shop.make(directory / "shop.db", 100))
        fleet.auxiliary.accept("shop")
        fleet.auxiliary.wait_identical("shop")
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    """The primary's daemon is stopped and its part is played. After the test the auxiliary holds what it held, has
    staged nothing, and goes on with the true primary."""
    primary, auxiliary = shared.primary, shared.auxiliary
    target = auxiliary.databases["shop"]
    before = shop.ask(target, "SELECT * FROM goods ORDER BY id")
    position, pid = auxiliary.collection("shop")["position"], auxiliary.pid
    primary.stop()
    yield shared
    assert (auxiliary.running, auxiliary.pid) == (True, pid), auxiliary.log_end()
    assert "Traceback" not in auxiliary.log.read_text()
    assert shop.ask(target, "SELECT * FROM goods ORDER BY id") == before
    assert shop.ask(target, "SELECT name FROM sqlite_master WHERE name LIKE '%evil%'") == []
    staged = "SELECT count(*) FROM staged"
    auxiliary.wait(lambda: shop.ask(auxiliary.home / "inbound.db", staged) == [(0,)], "has nothing staged")
    assert auxiliary.collection("shop")["position"] == position
    primary.start()
    shop.execute(primary.databases["shop"], "UPDATE goods SET stock = stock + 1 WHERE id = 5")
    auxiliary.wait_identical("shop")


def held(fleet: Fleet) -> tuple[str, int]:
    """Epoch and position that the auxiliary holds."""
    ((epoch, position),) = shop.ask(fleet.auxiliary.databases["shop"], "SELECT epoch, position FROM _syncd_position")
    return str(epoch), int(str(position))


async def played(fleet: Fleet, played: Played) -> None:
    """Until the auxiliary has closed a link to the played primary."""
    address = config.load(Home(fleet.primary.home)).listen
    async with listening(fleet.primary, fleet.auxiliary, address, played):
        await eventually(lambda: played.codes, what="the auxiliary closes the link")


@pytest.mark.parametrize("greets", [False, True])
async def test_frames_that_are_no_messages_close_the_link(fleet: Fleet, greets: bool) -> None:
    names = ["noise", "a message without its end", "deep nesting", "a frame over the limit"] if greets else ["text"]
    for what in names:
        frame, code = FRAMES[what]
        one = Played((frame,), greets)
        await played(fleet, one)
        assert one.codes[0] == code, what


async def test_messages_out_of_order_or_of_what_was_not_described_close_the_link(fleet: Fleet) -> None:
    epoch, at = held(fleet)
    begin = Begin("shop", epoch, False, at, 0, at, at + 5)
    types = Types("shop", (GOODS,))
    row = ((Run(at + 5, False, 1),), bytes((Kind.MODIFY,)), [9], [KEY], [FIELDS])
    cut = Cut(at + 5, bytes(16), 100)
    scripts: dict[str, Script] = {
        "a welcome twice": (WELCOME,),
        "a credit": (Credit("shop", 5),),
        "a transfer of another collection": (Begin("evil", epoch, False, at, 0, at, at + 5),),
        "a transfer that begins twice": (begin, begin, begin),
        "objects of another collection": (begin, Objects("evil", at, at + 5, *row, (), cut)),
        "objects of a type that was not described": (begin, Objects("shop", at, at + 5, *row, (), cut)),
        "objects after a gap": (types, begin, Objects("shop", at + 1, at + 5, *row, (), cut)),
    }
    for what, script in scripts.items():
        one = Played(script)
        await played(fleet, one)
        assert one.codes[0] == "bad-order", what


async def test_messages_that_make_no_sense_close_the_link(fleet: Fleet) -> None:
    for what in ("a cut in the middle", "a digest that is too short", "a type with a definition with NUL"):
        one = Played((BAD[what],))
        await played(fleet, one)
        assert one.codes[0] == "bad-frame", what


async def test_a_refusal_is_told_with_what_to_do(fleet: Fleet) -> None:
    for code, advice in (
        ("version", "install the same"),
        ("unknown-device", "pair this device"),
        ("role", "auxiliary"),
    ):
        reason = f"because of the {code}"

        def told(reason: str = reason) -> list[str]:
            return [line for line in fleet.auxiliary.cli("status").splitlines() if reason in line]

        # Asked while the primary refuses: once it is gone, that it cannot be reached is what status tells.
        address = config.load(Home(fleet.primary.home)).listen
        async with listening(fleet.primary, fleet.auxiliary, address, Played((Refusal(code, reason),), greets=False)):
            (line,) = await eventually(told, what=f"{code} is told")
        assert advice in line
