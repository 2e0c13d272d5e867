"""An uplink that is told what happens, for the tests of it."""

from __future__ import annotations

from dataclasses import replace

from syncd.core import uplink as uplinks
from syncd.core.edits import OutboxState, Ruling
from syncd.core.effects import Effect
from syncd.core.events import Event, Tick
from syncd.core.messages import Taken, Terms, Verdict, Verdicts
from syncd.core.uplink_state import Uplink
from syncd.core.upward_events import LocalRead
from tests.core.kit import LIMITS, NAME, target_state
from tests.core.target_play import PRIMARY

ROOM = 100  # bytes
FRAME = b"." * 60
BOTH, OUT, IN = Terms(NAME, "both", "primary"), Terms(NAME, "out", "primary"), Terms(NAME, "in", "primary")


def held(
    last: int = 0,
    *,
    first: int | None = None,
    undo: bool = False,
    pending: int | None = None,
    sealed: int | None = None,
) -> OutboxState:
    """Groups up to ``last`` are closed; by default all of them wait, and are sealed."""
    oldest = 1 if first is None else first
    waiting = last - oldest + 1 if pending is None else pending
    return OutboxState("box", 5, oldest, last, waiting, 0, undo, last if sealed is None else sealed)


def verdict(number: int, ruling: Ruling = Ruling.ACCEPTED, seq: int = 20) -> Verdict:
    return Verdict(number, ruling, seq, "", "", b"", 0)


class Play:
    """An uplink that is told what happens; its target holds something, at 10."""

    def __init__(self, **changes: object) -> None:
        self.now = 100.0
        limits = replace(LIMITS, upload_window_bytes_max=ROOM, verdicts_max=3, verdicts_waiting_max=5)
        self.uplink = replace(Uplink(NAME, limits, "msgpack"), **changes)  # type: ignore[arg-type]

    def _takes(self, step: tuple[Uplink, list[Effect]]) -> list[Effect]:
        self.uplink, effects = step
        return effects

    def begins(self) -> list[Effect]:
        return self.moves(10)

    def moves(self, position: int, outbox: OutboxState | None = None) -> list[Effect]:
        """The target is there."""
        return self._takes(uplinks.moved(self.uplink, target_state(position), outbox, self.now))

    def hears(self, *events: Event) -> list[Effect]:
        """What the last of the events makes it order."""
        effects: list[Effect] = []
        for event in events:
            effects = self._takes(uplinks.step(self.uplink, event, self.now))
        return effects

    def linked(self) -> list[Effect]:
        return self._takes(uplinks.link_open(self.uplink, PRIMARY, self.now))

    def says(self, *messages: Terms | Taken | Verdicts) -> list[Effect]:
        effects: list[Effect] = []
        for message in messages:
            effects = self._takes(uplinks.message(self.uplink, message, self.now))
        return effects

    def later(self, seconds: float) -> list[Effect]:
        self.now += seconds
        return self.hears(Tick())


def read(outbox: OutboxState, more: bool = False) -> LocalRead:
    return LocalRead(NAME, outbox, more)


def answered(last: int = 0, number: int = 0, terms: Terms = BOTH) -> Play:
    """Linked; groups up to ``last`` wait, those up to ``number`` are there."""
    play = Play()
    play.begins()
    play.hears(read(held(last)))
    play.linked()
    play.says(terms, Taken(NAME, "box", number, 0))
    return play
