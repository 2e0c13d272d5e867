"""Devices to the application: the terms that each collection has, and what comes of changes made on auxiliaries.

What a device sends of a collection that it may not have is passed over, as of one that is not shared (R9).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from syncd.core import intake as intakes
from syncd.core.edits import Direction, Policy
from syncd.core.effects import Effect, Send
from syncd.core.events import Event
from syncd.core.intake_state import NONE_SELECTED, Frame, Ground, Intake
from syncd.core.messages import Follow, Hello, Offer, Terms, Types, Upload
from syncd.core.selection import ALL, Selection
from syncd.core.sending import Sending
from syncd.core.settings import Limits
from syncd.core.source import SourcePhase
from syncd.core.upward_events import WrittenSettled

NONE_APART: Mapping[str, Direction] = {}
_UNREACHED = (SourcePhase.OPENING, SourcePhase.OFFLINE)


class Takers(NamedTuple):
    """Of a collection, as in ``Ground``."""

    devices: frozenset[str]
    silent: frozenset[str]
    selected: Mapping[str, Selection]


class Taking(Sending):
    """``intakes``: one for each source. What is known of all devices is worked out once, until anything of it changes
    (``_takers_changed``): a commit costs what it does for those that are linked, however many are known (R8)."""

    def __init__(self, name: str, user: str, adapters: Sequence[str], limits: Limits) -> None:
        super().__init__(name, user, adapters, limits)
        self.intakes: dict[str, Intake] = {}
        self._takers: dict[str, Takers] = {}

    def _takers_changed(self) -> None:
        """Who may have what, which way or how much of it is another from here on."""
        self._takers.clear()

    # ------------------------------------------------------------ terms

    def set_terms(
        self, collection: str, direction: Direction, policy: Policy, apart: Mapping[str, Direction] = NONE_APART
    ) -> list[Effect]:
        """Which way its changes travel from here on, and what decides a conflict. ``apart``: devices where they travel
        another way."""
        linked = self._linked(collection)
        before = {device: self.terms_of(collection, device) for device in linked}
        self.terms[collection], self.apart[collection] = (direction, policy), dict(apart)
        self._takers_changed()
        moved = [device for device in linked if self.terms_of(collection, device) != before[device]]
        effects = [effect for device in moved for effect in self._tell(device, collection)]
        for device in moved:
            effects += self._pump(device, collection) if (device, collection) in self.follows else []
        return effects

    def _linked(self, collection: str) -> list[str]:
        """All who may have the collection and are linked."""
        return [device for device in sorted(self.peers) if self.connected(device) and self.may(device, collection)]

    def _tell_all(self, collection: str) -> list[Effect]:
        return [effect for device in self._linked(collection) for effect in self._tell(device, collection)]

    def _tell(self, device: str, collection: str) -> list[Effect]:
        direction, policy = self.terms_of(collection, device)
        effects: list[Effect] = [Send(device, Terms(collection, direction, policy))]
        return effects + self._describe(device, collection)

    def _follow(self, device: str, asked: Follow) -> list[Effect]:
        """A device asks before it knows the direction, if it accepts while it is linked."""
        told = self._describe(device, asked.collection) if self.may(device, asked.collection) else []
        return super()._follow(device, asked) + told

    def _describe(self, device: str, collection: str) -> list[Effect]:
        """A device that nothing is sent to has no Follow to be answered with the types."""
        source = self.sources.get(collection)
        if self.terms_of(collection, device)[0] is not Direction.IN or source is None or source.state is None:
            return []
        types = self.selection_of(device, collection).of_types(source.state.types)
        return [Send(device, Types(collection, types))]

    def _describe_all(self, collection: str) -> list[Effect]:
        return [effect for device in self._linked(collection) for effect in self._describe(device, collection)]

    def _welcome(self, device: str, hello: Hello) -> list[Effect]:
        welcome = super()._welcome(device, hello)
        return welcome + [effect for name in self.collections_of(device) for effect in self._tell(device, name)]

    # ------------------------------------------------------------ what comes

    def _offer(self, device: str, offer: Offer) -> list[Effect]:
        if not self.may(device, offer.collection):
            return []
        intake = self.intakes[offer.collection]
        self.intakes[offer.collection], effects = intakes.offered(intake, device, offer)
        return effects

    def _upload(self, device: str, upload: Upload, raw: bytes) -> list[Effect]:
        if not self.may(device, upload.collection):
            return []
        name, frame = upload.collection, Frame(device, upload, raw)
        self.intakes[name], effects = intakes.uploaded(self.intakes[name], frame, self._ground(name))
        return effects

    def _ground(self, name: str) -> Ground:
        """What the intake of a collection stands on at this moment."""
        source, policy = self.sources[name], self.terms_of(name)[1]
        takers = self._takers.get(name)
        if takers is None:
            devices = frozenset(device for device in self.users if self.may(device, name))
            takers = Takers(devices, self._silent(name, devices), self._selected(name, devices))
            self._takers[name] = takers
        reached = source.ready and source.phase not in _UNREACHED
        published = source.sendable and source.state is not None and source.state.published
        state = source.state if reached else None
        return Ground(takers.silent, policy, takers.devices, state, published, takers.selected)

    def _selected(self, name: str, devices: frozenset[str]) -> Mapping[str, Selection]:
        """What those take that do not take everything."""
        if name not in self.selections or (self.selections[name] == ALL and not self.selected_apart.get(name)):
            return NONE_SELECTED
        chosen = {device: self.selection_of(device, name) for device in devices}
        return {device: selection for device, selection in chosen.items() if selection != ALL}

    def _silent(self, name: str, devices: frozenset[str]) -> frozenset[str]:
        """Those whose changes are not taken."""
        if self.apart.get(name):
            return frozenset(device for device in devices if self.terms_of(name, device)[0] is Direction.OUT)
        return devices if self.terms_of(name)[0] is Direction.OUT else frozenset()

    def _intake(self, name: str, event: Event) -> list[Effect]:
        """What came of an effect that an intake had ordered."""
        if name not in self.intakes:
            return []
        self.intakes[name], effects = intakes.step(self.intakes[name], event, self._ground(name), self.now)
        if isinstance(event, WrittenSettled):
            for device, (_, verdicts) in sorted(event.verdicts.items()):
                self._has_made(device, name, max((one.seq for one in verdicts), default=0))
                effects = effects + self._prove(device, name)
        return effects

    def _has_made(self, device: str, name: str, seq: int) -> None:
        """What came of its own changes up to there the device may hold, although it was not sent it."""
        state = self.state_of(device, name)
        if seq and state is not None:
            self.reaches.sent(device, name, state.epoch, seq)

    def _prove(self, device: str, name: str) -> list[Effect]:
        """A device of a class waits for the number of its verdict, which may be beyond the class's head: it is told
        that it holds all up to there."""
        follow, state = self.follows.get((device, name)), self.sources[name].state
        if follow is None or state is None or not follow.epoch or self.selection_of(device, name) == ALL:
            return []
        if follow.cursor >= state.head:
            return []  # a cut up to there was sent, or is owed
        self.follows[device, name] = replace(follow, owes_cut=True)
        return self._pump(device, name)

    def _intake_goes_on(self, name: str) -> list[Effect]:
        """Its source has read something, or can be read again."""
        self.intakes[name], effects = intakes.proceed(self.intakes[name], self._ground(name), self.now)
        return effects

    def _part_intakes(self, device: str) -> None:
        self.intakes = {name: intakes.link_down(one, device) for name, one in self.intakes.items()}
