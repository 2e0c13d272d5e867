"""The auxiliary's engine (claims 20e, 20f, 24i): what the primary sends, into the targets; what is changed here, up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from syncd.core import target as targets
from syncd.core import uplink as uplinks
from syncd.core.auxiliary_pace import AuxiliaryPace
from syncd.core.conversation import Phase, advance
from syncd.core.edits import Direction, OutboxState
from syncd.core.effects import (
    CloseLink,
    Effect,
    SaveTypes,
    Send,
    UseAdapter,
)
from syncd.core.engine import refuse
from syncd.core.errors import OrderError, Refused
from syncd.core.events import (
    Event,
    LinkDown,
    LinkUp,
    Received,
    TargetOpened,
    Tick,
    WorkDone,
)
from syncd.core.messages import (
    PROTOCOL_VERSIONS,
    Begin,
    Hello,
    Objects,
    Pace,
    Refusal,
    Taken,
    Terms,
    Types,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.model import Role
from syncd.core.settings import Limits
from syncd.core.target_state import Step
from syncd.core.uplink_state import Uplink
from syncd.core.upward_effects import HoldUploads
from syncd.core.upward_events import LocalRead, UplinkEvent


class AuxiliaryEngine(AuxiliaryPace):
    """``name``: of this device. ``adapter``: which it asks for; ``speaks``: others that it can. ``uplinks``: of targets
    whose edits are captured. ``terms``: what came on this link, also of collections that are accepted later."""

    def __init__(self, name: str, adapter: str, limits: Limits, speaks: Iterable[str] = ()) -> None:
        super().__init__(limits)
        self.name = name
        self.adapter = adapter
        self.speaks = frozenset((adapter, *speaks))
        self.terms: dict[str, Terms] = {}
        self.phase = Phase.CLOSED
        self.since = 0.0  # of the link
        self.welcome: Welcome | None = None
        self.refusal: Refusal | None = None

    def accept(self, collection: str, now: float, edits: bool = False, keep_edits: bool = False) -> list[Effect]:
        """A collection comes in. ``edits``: what the application changes in it is captured; ``keep_edits``: and stays,
        where it may not travel."""
        if edits:
            self.uplinks[collection] = Uplink(collection, self.limits, self.adapter, keep_edits)
        self.targets[collection], effects = targets.start(collection, self.limits)
        effects = effects + self._turned(set(), now)
        if self.phase is Phase.OPEN:
            self._allow(now)
            effects = effects + self._tell_own() + self._link_open(collection, self.primary, now)
            if (terms := self.terms.get(collection)) is not None:
                effects = effects + self._upward(terms, now)
        return effects

    def retire(self, collection: str) -> list[Effect]:
        """A collection goes. Its link is closed, so that nothing that was sent for it meets what comes in its place;
        what comes of effects that are under way is not heard any more."""
        self.targets.pop(collection, None)
        self.uplinks.pop(collection, None)
        if self.phase is Phase.CLOSED:
            return []
        self.phase = Phase.CLOSED
        return [CloseLink(self.primary, "", f"{collection} is accepted anew")]

    def step(self, event: Event, now: float) -> list[Effect]:
        if self.account is not None:
            self._allow(now)
        return self._spent(self._step(event, now), now)

    def _step(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Received():
                return self._received(event, now)
            case LinkUp():
                self.primary, self.phase, self.since = event.device, Phase.GREETING, now
                self.refusal = None
                self.terms.clear()
                hello = Hello(PROTOCOL_VERSIONS, Role.AUXILIARY, self.name, self.adapter)
                return [*self._unbidden(now), Send(event.device, hello)]
            case LinkDown():
                return self._down(event.device, now)
            case Tick():
                return self._each(event, now) + self._unwelcome(now)
            case _ if isinstance(event, UplinkEvent):
                return self._uplink(event, now)
            case _:
                return self._target(event, now)

    # ------------------------------------------------------------ targets and uplinks

    def _target(self, event: Event, now: float) -> list[Effect]:
        name = getattr(event, "collection", "")
        if name not in self.targets:
            return []
        outbox = event.outbox if isinstance(event, TargetOpened | WorkDone) else None
        return self._took(name, targets.step(self.targets[name], event, now), now, outbox)

    def _took(self, name: str, step: Step, now: float, outbox: OutboxState | None = None) -> list[Effect]:
        """After a step of a target: its uplink is told where it is, and what the outbox holds if that is known."""
        self.targets[name], effects = step
        state = self.targets[name].state
        if state is None or name not in self.uplinks:
            return effects
        self.uplinks[name], more = uplinks.moved(self.uplinks[name], state, outbox, now)
        return effects + more

    def _uplink(self, event: UplinkEvent, now: float) -> list[Effect]:
        name = event.collection
        if name not in self.uplinks:
            return []
        lost = self.uplinks[name].lost
        self.uplinks[name], effects = uplinks.step(self.uplinks[name], event, now)
        if isinstance(event, LocalRead) and event.lost and not lost:
            effects = effects + self._took(name, targets.fetch_again(self.targets[name], now), now)
        return effects

    def _each(self, event: Tick, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(self.targets):
            effects += self._took(name, targets.step(self.targets[name], event, now), now)
        for name in sorted(self.uplinks):
            self.uplinks[name], more = uplinks.step(self.uplinks[name], event, now)
            effects += more
        return effects

    def _unwelcome(self, now: float) -> list[Effect]:
        if self.phase is not Phase.GREETING or now - self.since <= self.limits.hello_s_max:
            return []
        self.phase = Phase.CLOSED
        return refuse(self.primary, OrderError(f"no Welcome came for {self.limits.hello_s_max:g} s"))

    def _received(self, event: Received, now: float) -> list[Effect]:
        if event.device != self.primary or self.phase is Phase.CLOSED:
            return []
        try:
            self.phase = advance(Role.AUXILIARY, self.phase, event.message)
            return self._message(event, event.message, now)
        except (Refused, OrderError) as error:
            self.phase = Phase.CLOSED
            return refuse(event.device, error)

    def _message(self, event: Received, message: Wire, now: float) -> list[Effect]:
        match message:
            case Welcome():
                return self._welcome(event.device, message, now)
            case Refusal():
                self.refusal = message
                return [CloseLink(event.device, "", message.text)]
            case Types():
                return self._described(message, now)
            case Begin() | Objects():
                target = self.targets.get(message.collection)
                if target is None:
                    raise OrderError(f"{message.collection!r} was not asked for")
                return self._took(message.collection, targets.message(target, message, event.raw, now), now)
            case Terms() | Taken() | Verdicts():
                return self._upward(message, now)
            case Pace():
                return self._bid(message, now)
            case _:
                return []

    def _described(self, types: Types, now: float) -> list[Effect]:
        name, uplink = types.collection, self.uplinks.get(types.collection)
        target = self.targets.get(name)
        if target is None:
            return []
        if uplink is None or uplink.direction is not Direction.IN:
            return self._took(name, targets.described(target, types), now)
        # Nothing is followed: they are for the edits alone.
        self.uplinks[name], effects = uplinks.described(uplink, types.types, now)
        return [SaveTypes(name, types.types), *effects]

    def _upward(self, message: Terms | Taken | Verdicts, now: float) -> list[Effect]:
        name, uplink = message.collection, self.uplinks.get(message.collection)
        if isinstance(message, Terms):
            if name not in self.terms and len(self.terms) >= self.limits.follows_max:
                raise OrderError(f"terms of more than {self.limits.follows_max} collections come")
            self.terms[name] = message
        if uplink is None:
            return []
        self.uplinks[name], effects = uplinks.message(uplink, message, now)
        if uplink.direction is Direction.IN and self.uplinks[name].direction is not Direction.IN:
            effects = effects + self._took(name, targets.link_open(self.targets[name], self.primary, now), now)
        return effects

    def _welcome(self, device: str, welcome: Welcome, now: float) -> list[Effect]:
        if welcome.version not in PROTOCOL_VERSIONS:
            raise Refused("the primary chose a version that this device did not offer", code="version")
        if welcome.adapter not in self.speaks:
            raise Refused(f"this device does not speak the adapter {welcome.adapter!r}", code="adapter")
        self.welcome, self.refusal = welcome, None
        effects: list[Effect] = [UseAdapter(device, welcome.adapter), *self._tell_own()]
        for name in sorted(self.targets):
            effects += self._link_open(name, device, now)
        return effects

    def _link_open(self, name: str, device: str, now: float) -> list[Effect]:
        """What comes from this device only, as far as is known, is not followed."""
        uplink = self.uplinks.get(name)
        effects: list[Effect] = []
        if uplink is None or uplink.direction is not Direction.IN:
            effects = self._took(name, targets.link_open(self.targets[name], device, now), now)
        if uplink is not None:
            adapter = self.welcome.adapter if self.welcome else self.adapter
            self.uplinks[name], more = uplinks.link_open(replace(uplink, adapter=adapter), device, now)
            effects = effects + more
        return effects

    def _down(self, device: str, now: float) -> list[Effect]:
        if device != self.primary:
            return []
        self.phase = Phase.CLOSED
        for name in sorted(self.targets):
            self.targets[name] = targets.link_down(self.targets[name])
        self.uplinks = {name: uplinks.link_down(uplink) for name, uplink in self.uplinks.items()}
        held = [HoldUploads(name, uplink.links) for name, uplink in self.uplinks.items()]
        return [*held, *self._unbidden(now)]
