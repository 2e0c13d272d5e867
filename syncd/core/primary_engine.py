"""The primary's engine (claims 20a, 20c, 24i): sources into the store, the store to devices, and what devices send.

Its parts are in ``core.reception``, ``core.pacing``, ``core.sending``, ``core.taking``, ``core.choosing`` and
``core.turns``.
"""

from __future__ import annotations

from collections.abc import Sequence

from syncd.core import intake as intakes
from syncd.core import source as sources
from syncd.core.conversation import Phase, advance
from syncd.core.effects import CloseLink, Effect, Send
from syncd.core.engine import refuse
from syncd.core.errors import OrderError, Refused
from syncd.core.events import (
    AdapterSaved,
    ChunkFailed,
    ChunkRead,
    ClassDropped,
    ClassFailed,
    ClassOpened,
    EpochFailed,
    EpochMoved,
    Event,
    LinkDown,
    LinkUp,
    NameSaved,
    Received,
    SourceOpened,
    SourceRead,
    StoreMoved,
    Tick,
)
from syncd.core.frozen import replace
from syncd.core.intake_state import Intake
from syncd.core.messages import Credit, Follow, Hello, Offer, Pace, Refusal, Report, Types, Upload
from syncd.core.model import Role
from syncd.core.reception import Peer
from syncd.core.settings import Limits
from syncd.core.turns import Turns
from syncd.core.upward_events import IntakeEvent


class PrimaryEngine(Turns):
    """What is in ``owners`` is in ``sources``: all that is shared, whosever it is."""

    def __init__(self, name: str, user: str, adapters: Sequence[str], limits: Limits) -> None:
        super().__init__(name, user, adapters, limits)
        self.epoch = ""

    def share(self, collection: str, user: str = "") -> list[Effect]:
        """A collection of a user (empty: the engine's) comes in; devices of that user that asked for it already are
        answered when it is ready."""
        before, self.owners[collection] = self.owners.get(collection), user or self.user
        self.sources[collection], effects = sources.start(collection, self.limits)
        self._takers_changed()
        effects = effects + self._take_in(collection) + self._tell_all(collection)
        if before not in (None, self.owners[collection]):
            for device in sorted({device for device, name in self.follows if name == collection}):
                effects = effects + self._part(device)
        return effects

    def _take_in(self, collection: str) -> list[Effect]:
        """Where it was shared before, changes of its devices are under way: they are executed on what is shared now."""
        if (before := self.intakes.get(collection)) is None:
            self.intakes[collection] = Intake(collection, self.limits)
            return []
        self.intakes[collection], effects = intakes.lost(replace(before, attempt=0, retry_at=0.0))
        return effects

    def cut_off(self, device: str) -> list[Effect]:
        """A person revoked the device: what waits of its changes is about to go."""
        effects = self._part(device)
        self.intakes = {name: intakes.cut_off(one, device) for name, one in self.intakes.items()}
        return effects

    def step(self, event: Event, now: float) -> list[Effect]:
        self.now = now
        match event:
            case Received():
                return self._received(event, now)
            case ChunkRead():
                return self._chunk(event)
            case ChunkFailed():
                return self._chunk_failed(event)
            case EpochFailed():
                return self._epoch_failed(event)
            case EpochMoved():
                return self._new_epoch(event.epoch)
            case LinkUp():
                self.peers[event.device] = Peer(now)
                self.forget_pace(event.device)
                self.own_rests.pop(event.device, None)  # it says so anew
                return []
            case AdapterSaved():
                return self.adapter_saved(event)
            case NameSaved():
                return self.name_saved(event)
            case LinkDown():
                return self._down(event.device)
            case Tick():
                return self._tick(now)
            case _ if isinstance(event, IntakeEvent):
                return self._intake(event.collection, event)
            case _:
                return self._source(event.collection if hasattr(event, "collection") else "", event, now)

    # ------------------------------------------------------------ sources

    def _source(self, name: str, event: Event, now: float) -> list[Effect]:
        if isinstance(event, StoreMoved):
            name = event.state.name
        if name not in self.sources:
            return []
        if isinstance(event, ClassOpened | ClassDropped | ClassFailed):
            self._class_known(event)
        if isinstance(event, ClassFailed):
            return []
        before = self.sources[name]
        after, effects = sources.step(before, event, now)
        self.sources[name] = after
        if isinstance(event, SourceOpened):
            effects = effects + self._types(name) + self._describe_all(name)
        if isinstance(event, SourceRead) and event.lost:
            self.intakes[name], staged = intakes.lost(self.intakes[name])
            effects = effects + staged
        self._same_epoch()
        if after.state is before.state:
            return effects
        self._fall_behind(name, before.state)
        return effects + self._choose(name) + self._pump_all(name) + self._intake_goes_on(name)

    def _same_epoch(self) -> None:
        """The epoch is the whole store's. What was read of it before or after it got another one says so at any time;
        it counts when ``EpochMoved`` says so."""
        for name, source in self.sources.items():
            if source.state is not None and source.state.epoch != self.epoch:
                self.epoch = self.epoch or source.state.epoch
                self.sources[name] = replace(source, state=sources.of_epoch(source.state, self.epoch))

    def _types(self, name: str) -> list[Effect]:
        """All who follow are told the types before objects that use them."""
        following = [device for (device, of), follow in sorted(self.follows.items()) if of == name and follow.epoch]
        seen = ((device, self.state_of(device, name)) for device in following if self.may(device, name))
        return [Send(device, Types(name, state.types)) for device, state in seen if state is not None]

    def _new_epoch(self, epoch: str) -> list[Effect]:
        """Each device that follows anything comes again, and begins with a snapshot."""
        if self.renewing:
            self.claims[self.renewing] = self.now
        self.epoch, self.renewing = epoch, ""
        self._same_epoch()
        devices = sorted({device for (device, _), follow in self.follows.items() if follow.epoch})
        closes: list[Effect] = [CloseLink(device, "", "the store has a new epoch") for device in devices]
        return closes + [effect for name in sorted(self.sources) for effect in self._pump_all(name)]

    def _epoch_failed(self, failed: EpochFailed) -> list[Effect]:
        """The devices that wait for a new epoch come again after a pause."""
        self.renewing = ""
        return [
            CloseLink(device, "disk", failed.reason)
            for (device, collection), follow in sorted(self.follows.items())
            if collection == failed.collection and follow.asked is not None and self.may(device, collection)
        ]

    # ------------------------------------------------------------ devices

    def _received(self, event: Received, now: float) -> list[Effect]:
        device, message = event.device, event.message
        peer = self.peers.get(device)
        if peer is None or peer.phase is Phase.CLOSED:
            return []
        try:
            if (phase := advance(Role.PRIMARY, peer.phase, message)) is not peer.phase:
                self.peers[device] = peer = replace(peer, phase=phase)
            if peer.hello is not None and not peer.adapter and not isinstance(message, Refusal):
                raise OrderError(f"the device sent {type(message).__name__} before it was welcomed")
            match message:
                case Hello():
                    return self.greet(device, message)
                case Follow():
                    return self._follow(device, message)
                case Credit():
                    return self._credit(device, message)
                case Report():
                    return self._report(device, message, now)
                case Offer():
                    return self._offer(device, message)
                case Pace():
                    return self._own_pace(device, message)
                case Upload():
                    return self._upload(device, message, event.raw)
                case _:
                    return [CloseLink(device, "", "")]
        except (Refused, OrderError) as error:
            self.peers[device] = replace(peer, phase=Phase.CLOSED)
            return refuse(device, error)

    def _down(self, device: str) -> list[Effect]:
        self.peers.pop(device, None)
        self.forget_pace(device)
        self._forget_follows(device)
        self._part_intakes(device)
        return []

    def _tick(self, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(self.sources):
            self.sources[name], more = sources.step(self.sources[name], Tick(), now)
            effects += more + self._intake(name, Tick()) + self._choose(name)
        return effects + self._each_turn() + self.unheard(now)
