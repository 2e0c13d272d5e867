"""The claimed elements on the way up: what comes from an auxiliary passes the principal platform's inbound queue into
its application, and through interface, selection and store to the others."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.adapters.canonical import pack_values
from syncd.adapters.registry import adapter, restore_upload
from syncd.core.edits import Direction
from syncd.core.messages import Upload
from syncd.core.model import Kind
from syncd.store.uploads import SqliteUploadQueue
from tests.claims.chain import COLLECTION, Chain, execute, rows

pytestmark = pytest.mark.asyncio

A, B = "A" * 52, "B" * 52
SCHEMA = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL)",
    "CREATE TABLE line(id INTEGER PRIMARY KEY, orders INTEGER NOT NULL REFERENCES orders(id), goods TEXT,"
    " count INTEGER)",
    "CREATE TABLE draft(id INTEGER PRIMARY KEY, text TEXT)",
    "INSERT INTO orders VALUES (1, 'Ada')",
    "INSERT INTO line VALUES (1, 1, 'pen', 3)",
    "INSERT INTO draft VALUES (1, 'not for the others')",
)
ORDER = (
    "INSERT INTO orders VALUES (2, 'Grace')",
    "INSERT INTO line VALUES (2, 2, 'ink', 1)",
    "INSERT INTO line VALUES (3, 2, 'paper', 500)",
    "UPDATE line SET count = 4 WHERE id = 1",
)
EVERYTHING = "SELECT 'orders', id, customer, NULL FROM orders UNION ALL SELECT 'line', id, goods, count FROM line"


def everything(path: Path) -> list[tuple[object, ...]]:
    return sorted(rows(path, EVERYTHING), key=repr)


@pytest_asyncio.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """A primary and two auxiliaries, one of which speaks JSON, whose changes travel both ways; linked and in step."""
    execute(tmp_path / "source.db", *SCHEMA)
    made = Chain(tmp_path, ("msgpack", "json"), ("orders", "line"))
    made.direction = Direction.BOTH
    async with made:
        await made.settle()
        for device in (A, B):
            await made.link(device)
        yield made


def uploads(chain: Chain, device: str) -> list[Upload]:
    """What the device sent up, as generic messages again: it speaks its own form once it was greeted."""
    form = str if chain.devices[device] == "json" else bytes
    sent = [frame for sender, _, frame in chain.sent if sender == device and isinstance(frame, form)]
    found = [adapter(chain.devices[device]).decode(frame, chain.limits) for frame in sent]
    return [one for one in found if isinstance(one, Upload)]


@pytest.mark.parametrize("device", [A, B])
async def test_24k_the_principal_platforms_inbound_queue_retrieves_what_an_auxiliary_sent(
    chain: Chain, device: str
) -> None:
    """24k: inbound queue module: retrieves the inbound messages from the auxiliary platform, durably, in whole groups
    and in order, until the application can take them."""
    away = chain.source.rename(chain.directory / "away.db")
    await chain.edit(device, *ORDER)
    await chain.edit(device, "DELETE FROM line WHERE id = 3")
    queue = await SqliteUploadQueue.open(chain.directory / "uploads.db", restore_upload)
    try:
        _, groups = await queue.next(COLLECTION, 0, 10)
    finally:
        await queue.close()
    assert [(one.device, len(one.edits)) for one in groups] == [(device, 4), (device, 1)]
    assert groups[1].edits[0].fields is None
    assert (await chain.outbox(device).load(COLLECTION)).pending == 2
    away.rename(chain.source)
    await chain.pass_time(60.0)
    assert (await chain.uploads.next(COLLECTION, 0, 10))[1] == ()
    assert (await chain.outbox(device).load(COLLECTION)).pending == 0
    for path in (chain.source, chain.target(A), chain.target(B)):
        assert everything(path) == everything(chain.target(device))
        assert rows(path, "SELECT id, count FROM line ORDER BY id") == [(1, 4), (2, 1)]


@pytest.mark.parametrize("device", [A, B])
async def test_24b_messages_of_an_auxiliary_name_each_object_with_what_is_done_to_it(chain: Chain, device: str) -> None:
    """24b: an auxiliary platform exchanges messages with the principal platform: add, modify and delete, as one
    group."""
    await chain.edit(device, *ORDER[:2], ORDER[3])
    (upload,) = uploads(chain, device)
    assert sorted(Kind(one) for one in upload.kinds) == [Kind.ADD, Kind.ADD, Kind.MODIFY]
    assert [(made.rows, made.whole) for made in upload.runs] == [(3, True)]


async def test_22_an_error_in_an_object_cancels_its_group_whole_before_it_goes_up(chain: Chain) -> None:
    """22: an error with respect to one or more objects of a transaction is determined: all synchronizations of the
    transaction's objects are cancelled; here of one that an auxiliary made."""
    before = everything(chain.source)
    await chain.edit(A, *ORDER[:2], "INSERT INTO line VALUES (3, 2, CAST(x'ff41' AS TEXT), 5)")
    assert uploads(chain, A) == []
    await refused(chain, "UTF-8", "line", 3)
    await chain.edit(A, "INSERT INTO orders VALUES (9, 'Edsger')")
    for path in (chain.source, chain.target(A), chain.target(B)):
        assert everything(path) == sorted([*before, ("orders", 9, "Edsger", None)], key=repr)


async def test_23_an_error_in_an_object_rolls_its_group_back_whole_on_the_principal_platform(chain: Chain) -> None:
    """23: an error with respect to one or more objects of a transaction is determined: all are rolled back, on the
    principal platform and where they were made."""
    before = everything(chain.source)
    execute(
        chain.source,
        "CREATE TRIGGER own BEFORE INSERT ON line WHEN NEW.count > 100 BEGIN SELECT RAISE(ABORT, 'too many'); END",
    )
    away = chain.source.rename(chain.directory / "away.db")  # so that both are executed together
    await chain.edit(A, *ORDER)
    await chain.edit(A, "INSERT INTO orders VALUES (9, 'Edsger')")
    away.rename(chain.source)
    await chain.pass_time(60.0)
    await refused(chain, "too many", "line", 4)
    for path in (chain.source, chain.target(A), chain.target(B)):
        assert everything(path) == sorted([*before, ("orders", 9, "Edsger", None)], key=repr)


async def refused(chain: Chain, cause: str, type_: str, objects: int) -> None:
    """The one group that was refused: why, for which object, and that it stays readable whole."""
    (group,) = await chain.outbox(A).refused(COLLECTION)
    assert cause in group.cause
    assert group.guilty is not None
    assert (group.guilty.type, group.objects) == (type_, objects)
    assert len(await chain.outbox(A).edits(COLLECTION, group.number)) == objects


async def test_24egh_what_comes_up_passes_interface_and_selection_into_the_store(chain: Chain) -> None:
    """24e: application interface module: data objects to and from the principal platform; 24g: selection module: the
    appropriate objects pass; 24h: the store has a copy of them, with who made it."""
    execute(chain.target(A), SCHEMA[2])
    await chain.edit(A, *ORDER, "INSERT INTO draft VALUES (2, 'nor this')")
    assert everything(chain.source) == everything(chain.target(A)) == everything(chain.target(B))
    assert rows(chain.source, "SELECT id FROM draft") == [(1,)]
    assert all(b"nor this" not in frame for _, _, frame in chain.sent if isinstance(frame, bytes))
    state = await chain.store.open_collection(COLLECTION)
    assert state.objects == len(everything(chain.source)) == 5
    lines = next(one.id for one in state.types if one.name == "line")
    ((version, former),) = [(await chain.store.history(COLLECTION, lines, pack_values([1]), 10))]
    assert (version.author, former.author) == (A, "")
    for device in (A, B):
        assert chain.engine(device).targets[COLLECTION].match
