"""Events on their way to the engine: at once where none waits, in order, and whose fault an error of it is."""

from __future__ import annotations

import asyncio

import pytest

from syncd.core import effects as fx
from syncd.core import events as ev
from syncd.core.errors import InvariantBroken
from syncd.driver import Driver
from tests.driver_kit import Script, ports, running, until

pytestmark = pytest.mark.asyncio

A, B = "A" * 52, "B" * 52


async def test_an_event_is_heard_at_once_where_no_other_waits() -> None:
    engine = Script()
    async with running(engine, ports()) as driver:
        await asyncio.sleep(0)
        await driver.tell(ev.LinkUp(A))
        assert engine.heard == [ev.LinkUp(A)]


async def test_events_are_heard_in_the_order_in_which_they_came() -> None:
    engine = Script()
    driver = Driver(engine, ports(), lambda effect: None)
    await driver.tell(ev.LinkUp(A))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(driver.run())
        await driver.started.wait()
        await driver.tell(ev.LinkUp(B))
        await until(lambda: len(engine.heard) == 2)
        task.cancel()
    assert engine.heard == [ev.LinkUp(A), ev.LinkUp(B)]


async def test_a_fault_of_the_engine_stops_the_daemon_and_not_who_told_the_event() -> None:
    engine = Script()

    def fault() -> list[fx.Effect]:
        raise InvariantBroken("it cannot be")

    engine.orders[ev.LinkUp] = fault
    driver = Driver(engine, ports(), lambda effect: None)
    with pytest.RaisesGroup(pytest.RaisesExc(InvariantBroken, match="it cannot be"), flatten_subgroups=True):
        async with asyncio.TaskGroup() as group, asyncio.timeout(30):
            group.create_task(driver.run())
            await driver.started.wait()
            await driver.tell(ev.LinkUp(A))
            await asyncio.Event().wait()
