"""Turns of collections on devices: what was chosen and the clock begin and end them, or a person does (R10).

A run lasts until all that waited when it began has travelled both ways: first up, which the device says by its offers,
then down, to the head of that moment. So it ends however much is changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from syncd.core.choosing import Choosing
from syncd.core.edits import Direction
from syncd.core.effects import Effect
from syncd.core.messages import Offer, Pace
from syncd.core.pace import USUAL, Paced
from syncd.core.pacing import NONE_APART, Due, Run
from syncd.core.schedule import CONTINUOUS, Clock
from syncd.core.sending import Standing


class Turns(Choosing):
    # ------------------------------------------------------------ what changes them

    def set_paces(self, collection: str, usual: Paced, apart: Mapping[str, Paced] = NONE_APART) -> list[Effect]:
        """When its changes travel from here on. ``apart``: devices where that is otherwise."""
        before = (self.paces.get(collection, USUAL), self.paced_apart.get(collection, NONE_APART))
        if before == (usual, apart):
            return []
        known = {pair: self.pace_of(*pair) for pair in (*self.due, *self.runs) if pair[1] == collection}
        self.paces[collection], self.paced_apart[collection] = usual, dict(apart)
        self.paced_apart = {name: devices for name, devices in self.paced_apart.items() if devices}
        all_paces = {USUAL, *self.paces.values(), *(one for some in self.paced_apart.values() for one in some.values())}
        self.ranked = len({one.rank for one in all_paces}) > 1
        self.is_paced = any(map(_rests, all_paces))
        for pair in [pair for pair, pace in known.items() if pace != self.pace_of(*pair)]:
            self.due.pop(pair, None)
            run = self.runs.get(pair)
            if run is not None and not (run.asked and _rests(self.pace_of(*pair))):
                del self.runs[pair]
        return self._turn_all()

    def set_rates(self, rates: Mapping[str, int]) -> list[Effect]:
        """How many bytes in a second go to devices, and come from them."""
        self.know_rates(rates)
        return self._turn_all()

    def set_clock(self, clock: Clock) -> list[Effect]:
        self.know_clock(clock)
        return self._turn_all()

    def run_now(self, pairs: Iterable[tuple[str, str]]) -> list[Effect]:
        """A person asks: devices with collections that rest go on until nothing waits. One that is not connected does
        so when it is."""
        for device, collection in pairs:
            if self.bidden_rest(device, collection) is not None:
                self.runs[device, collection] = Run(self.now, asked=True)
        return self._turn_all()

    def _own_pace(self, device: str, pace: Pace) -> list[Effect]:
        """The device itself pauses what it names, and nothing else."""
        before = self.own_rests.get(device, frozenset())
        self.set_own_rests(device, pace)
        for name in before - self.own_rests[device]:
            self._wake(device, name)
        return self._pump_device(device)

    def _tell(self, device: str, collection: str) -> list[Effect]:
        """Of one that is shared while the device is linked, too: that it rests is known before it may be offered."""
        return self.tell_pace(device) + super()._tell(device, collection)

    # ------------------------------------------------------------ turns

    def _turn_all(self) -> list[Effect]:
        return [effect for device in sorted(self.peers) for effect in self._turn(device)]

    def _turn(self, device: str) -> list[Effect]:
        """Of one device: runs begin and end, it is told what rests, and what rests no more is sent."""
        if not self.connected(device) or not (self.is_paced or self.is_ordered(device) or device in self.told):
            return []
        for name in self.collections_of(device) if self.is_paced else ():
            self._begin_or_end(device, name)
        rested = {one.collection for one in self.told[device].resting} if device in self.told else set()
        effects = self.tell_pace(device)
        for name in rested:
            if self.rest_of(device, name) is None:
                self._wake(device, name)
        return effects + self._pump_device(device)

    def _wake(self, device: str, name: str) -> None:
        """It did not stand still, it rested."""
        if (standing := self.standings.get((device, name))) is not None:
            self.standings[device, name] = replace(standing, moved_at=self.now)

    def _begin_or_end(self, device: str, name: str) -> None:
        pair, every_s = (device, name), self.pace_of(device, name).schedule.every_s
        run = self.runs.get(pair)
        if run is not None and not run.asked and (not every_s or self.bidden_rest(device, name) is not None):
            del self.runs[pair]  # its hours are over, or it was paused
            return
        if run is None and every_s and self.bidden_rest(device, name) is None:
            self.runs[pair] = Run(self.now)
        elif run is not None and self._is_over(pair, run):
            del self.runs[pair]
            if every_s:
                at = run.begun_at + every_s
                self.due[pair] = Due(at, _whole_s(self.clock.wall_at(at)) if self.clock else 0)

    def _is_over(self, pair: tuple[str, str], run: Run) -> bool:
        """Whether all that waited has travelled. What changed just before it began may not be read at once."""
        device, name = pair
        source, state = self.sources.get(name), self.state_of(device, name)
        if self.now - run.begun_at < self.limits.run_s or source is None or state is None or not source.sendable:
            return False
        if name in self.own_rests.get(device, ()):
            return True
        direction = self.terms_of(name, device)[0]
        if direction is not Direction.OUT and not run.up:
            return self._takes_nothing(device, name)
        if direction is Direction.IN:
            return True
        if run.aim is None:
            self.runs[pair] = run = replace(run, aim=state.head)
        standing = self.standings.get(pair)
        if standing is None:
            return self._takes_nothing(device, name)
        aim = min(run.aim or 0, state.head)
        return standing.report.epoch == state.epoch and standing.report.position >= aim and _has_come(standing)

    def _takes_nothing(self, device: str, name: str) -> bool:
        """The device has not accepted the collection."""
        return (device, name) not in self.follows and (device, name) not in self.standings

    def _offer(self, device: str, offer: Offer) -> list[Effect]:
        pair = device, offer.collection
        if (run := self.runs.get(pair)) is not None:
            if run.offered is None:
                self.runs[pair] = replace(run, offered=offer.last)
            elif offer.first > min(run.offered, offer.last):  # its newest group may have come to nothing
                self.runs[pair] = replace(run, up=True)
        return super()._offer(device, offer)

    def _each_turn(self) -> list[Effect]:
        """Time passed."""
        if not (self.is_paced or self.ranked or self.rates or self.told):
            return []
        return self._turn_all()


def _rests(paced: Paced) -> bool:
    """Whether it does at any time."""
    return paced.paused or paced.schedule is not CONTINUOUS


def _has_come(standing: Standing) -> bool:
    """What is there was proven, or some of it waits for a person."""
    return standing.report.match or standing.report.parked > 0


def _whole_s(wall_us: int) -> int:
    return -(-wall_us // 1_000_000) * 1_000_000
