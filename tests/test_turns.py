"""The primary's clock as the engine is told it, and the rates of devices."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncd.core.errors import UserError
from syncd.core.preferences import Chosen, Place
from syncd.core.schedule import DAY_MIN, WEEK_MIN, read_schedule
from syncd.primary import Primary
from syncd.turns import local_clock
from tests.rooms_kit import device_of, primary_home, rooms_of

MINUTE_US = 60_000_000


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Its clock is put forward on 2025-03-30 at 02:00 and back on 2025-10-26 at 03:00."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> int:
    """Microseconds UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000)


@pytest.mark.usefixtures("berlin")
def test_the_clock_shows_the_minute_of_the_week_and_when_it_began() -> None:
    clock = local_clock(at("2025-01-06 08:30:12"), 100.0)  # a Monday
    assert clock.minute == 9 * 60 + 30
    assert clock.wall_us == at("2025-01-06 08:30:00")
    assert clock.at == pytest.approx(88.0, abs=1e-3)
    assert (clock.shift_in_min, clock.shift_min) == (0, 0)
    assert local_clock(at("2025-01-05 22:59:59"), 0.0).minute == WEEK_MIN - 1
    assert local_clock(at("2025-01-05 23:00:00"), 0.0).minute == 0


@pytest.mark.usefixtures("berlin")
@pytest.mark.parametrize(
    ("now", "shift", "opens"),
    [
        ("2025-03-29 23:00", (120, 60), "2025-03-30 04:00"),  # midnight; six o'clock is an hour nearer
        ("2025-10-25 22:00", (180, -60), "2025-10-26 05:00"),  # midnight; it is an hour farther
        ("2025-03-28 23:00", (DAY_MIN + 120, 60), "2025-03-29 05:00"),
    ],
)
def test_when_a_window_opens_is_right_on_the_days_on_which_the_clock_is_put(
    now: str, shift: tuple[int, int], opens: str
) -> None:
    clock, window = local_clock(at(now), 0.0), read_schedule("within 06:00-07:00").window
    assert window is not None
    assert (clock.shift_in_min, clock.shift_min) == shift
    assert clock.wall_us + window.opens_in_min(clock) * MINUTE_US == at(opens)


@pytest.mark.usefixtures("berlin")
def test_at_each_minute_of_such_a_week_the_window_is_open_as_the_clock_says() -> None:
    window = read_schedule("within 01:30-02:30 sun").window
    assert window is not None
    for night, expected in (("2025-03-30 00:00", 30), ("2025-10-25 23:00", 120 - 30)):
        begin = at(night)
        minutes = [local_clock(begin + after * MINUTE_US, 0.0).minute for after in range(4 * 60)]
        assert sum(map(window.has, minutes)) == expected, (
            "from half past one; what is left out or comes twice counts so"
        )


@pytest.mark.asyncio
async def test_a_rate_is_that_of_the_device_or_of_its_first_user(tmp_path: Path) -> None:
    async with rooms_of(primary_home(tmp_path / "desk")) as (rooms, stack):
        ada, bob = await rooms.database.ensure_user("ada"), await rooms.database.add_user("bob")
        one, other, third = devices = [device_of(number, tmp_path / f"till-{number}") for number in range(3)]
        for device, users in zip(devices, ((ada,), (bob, ada), (bob,)), strict=True):
            for user in users:
                await rooms.database.link(user, device)
        primary = Primary(rooms, stack)
        await primary.open()
        await primary.turns.look()
        assert primary.engine.rates == {}
        assert primary.engine.clock is not None
        for place, value in ((Place(ada), "1 MiB/s"), (Place(0, one.id), "2 KiB/s")):
            await rooms.database.change_settings([Chosen(place, "rate", value)], "", 0)
        primary.turns.chosen = await primary.choices.load()
        await primary.turns.look()
        assert primary.engine.rates == {one.id: 2_048, other.id: 1 << 20}
        await rooms.database.link_user(ada, third.id)
        await primary.turns.look()
        assert primary.engine.rates[third.id] == 1 << 20, "it comes while the daemon runs"


@pytest.mark.asyncio
async def test_now_names_what_there_is_and_says_where_nothing_rests(tmp_path: Path) -> None:
    async with rooms_of(primary_home(tmp_path / "desk")) as (rooms, stack):
        primary = Primary(rooms, stack)
        await primary.open()
        assert await primary.answer("now", {}) == {"runs": []}
        for what, name in (("collection", "old"), ("device", "x")):
            with pytest.raises(UserError, match=f"no {what} '{name}'"):
                await primary.answer("now", {what: name})
