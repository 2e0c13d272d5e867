"""A type that is not in its application any more: offline, never empty (R13), unless nothing of it can be lost."""

from __future__ import annotations

import pytest

from syncd.core import effects as fx
from syncd.core import events as ev
from tests.core.kit import NAME
from tests.perform_kit import TYPES, Primary

pytestmark = pytest.mark.asyncio


async def test_a_type_that_vanished_takes_the_source_offline_until_a_person_shares_it_again() -> None:
    primary = Primary()
    await primary.imported()
    primary.source.reshape(TYPES[1:])
    failed = await primary.does(fx.OpenSource(NAME))
    assert isinstance(failed, ev.SourceFailed)
    assert "city of collection" in failed.reason
    primary.ports.shared_again.add(NAME)
    assert isinstance(await primary.does(fx.OpenSource(NAME)), ev.SourceOpened)
    assert primary.ports.shared_again == set()
    assert (await primary.store.open_collection(NAME)).objects == 5


async def test_a_type_that_vanished_and_held_nothing_is_forgotten() -> None:
    primary = Primary()
    await primary.imported()
    primary.source.reshape(TYPES[:1])  # no country was ever there
    opened = await primary.does(fx.OpenSource(NAME))
    assert isinstance(opened, ev.SourceOpened)
    assert [one.name for one in opened.state.types] == ["city"]


async def test_a_type_that_took_the_place_of_a_known_one_is_not_gone() -> None:
    primary = Primary()
    await primary.imported()
    primary.source.reshape(TYPES[1:])
    primary.source.renamed = (("city", "elsewhere"),)
    assert isinstance(await primary.does(fx.OpenSource(NAME)), ev.SourceFailed)
    primary.source.renamed = (("city", "country"),)
    assert isinstance(await primary.does(fx.OpenSource(NAME)), ev.SourceOpened)
