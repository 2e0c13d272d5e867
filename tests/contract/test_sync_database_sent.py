"""What devices were sent, in the sync database and its twin: kept while no link is open, not known while one is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.core.devices import Sent, SyncDatabase
from syncd.core.model import Span
from tests.contract.sync_database_kit import KINDS, device, opened

pytestmark = pytest.mark.asyncio
LAPTOP, TILL = device("laptop"), device("till")


@pytest_asyncio.fixture(params=KINDS)
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SyncDatabase]:
    async with opened(request.param, tmp_path) as made:
        ada = await made.ensure_user("ada")
        for one in (LAPTOP, TILL):
            await made.link(ada, one)
        yield made


def sent(device: str, *epochs: str) -> list[Sent]:
    return [Sent(device, "notes", epoch, Span(3, 7)) for epoch in epochs]


async def test_it_is_kept_in_its_order_in_place_of_what_was(database: SyncDatabase) -> None:
    await database.end_sending(LAPTOP.id, sent(LAPTOP.id, "z", "a"))
    await database.end_sending(TILL.id, sent(TILL.id, "b"))
    assert await database.sent() == ([], [*sent(LAPTOP.id, "z", "a"), *sent(TILL.id, "b")])
    await database.end_sending(LAPTOP.id, [])
    assert await database.sent() == ([], sent(TILL.id, "b"))


async def test_it_is_not_known_while_something_is_sent(database: SyncDatabase) -> None:
    await database.end_sending(LAPTOP.id, sent(LAPTOP.id, "a"))
    await database.begin_sending(LAPTOP.id)
    await database.begin_sending(LAPTOP.id)
    assert await database.sent() == ([LAPTOP.id], [])
    await database.end_sending(LAPTOP.id, sent(LAPTOP.id, "b"))
    assert await database.sent() == ([], sent(LAPTOP.id, "b"))


async def test_of_an_unknown_device_nothing_is_kept(database: SyncDatabase) -> None:
    await database.begin_sending("unknown")
    await database.end_sending("unknown", sent("unknown", "a"))
    assert await database.sent() == ([], [])


async def test_with_a_device_that_goes_what_it_was_sent_goes(database: SyncDatabase) -> None:
    await database.end_sending(LAPTOP.id, sent(LAPTOP.id, "a"))
    await database.begin_sending(TILL.id)
    for one in (LAPTOP, TILL):
        await database.forget(one.id)
    assert await database.sent() == ([], [])
