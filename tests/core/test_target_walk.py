"""A target among answers in any order, links that end, syncs and works that fail: whatever it tells of its position is
durable, and in the end the primary knows where it stands (DESIGN 3, R4)."""

from __future__ import annotations

import random
from collections.abc import Callable

from syncd.core.effects import (
    BeginTransfer,
    Effect,
    Execute,
    ExecuteNow,
    JoinReports,
    LookAtTarget,
    OpenTarget,
    Recount,
    Send,
    Stage,
    SyncTarget,
)
from syncd.core.events import (
    Event,
    LookedAtTarget,
    Recounted,
    ReportsJoined,
    TargetFailed,
    TargetSynced,
    Tick,
)
from syncd.core.messages import Begin, Follow, Objects, Report
from tests.core.kit import NAME, frame, target_state
from tests.core.target_play import FRAME_BYTES, Play, done, done_lazily, opened, staged, transfer_at

WALKS, STEPS, CALM_STEPS = 200, 300, 500
TICK_S = 0.25


class Walk:
    """``held``: the position of the application; ``durable``: the one that it has after a power cut. ``calm``: nothing
    fails any more, and the primary sends nothing that is not asked for."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.play = Play()
        self.held = self.durable = 10
        self.calm = self.linked = False
        self.asked: Follow | None = None
        self.sent: int | None = None  # of the transfer that goes on
        self.last: Report | None = None
        self.waiting: list[Effect] = []
        self._take(self.play.first)

    def _take(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Send):
                self._tell(effect)
            elif not isinstance(effect, BeginTransfer):
                self.waiting.append(effect)

    def _tell(self, effect: Send) -> None:
        message = effect.message
        if isinstance(message, Report | Follow):
            assert message.position <= self.durable, f"{message} is told, and {self.durable} is durable"
        if isinstance(message, Report):
            self.last = message
        if isinstance(message, Follow):
            self.asked = message

    def hears(self, event: Event | Begin | Objects, size: int = FRAME_BYTES) -> None:
        self._take(self.play.hears(event, raw=b"." * size))

    def step(self) -> None:
        deed = self.chance.random()
        if self.waiting and deed < 0.5:
            self._answer(self._next())
        elif deed < 0.6:
            self.play.now += TICK_S
            self.hears(Tick())
        elif not self.linked:
            self._link(True)
        elif deed < 0.63 and not self.calm:
            self._link(False)
        elif self.asked is not None:
            self._begin(self.asked)
        elif self.sent is not None and self.play.target.begun and not self.calm:
            first, self.sent = self.sent, self.sent + self.chance.choice((0, 1, 1, 1, 1, 2))
            self.hears(frame(first, self.sent), self.chance.choice((200_000, *[FRAME_BYTES] * 20)))

    def _link(self, up: bool) -> None:
        self.linked, self.asked, self.sent = up, None, None
        if up:
            self._take(self.play.linked())
        else:
            self.play.unlinked()

    def _begin(self, asked: Follow) -> None:
        self.asked, self.sent = None, asked.cursor
        self.hears(Begin(NAME, asked.epoch, False, asked.base, 0, asked.cursor, asked.cursor))

    def _next(self) -> Effect:
        """Any of them; what is staged is staged in order."""
        effect = self.chance.choice(self.waiting)
        if isinstance(effect, Stage):
            effect = next(one for one in self.waiting if isinstance(one, Stage))
        self.waiting.remove(effect)
        return effect

    def _fails(self, effect: Effect) -> bool:
        often = {OpenTarget: 0.3, SyncTarget: 0.4, LookAtTarget: 0.1, Execute: 0.1, ExecuteNow: 0.1}
        return not self.calm and self.chance.random() < often.get(type(effect), 0.0)

    def _answer(self, effect: Effect) -> None:
        if self._fails(effect):
            self.hears(TargetSynced(NAME, "broken") if isinstance(effect, SyncTarget) else TargetFailed(NAME, "away"))
        elif isinstance(effect, ExecuteNow | Execute):
            self.hears(self._executed(effect))
        elif isinstance(effect, Stage):
            self.hears(staged(effect.frame))
        else:
            if isinstance(effect, OpenTarget | SyncTarget):
                self.durable = self.held
            self.hears(self._others[type(effect)]())

    @property
    def _others(self) -> dict[type[Effect], Callable[[], Event]]:
        return {
            OpenTarget: lambda: opened(target_state(self.held), transfer_at(self.held)),
            SyncTarget: lambda: TargetSynced(NAME),
            JoinReports: lambda: ReportsJoined(NAME),
            LookAtTarget: lambda: LookedAtTarget(NAME),
            Recount: lambda: Recounted(NAME, target_state(self.held)),
        }

    def _executed(self, effect: ExecuteNow | Execute) -> Event:
        """What has nothing to do makes nothing durable."""
        now = isinstance(effect, ExecuteNow)
        cuts = [one.cut.seq for one in effect.frames if one.cut] if isinstance(effect, ExecuteNow) else []
        last = max((*cuts, *(cut.seq for cut in self.play.target.cuts), self.held))
        lazily, nothing = isinstance(effect, ExecuteNow) and effect.lazily, now and last == self.held
        self.held = last
        self.durable = self.durable if lazily or nothing else last
        return done_lazily(last) if lazily else done(last)


def test_whatever_is_told_is_durable_and_in_the_end_all_is_told(seed: int) -> None:
    for number in range(WALKS):
        walk = Walk(random.Random(f"{seed} {number}"))
        for _ in range(STEPS):
            walk.step()
        walk.calm = True
        for _ in range(CALM_STEPS):
            walk.step()
        assert walk.last is not None
        assert (walk.last.position, walk.last.offline) == (walk.held, ""), f"walk {number}"
