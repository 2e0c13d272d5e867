"""A linked auxiliary that uploads what it must not: its link closes or its group is refused, nothing of another user is
told, what it leaves behind is bounded, and everybody else goes on (R9, R10, R15)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from syncd.adapters.canonical import Value, pack_values
from syncd.core.messages import Made, Offer, Taken, Terms, Types, Upload, Verdict, Verdicts, Wire
from syncd.core.settings import Limits
from syncd.transport.link import Link
from tests.e2e import shop
from tests.e2e.harness import Fleet
from tests.e2e.scripted import dialed, greeted, hear, hear_until, refusal, say

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.asyncio]

KEY, FIELDS = pack_values((9_999,)), pack_values(("evil", 1))
ADD, MODIFY = b"\1", b"\2"


def upload(number: int, key: bytes = KEY, fields: bytes = FIELDS, **changes: object) -> Upload:
    """A group that adds one of the goods."""
    made = Upload("shop", "box", 0, (Made(number, 0, 1, True, False),), ADD, [1], [key], [b""], [fields])
    return replace(made, **changes)  # type: ignore[arg-type]


def packed(*values: Value) -> bytes:
    return pack_values(values)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """The second auxiliary's part is played here; of the second collection, of another user, it has nothing."""
    directory = tmp_path_factory.mktemp("uploads")
    with Fleet(directory, auxiliaries=2) as fleet:
        primary = fleet.primary
        primary.share("shop", shop.make(directory / "shop.db", 20))
        primary.cli("users", "add", "bob")
        primary.cli("share", "his", "--user", "bob", "--from", f"sqlite:{shop.make(directory / 'his.db', 20)}")
        fleet.auxiliary.accept("shop")
        fleet.auxiliary.wait_identical("shop")
        fleet.auxiliaries[1].stop()
        yield fleet


@pytest.fixture
def fleet(shared: Fleet) -> Iterator[Fleet]:
    """After the test the same daemon runs, nothing was written, and the other auxiliary's edits go on."""
    primary, pid = shared.primary, shared.primary.pid
    before = shop.ask(primary.databases["shop"], "SELECT * FROM goods WHERE id <> 5")
    yield shared
    assert (primary.running, primary.pid) == (True, pid), primary.log_end()
    assert "Traceback" not in primary.log.read_text()
    assert shop.ask(primary.databases["shop"], "SELECT * FROM goods WHERE id <> 5") == before
    shop.execute(shared.auxiliary.databases["shop"], "UPDATE goods SET stock = stock + 1 WHERE id = 5")
    (wanted,) = shop.ask(shared.auxiliary.databases["shop"], "SELECT stock FROM goods WHERE id = 5")
    primary.wait(
        lambda: shop.ask(primary.databases["shop"], "SELECT stock FROM goods WHERE id = 5") == [wanted],
        "has what the other changed",
    )


async def offered(link: Link, outbox: str = "box") -> Taken:
    await say(link, Offer("shop", outbox, 1, 1_000))
    taken = await hear_until(link, Taken)
    assert isinstance(taken, Taken)
    return taken


async def judged(link: Link, number: int) -> Verdict:
    while True:
        verdicts = await hear_until(link, Verdicts)
        assert isinstance(verdicts, Verdicts)
        for one in verdicts.verdicts:
            if one.number == number:
                return one


async def test_groups_that_make_no_sense_are_refused_and_those_after_them_judged(fleet: Fleet) -> None:
    bad: dict[str, Upload] = {
        "a type of nobody": upload(1, types=[77]),
        "a row of another table": upload(2, types=[2]),
        "a key without a value": upload(3, key=packed(None)),
        "a key of two columns": upload(4, key=packed(1, 2)),
        "a key that is no number": upload(5, key=packed("evil")),
        "too few fields": upload(6, fields=packed("evil")),
        "too many fields": upload(7, fields=packed("evil", 1, 2)),
        "no fields": upload(8, fields=packed()),
        "a base that was never there": upload(9, kinds=MODIFY, key=packed(1), bases=[packed("never", 0)]),
        "a real in place of a key": upload(10, key=packed(1.5)),
    }
    async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
        await greeted(link)
        await offered(link)
        for what, message in bad.items():
            await say(link, message)
            verdict = await judged(link, message.runs[0].number)
            assert (verdict.ruling, verdict.seq) == ("refused", 0), what
            assert verdict.cause, what


async def test_uploads_out_of_order_close_the_link(fleet: Fleet) -> None:
    async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
        await greeted(link)
        await say(link, upload(1))
        assert await refusal(link) == "bad-order"
    wrong: dict[str, Wire] = {
        "of another outbox": upload(1, outbox="other"),
        "a verdict": Verdicts("shop", "box", (Verdict(1, "accepted", 5, "", "", b"", 0),)),
        "a promise": Taken("shop", "box", 5, 5),
        "terms": Terms("shop", "both", "auxiliary"),
    }
    for what, message in wrong.items():
        async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
            await greeted(link)
            await offered(link)
            await say(link, message)
            assert await refusal(link) == "bad-order", what


async def test_a_collection_of_another_user_is_as_one_that_is_not_there(fleet: Fleet) -> None:
    answers: list[list[type[object]]] = []
    for name in ("his", "nothing"):
        async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
            await greeted(link)
            await say(link, Offer(name, "box", 1, 5), upload(1, collection=name), Offer("shop", "asks", 1, 1))
            heard: list[type[object]] = []
            while not (isinstance(message := await hear(link), Taken) and message.outbox == "asks"):
                assert getattr(message, "collection", "") != "his"
                heard.append(type(message))
            answers.append([one for one in heard if one is not Types])
    assert answers[0] == answers[1]
    kept = shop.ask(fleet.primary.home / "uploads.db", "SELECT DISTINCT collection FROM streams")
    assert kept in ([], [("shop",)])


async def test_half_groups_and_many_outboxes_leave_little_behind(fleet: Fleet) -> None:
    async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
        await greeted(link)
        for number in range(40):
            outbox = f"box{number}"
            await offered(link, outbox)
            await say(link, upload(1, outbox=outbox, runs=(Made(1, 0, 1, False, False),)))
        database = fleet.primary.home / "uploads.db"
        last = "SELECT count(*) FROM halves JOIN streams ON streams.id = halves.stream WHERE outbox = 'box39'"
        fleet.primary.wait(lambda: shop.ask(database, last) == [(1,)], "has the last half")
        ours = "SELECT id FROM streams WHERE outbox GLOB 'box*'"
        assert shop.ask(database, f"SELECT count(*) FROM halves WHERE stream IN ({ours})") == [(1,)]
        assert shop.ask(database, f"SELECT count(*) FROM frames WHERE stream IN ({ours})") == [(1,)]
        ((streams,),) = shop.ask(database, "SELECT count(*) FROM streams WHERE outbox GLOB 'box*'")
        assert isinstance(streams, int)
        assert streams <= Limits().outboxes_max


async def test_a_flood_of_offers_is_answered_and_holds_up_nobody(fleet: Fleet) -> None:
    async with dialed(fleet.auxiliaries[1], fleet.primary) as link:
        await greeted(link)
        await say(link, *(Offer("shop", "flood", 1, number) for number in range(1, 2_000)))
        await say(link, Offer("shop", "last", 1, 1_000))
        while (await hear_until(link, Taken)) != Taken("shop", "last", 0, 0):
            pass  # of the flood as many are answered as there is time for, perhaps none
