"""When a collection is synchronized: all the time, every so often, within hours of the day, or when a person asks.

Hours are those of the primary's own clock, whatever it does: where an hour is left out the window does not open in it,
where one comes twice it opens twice. Clocks say when something travels, never in which order (R1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from syncd.core.quantities import TIME, Amount, Value

DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_EVERY = Amount(TIME, 5, 30 * 86_400)
_HOURS = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})", re.ASCII)
_WORDS_MAX = 12
_CHARS_MAX = 200


class Clock(NamedTuple):
    """A minute of the primary's clock. ``minute``: of its week, which begins on Monday; ``wall_us``: when that began,
    microseconds UTC. ``shift_in_min``, ``shift_min``: the next change of its offset from UTC, 0 if none is near;
    ``at``: monotonic seconds when the minute began."""

    minute: int
    wall_us: int
    at: float
    shift_in_min: int = 0
    shift_min: int = 0

    def after(self, minutes: int) -> int:
        """The minute of the week that the clock shows so much later."""
        shifted = self.shift_in_min and minutes >= self.shift_in_min
        return (self.minute + minutes + (self.shift_min if shifted else 0)) % WEEK_MIN

    def wall_at(self, at: float) -> int:
        """Microseconds UTC at a monotonic time, as far as this minute tells."""
        return self.wall_us + int((at - self.at) * 1e6)


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of some days. ``start``, ``length``: minutes; ``days``: those on which it opens, Monday is 0."""

    start: int
    length: int
    days: frozenset[int]

    def has(self, minute: int) -> bool:
        return any((minute - day * DAY_MIN - self.start) % WEEK_MIN < self.length for day in self.days)

    def opens_in_min(self, clock: Clock) -> int:
        """0: it is open. It opens at its start on one of its days, or when the clock is put into it."""
        if self.has(clock.minute):
            return 0
        starts = [(day * DAY_MIN + self.start - clock.minute) % WEEK_MIN for day in self.days]
        if not (shift_min := clock.shift_min):
            return min(starts)
        before = [start for start in starts if start < clock.shift_in_min]
        later = [(start - shift_min) % WEEK_MIN for start in starts]
        after = [one if one >= clock.shift_in_min else one + WEEK_MIN for one in later]
        put = [clock.shift_in_min] if self.has(clock.after(clock.shift_in_min)) else []
        return min(before + after + put)

    @property
    def canonical(self) -> str:
        end = (self.start + self.length) % DAY_MIN or DAY_MIN
        hours = f"{_time(self.start)}-{_time(end)}"
        return hours if len(self.days) == len(DAYS) else f"{hours} {','.join(_ranges(sorted(self.days)))}"


@dataclass(frozen=True, slots=True)
class Schedule:
    """``every_s``: pause between the beginnings of two runs, 0: none. ``manual``: only when a person asks."""

    every_s: int = 0
    window: Window | None = None
    manual: bool = False

    @property
    def canonical(self) -> str:
        if self.manual:
            return "manual"
        every = f"every {_EVERY.show(self.every_s)}" if self.every_s else ""
        within = f"within {self.window.canonical}" if self.window else ""
        return " ".join(part for part in (every, within) if part) or "continuous"


CONTINUOUS = Schedule()
MANUAL = Schedule(manual=True)


class Schedules:
    """All there are."""

    allowed = "continuous, manual, every 15min, within 22:00-06:00, within 22:00-06:00 mon-fri, or both of these"

    def parse(self, text: str) -> Value:
        return read_schedule(text).canonical

    def show(self, value: Value) -> str:
        return str(value)


def read_schedule(text: str) -> Schedule:
    """Raises ValueError that says what is allowed."""
    words = text[:_CHARS_MAX].split()
    if len(text) <= _CHARS_MAX and 0 < len(words) <= _WORDS_MAX:
        if words in (["continuous"], ["manual"]):
            return MANUAL if words == ["manual"] else CONTINUOUS
        parts = dict(_parts(words))
        if parts and "" not in parts and all(parts.values()):
            try:
                return _schedule(parts)
            except ValueError:
                pass
    raise ValueError(f"{text[:100]!r}: use {Schedules.allowed}")


def _parts(words: list[str]) -> Iterator[tuple[str, list[str]]]:
    """What follows ``every`` and ``within``; a mistake by the name of nothing."""
    at = [number for number, word in enumerate(words) if word in ("every", "within")]
    if not at or at[0] or len({words[number] for number in at}) < len(at):
        yield "", words
        return
    for begin, end in zip(at, [*at[1:], len(words)], strict=True):
        yield words[begin], words[begin + 1 : end]


def _schedule(parts: dict[str, list[str]]) -> Schedule:
    every_s = int(_EVERY.parse(" ".join(parts["every"]))) if "every" in parts else 0
    return Schedule(every_s, _window(*parts["within"]) if "within" in parts else None)


def _window(hours: str, *days: str) -> Window:
    found = _HOURS.fullmatch(hours)
    if found is None or len(days) > 1:
        raise ValueError(hours)
    begin_h, begin_min, end_h, end_min = map(int, found.groups())
    start, end = begin_h * 60 + begin_min, end_h * 60 + end_min
    if max(begin_min, end_min) > 59 or start >= DAY_MIN or end > DAY_MIN or start == end:
        raise ValueError(hours)
    length = (end - start) % DAY_MIN or DAY_MIN
    return Window(start, length, frozenset(_days(days[0])) if days else frozenset(range(len(DAYS))))


def _days(text: str) -> Iterator[int]:
    """``mon-fri``, ``sat,sun``. Raises ValueError."""
    for part in text.split(","):
        first, dash, last = part.partition("-")
        begin, end = DAYS.index(first), DAYS.index(last if dash else first)
        yield from (day % len(DAYS) for day in range(begin, (end - begin) % len(DAYS) + begin + 1))


def _ranges(days: Iterable[int]) -> Iterator[str]:
    """Days in a row as one; a week begins on Monday."""
    rows: list[list[int]] = []
    for day in days:
        if rows and rows[-1][-1] == day - 1:
            rows[-1].append(day)
        else:
            rows.append([day])
    for row in rows:
        yield DAYS[row[0]] if len(row) == 1 else f"{DAYS[row[0]]}-{DAYS[row[-1]]}"


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
