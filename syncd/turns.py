"""When collections travel, on the primary: its clock, the rates of its devices, and the verb `syncd now`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from syncd.admission import Admission
from syncd.core.errors import UserError
from syncd.core.pacing import ON_DEVICE
from syncd.core.preferences import Place, Preferences
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.schedule import DAY_MIN, WEEK_MIN, Clock
from syncd.core.status import Json
from syncd.driver import Driver
from syncd.rooms import Rooms

NOW_S_MAX = 60.0  # then `syncd now` says what is not done; it goes on
_HOUR_MIN = 60

Verb = Callable[[Json], Awaitable[Json]]
Pair = tuple[str, str]  # device, collection


class Turns:
    """``chosen``: what persons set. ``verbs``: name -> what answers it."""

    def __init__(self, rooms: Rooms, engine: PrimaryEngine, driver: Driver, admission: Admission) -> None:
        self._rooms = rooms
        self._engine = engine
        self._driver = driver
        self._admission = admission
        self.chosen = Preferences(rooms.limits)
        self.verbs: dict[str, Verb] = {"now": self._now}

    def set_paces(self, name: str, at: Place) -> None:
        """What was chosen for a collection is in force."""
        self._driver.order(self._engine.set_paces(name, self.chosen.pace(at), self.chosen.paces_apart(at)))

    async def look(self) -> None:
        """The clock shows another minute, or a person chose rates: devices and their users come and go."""
        ports, before = self._rooms.ports, self._engine.clock
        clock = local_clock(ports.wall_us(), ports.now())
        if before is None or (clock.minute, clock.shift_in_min) != (before.minute, before.shift_in_min):
            self._driver.order(self._engine.set_clock(clock))
        rates = await self._rates()
        if rates != self._engine.rates:
            self._driver.order(self._engine.set_rates(rates))

    async def _rates(self) -> dict[str, int]:
        """Of devices that have one. Where several users count it is the one that came first."""
        if not any(name == "rate" for _, name in self.chosen.kept):
            return {}
        users: dict[str, int] = {}
        for user, device in await self._rooms.database.links():
            users[device] = min(user, users.get(device, user))
        found = {device: self.chosen.rate_bytes_s(Place(user, device)) for device, user in users.items()}
        return {device: rate for device, rate in found.items() if rate}

    # ------------------------------------------------------------ syncd now

    async def _now(self, args: Json) -> Json:
        """What rests runs until nothing of it waits, and then rests again."""
        collection, device, user = (str(args.get(key) or "") for key in ("collection", "device", "user"))
        if collection and collection not in self._engine.owners:
            raise UserError(f"no collection {collection!r} is shared", "`syncd status` names those that are")
        wanted, owners = self._admission.find(device).id if device else "", self._engine.owners
        pairs = [
            pair
            for pair in self._held()
            if collection in ("", pair[1]) and wanted in ("", pair[0]) and user in ("", owners[pair[1]])
        ]
        resting = [pair for pair in pairs if self._engine.bidden_rest(*pair) is not None]
        self._driver.order(self._engine.run_now(resting))
        with suppress(TimeoutError):
            async with asyncio.timeout(NOW_S_MAX):
                while any(map(self._is_running, resting)):
                    self._driver.changed.clear()
                    await self._driver.changed.wait()
        return {"runs": [self._line(pair) for pair in resting]}

    def _held(self) -> list[Pair]:
        """All that devices said that they take."""
        engine = self._engine
        return sorted(pair for pair in {*engine.standings, *engine.follows} if engine.may(*pair))

    def _is_running(self, pair: Pair) -> bool:
        return pair in self._engine.runs and self._engine.connected(pair[0])

    def _line(self, pair: Pair) -> Json:
        device, name = pair
        reason = ""
        if name in self._engine.own_rests.get(device, ()):
            reason = ON_DEVICE
        elif pair in self._engine.runs:
            there = self._engine.connected(device)
            reason = "it goes on: see `syncd status`" if there else "not connected: it runs when it is"
        return {
            "collection": name,
            "device": device,
            "device_name": self._admission.shown(device),
            "done": not reason,
            "reason": reason,
        }


def local_clock(wall_us: int, now: float) -> Clock:
    """What the clock of this machine shows."""
    wall_s = wall_us // 1_000_000
    begun_s = wall_s - wall_s % 60
    local = time.localtime(begun_s)
    minute = local.tm_wday * DAY_MIN + local.tm_hour * 60 + local.tm_min
    after_min, shift_min = _next_shift(begun_s, _offset_min(begun_s))
    return Clock(minute, begun_s * 1_000_000, now - (wall_us / 1e6 - begun_s), after_min, shift_min)


def _next_shift(begun_s: int, offset_min: int) -> tuple[int, int]:
    """In how many minutes the offset from UTC changes within the week, and by how many; zeros if it does not."""
    for hour_min in range(_HOUR_MIN, WEEK_MIN + DAY_MIN, _HOUR_MIN):
        if _offset_min(begun_s + hour_min * 60) != offset_min:
            after_min = next(
                one
                for one in range(hour_min - _HOUR_MIN + 1, hour_min + 1)
                if _offset_min(begun_s + one * 60) != offset_min
            )
            return after_min, _offset_min(begun_s + after_min * 60) - offset_min
    return 0, 0


def _offset_min(at_s: int) -> int:
    return time.localtime(at_s).tm_gmtoff // 60
