"""What travels when on an auxiliary: what its user paused, what the primary says that rests, how fast (R10, R15).

Its own pauses are kept by who calls (``syncd.own_pause``), what the primary says holds for the link. Of what rests
nothing is sent; what comes all the same is taken, executed and reported.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from syncd.core import uplink as uplinks
from syncd.core.effects import Effect, Send, SendFrame
from syncd.core.frozen import replace as replaced
from syncd.core.messages import Offer, Pace, Rest
from syncd.core.pace import Bucket, bucket
from syncd.core.settings import Limits
from syncd.core.target_state import Target
from syncd.core.uplink_state import Mode, Uplink
from syncd.core.upward_effects import HoldUploads

NO_PACE = Pace(())


@dataclass(frozen=True, slots=True)
class OwnPause:
    """What this machine's user paused: ``everything``, and apart from that collections, True, or those that go on."""

    everything: bool = False
    named: dict[str, bool] = field(default_factory=dict)

    def has(self, collection: str) -> bool:
        return self.named.get(collection, self.everything)


class AuxiliaryPace:
    """``bidden``: what the primary said last on this link; ``own``: see there, and ``told``, what the primary was told
    of it. ``account``: what may be sent, None without a rate. ``waiting``: frames that it holds back, in order."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.targets: dict[str, Target] = {}
        self.uplinks: dict[str, Uplink] = {}
        self.primary = ""
        self.bidden = NO_PACE
        self.own = OwnPause()
        self.told = NO_PACE
        self.account: Bucket | None = None
        self.waiting: deque[SendFrame] = deque()

    def rest_of(self, collection: str) -> Rest | None:
        """Why nothing of it travels, None: it does."""
        if self.own.has(collection):
            return Rest(collection, f"paused here: `syncd resume {collection}`", 0)
        return next((one for one in self.bidden.resting if one.collection == collection), None)

    def pause(self, own: OwnPause, is_open: bool, now: float) -> list[Effect]:
        """What a person paused here from this moment on. ``is_open``: the primary can be told."""
        before = {name for name in self.targets if self.rest_of(name)}
        self.own = own
        told = self._tell_own() if is_open else []
        return self._spent(told + self._turned(before, now), now)

    def _tell_own(self) -> list[Effect]:
        resting = tuple(Rest(name, "", 0) for name in sorted(self.targets) if self.own.has(name))
        if self.told.resting == resting:
            return []
        self.told = Pace(resting)
        return [Send(self.primary, self.told)]

    def _bid(self, pace: Pace, now: float) -> list[Effect]:
        """The primary says what rests, what runs, and how fast."""
        before = {name for name in self.targets if self.rest_of(name)}
        self.bidden = pace
        known = self.account
        if known is None or known.rate_bytes_s != pace.rate_bytes_s:
            self.account = bucket(pace.rate_bytes_s, now) if pace.rate_bytes_s else None
        self._allow(now)
        effects = self._turned(before, now)
        slower = pace.rate_bytes_s and (known is None or known.rate_bytes_s > pace.rate_bytes_s)
        for name in sorted(self.uplinks) if slower else ():
            self.uplinks[name], more = uplinks.slowed(self.uplinks[name], now)
            effects += more
        return effects

    def _unbidden(self, now: float) -> list[Effect]:
        """The link begins or is over: what the primary said is void."""
        self.told = NO_PACE
        self.waiting.clear()
        return self._bid(NO_PACE, now)

    def _turned(self, rested: set[str], now: float) -> list[Effect]:
        effects: list[Effect] = []
        for name in sorted(self.targets):
            if name in rested and self.rest_of(name) is None:  # it did not stand still, it rested
                self.targets[name] = replaced(self.targets[name], moved_at=now)
        for name in sorted(self.uplinks):
            self.uplinks[name], more = uplinks.paced(self.uplinks[name], self._mode(name), now)
            effects += more
        return effects

    def _mode(self, name: str) -> Mode:
        if self.rest_of(name) is not None:
            return Mode.RESTING
        return Mode.RUNNING if name in self.bidden.running else Mode.FREE

    # ------------------------------------------------------------ the rate

    def _allow(self, now: float) -> None:
        """What each collection may send at this moment."""
        if self.account is None:
            if any(one.allowance_bytes is not None for one in self.uplinks.values()):
                self.uplinks = {name: replaced(one, allowance_bytes=None) for name, one in self.uplinks.items()}
            return
        self.account = self.account.now(now)
        allowance_bytes = 0 if self.waiting else max(0, int(self.account.bytes))
        self.uplinks = {name: replaced(one, allowance_bytes=allowance_bytes) for name, one in self.uplinks.items()}

    def _spent(self, effects: list[Effect], now: float) -> list[Effect]:
        """The same effects; of the frames those that are paid for, in their order. What is offered anew, or rests from
        here on, is taken again."""
        if self.account is None and not self.waiting:
            return effects
        others: list[Effect] = []
        for one in effects:
            if isinstance(one, SendFrame):
                self.waiting.append(one)
                continue
            others.append(one)
            if (name := _begins_anew(one)) and self.waiting:
                self.waiting = deque(frame for frame in self.waiting if frame.collection != name)
        return others + self._paid(now)

    def _paid(self, now: float) -> list[Effect]:
        """Frames that may leave; one that the account does not cover is owed."""
        leave: list[Effect] = []
        while self.waiting and (self.account is None or self.account.ready(now)):
            leave.append(one := self.waiting.popleft())
            size_bytes = len(one.frame) if isinstance(one.frame, bytes) else len(one.frame.encode())
            if self.account is not None:
                self.account = self.account.spent(size_bytes, now)
        self._allow(now)
        return leave


def _begins_anew(effect: Effect) -> str:
    """The collection whose edits are offered from the first that waits, or do not travel from here on."""
    if isinstance(effect, HoldUploads):
        return effect.collection
    return effect.message.collection if isinstance(effect, Send) and isinstance(effect.message, Offer) else ""
