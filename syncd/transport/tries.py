"""How often each source may try in vain (R15). Pure: it is told the time.

A leaky bucket for each source: it fills with each try, empties with time, and turns the source away while it is full.
Sources are bounded; the one that tried longest ago is forgotten first.
"""

from __future__ import annotations

SOURCES_MAX = 4_096


class Tries:
    """``in_a_row``: tries of one source before it is turned away. ``per_s``: how many it gets back each second."""

    def __init__(self, in_a_row: float, per_s: float) -> None:
        self._max = in_a_row
        self._per_s = per_s
        self._levels: dict[str, tuple[float, float]] = {}  # how full, and when that was; the latest last

    def spend(self, source: str, now_s: float) -> bool:
        """One more try; False if the source has none left."""
        level, then_s = self._levels.pop(source, (0.0, now_s))
        level = max(0.0, level - (now_s - then_s) * self._per_s)
        allowed = level + 1.0 <= self._max
        self._levels[source] = (level + 1.0 if allowed else level, now_s)
        if len(self._levels) > SOURCES_MAX:
            del self._levels[next(iter(self._levels))]
        return allowed

    def give_back(self, source: str) -> None:
        """The try was none: it came to something."""
        if source in self._levels:
            level, then_s = self._levels[source]
            self._levels[source] = (max(0.0, level - 1.0), then_s)
