"""What devices were sent survives a restart, and is what it may be at most where the daemon died meanwhile."""

from __future__ import annotations

import pytest
import pytest_asyncio

from syncd.core.model import Span
from syncd.core.reach import Reaches
from syncd.sent import SentRecord
from syncd.store.memory import MemorySyncStore
from syncd.store.memory_sync_database import MemorySyncDatabase
from tests.contract.classes_kit import FRENCH, ITEM, Shop, item
from tests.contract.sync_database_kit import device
from tests.contract.sync_store_kit import NAME, prepare

pytestmark = pytest.mark.asyncio
TILL = device("till")


class Primary:
    """Its database and store; ``began``: the record of a daemon that begins."""

    def __init__(self) -> None:
        self.database, self.store = MemorySyncDatabase(), MemorySyncStore()
        self.shop = Shop(self.store, 0)

    async def open(self) -> Primary:
        await self.database.link(await self.database.ensure_user("ada"), TILL)
        self.shop.type = await prepare(self.store, ITEM)
        await self.shop.imported({1: item("FR"), 2: item("DE")})
        await self.shop.open(FRENCH)
        return self

    async def begun(self) -> tuple[SentRecord, Reaches]:
        reaches = Reaches()
        record = SentRecord(self.database, reaches)
        await record.recall(self.store, [NAME])
        return record, reaches


@pytest_asyncio.fixture
async def primary() -> Primary:
    return await Primary().open()


async def test_what_was_sent_is_known_after_a_restart(primary: Primary) -> None:
    record, reaches = await primary.begun()
    async with record.link(TILL.id):
        reaches.sent(TILL.id, NAME, "old", 5)
        reaches.sent(TILL.id, NAME, "e", 9)
    _, after = await primary.begun()
    assert after.spans == {(TILL.id, NAME): {"old": Span(0, 5), "e": Span(0, 9)}}
    assert list(after.spans[TILL.id, NAME]) == ["old", "e"]


async def test_where_the_daemon_died_it_may_have_all_there_was_then(primary: Primary) -> None:
    record, _ = await primary.begun()
    link = record.link(TILL.id)
    await link.__aenter__()
    _, after = await primary.begun()
    state = await primary.store.open_collection(NAME)
    epochs = [state.epoch, state.classes[0].epoch]
    assert after.spans == {(TILL.id, NAME): {epoch: Span(0, state.head) for epoch in epochs}}
    await primary.shop.keep({1: None})
    _, later = await primary.begun()
    assert later.spans == after.spans, "what came later was not sent"


async def test_of_two_links_the_last_that_ends_counts(primary: Primary) -> None:
    record, reaches = await primary.begun()
    async with record.link(TILL.id):
        async with record.link(TILL.id):
            reaches.sent(TILL.id, NAME, "e", 5)
        assert await primary.database.sent() == ([TILL.id], [])
    assert (await primary.database.sent())[0] == []
