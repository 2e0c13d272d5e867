"""What a setting may hold: words, or amounts with their units. Text in, value out, and back.

What ``show`` gives, ``parse`` takes, for the same value. Raises ValueError that says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

Value = str | int

_AMOUNT = re.compile(r"(\d{1,18}(?:\.\d{1,6})?)\s*([^\s\d.][^\s]*)?", re.ASCII)
_TEXT_CHARS_MAX = 100


class Kind(Protocol):
    """Which values there are."""

    @property
    def allowed(self) -> str:
        """For people."""
        ...

    def parse(self, text: str) -> Value: ...

    def show(self, value: Value) -> str: ...


@dataclass(frozen=True, slots=True)
class Words:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(self.words)}"

    def parse(self, text: str) -> Value:
        if text not in self.words:
            raise ValueError(f"{text[:_TEXT_CHARS_MAX]!r}: use {self.allowed}")
        return text

    def show(self, value: Value) -> str:
        return str(value)


Units = tuple[tuple[str, int], ...]  # the smallest, which is the value's own, first

COUNT: Units = (("", 1),)
PERCENT: Units = (("%", 1),)
TIME: Units = (("s", 1), ("min", 60), ("h", 3_600), ("d", 86_400))
BYTES: Units = (("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40))


@dataclass(frozen=True, slots=True)
class Amount:
    """A whole number of the smallest unit, from ``least`` to ``most``. Where there is one unit it may be left out."""

    units: Units
    least: int
    most: int

    @property
    def allowed(self) -> str:
        return f"from {self.show(self.least)} to {self.show(self.most)}{self._units()}"

    def _units(self) -> str:
        return f", in {', '.join(unit for unit, _ in self.units)}" if len(self.units) > 1 else ""

    def parse(self, text: str) -> Value:
        found = _AMOUNT.fullmatch(text.strip()[:_TEXT_CHARS_MAX])
        factor = self._factor(found[2] or "") if found else None
        amount = Decimal(found[1]) * factor if found and factor else None
        if amount is None or amount != int(amount) or not self.least <= amount <= self.most:
            raise ValueError(f"{text[:_TEXT_CHARS_MAX]!r}: use a value {self.allowed}")
        return int(amount)

    def _factor(self, unit: str) -> int | None:
        if not unit and len(self.units) == 1:
            return self.units[0][1]
        return next((factor for name, factor in self.units if name.casefold() == unit.casefold()), None)

    def show(self, value: Value) -> str:
        """In the largest unit of which it is a whole number."""
        whole: Iterable[tuple[str, int]] = (one for one in reversed(self.units) if int(value) % one[1] == 0)
        unit, factor = next(iter(whole)) if value else self.units[0]
        space = " " if unit.endswith(("B", "%", "/s")) else ""
        return f"{int(value) // factor}{space}{unit}"
