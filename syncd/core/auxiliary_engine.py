"""The auxiliary's engine (claims 20e, 20f, 24i): what the primary sends, into the targets."""

from __future__ import annotations

from syncd.core import target as targets
from syncd.core.conversation import Phase, advance
from syncd.core.effects import (
    CloseLink,
    Effect,
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
    Tick,
)
from syncd.core.messages import (
    PROTOCOL_VERSIONS,
    Begin,
    Hello,
    Objects,
    Refusal,
    Types,
    Welcome,
    Wire,
)
from syncd.core.model import Role
from syncd.core.settings import Limits
from syncd.core.target_state import Target


class AuxiliaryEngine:
    """``name``: of this device. ``adapter``: which it speaks."""

    def __init__(self, name: str, adapter: str, limits: Limits) -> None:
        self.name = name
        self.adapter = adapter
        self.limits = limits
        self.targets: dict[str, Target] = {}
        self.primary = ""
        self.phase = Phase.CLOSED
        self.since = 0.0  # of the link
        self.welcome: Welcome | None = None
        self.refusal: Refusal | None = None

    def accept(self, collection: str, now: float) -> list[Effect]:
        """A collection comes in."""
        self.targets[collection], effects = targets.start(collection, self.limits)
        if self.phase is Phase.OPEN:
            self.targets[collection], more = targets.link_open(self.targets[collection], self.primary, now)
            effects = effects + more
        return effects

    def retire(self, collection: str) -> list[Effect]:
        """A collection goes. Its link is closed, so that nothing that was sent for it meets what comes in its place;
        what comes of effects that are under way is not heard any more."""
        self.targets.pop(collection, None)
        if self.phase is Phase.CLOSED:
            return []
        self.phase = Phase.CLOSED
        return [CloseLink(self.primary, "", f"{collection} is accepted anew")]

    def step(self, event: Event, now: float) -> list[Effect]:
        match event:
            case Received():
                return self._received(event, now)
            case LinkUp():
                self.primary, self.phase, self.since = event.device, Phase.GREETING, now
                self.refusal = None
                hello = Hello(PROTOCOL_VERSIONS, Role.AUXILIARY, self.name, self.adapter)
                return [Send(event.device, hello)]
            case LinkDown():
                return self._down(event.device)
            case Tick():
                return self._each(event, now) + self._unwelcome(now)
            case _:
                return self._target(event, now)

    def _target(self, event: Event, now: float) -> list[Effect]:
        name = getattr(event, "collection", "")
        if name not in self.targets:
            return []
        self.targets[name], effects = targets.step(self.targets[name], event, now)
        return effects

    def _each(self, event: Event, now: float) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(self.targets):
            self.targets[name], more = targets.step(self.targets[name], event, now)
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
                return self._described(message)
            case Begin() | Objects():
                target = self.targets.get(message.collection)
                if target is None:
                    raise OrderError(f"{message.collection!r} was not asked for")
                self.targets[message.collection], effects = targets.message(target, message, event.raw, now)
                return effects
            case _:
                return []

    def _described(self, types: Types) -> list[Effect]:
        target = self.targets.get(types.collection)
        if target is None:
            return []
        self.targets[types.collection], effects = targets.described(target, types)
        return effects

    def _welcome(self, device: str, welcome: Welcome, now: float) -> list[Effect]:
        if welcome.version not in PROTOCOL_VERSIONS or welcome.adapter != self.adapter:
            raise Refused("the primary chose a version or an adapter that this device did not offer", code="version")
        self.welcome, self.refusal = welcome, None
        effects: list[Effect] = [UseAdapter(device, welcome.adapter)]
        for name in sorted(self.targets):
            self.targets[name], more = targets.link_open(self.targets[name], device, now)
            effects += more
        return effects

    def _down(self, device: str) -> list[Effect]:
        if device != self.primary:
            return []
        self.phase = Phase.CLOSED
        for name in sorted(self.targets):
            self.targets[name] = targets.link_down(self.targets[name])
        return []
