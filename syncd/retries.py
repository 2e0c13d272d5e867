"""What a person asked an auxiliary to try again, and what came of it: the values of `syncd retry`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from syncd.core.ports import Parking
from syncd.core.status import Json


class Round(NamedTuple):
    """What a person asked to have tried: the parts of one collection, or those of its group ``seq``, as they were
    ``before``. ``tried``: how many tries the target counted until then."""

    name: str
    seq: int | None
    before: Parking
    tried: int


@dataclass
class Retries:
    """What `syncd retry` tells. ``applied``, ``failed``: by name, of the oldest groups. ``asked``, ``tried``,
    ``gone``: how many parts were to be tried, were, and are parked no more."""

    applied: list[str] = field(default_factory=list)
    failed: list[Json] = field(default_factory=list)
    asked: int = 0
    tried: int = 0
    gone: int = 0

    def line(self) -> Json:
        """As JSON."""
        retried = self.applied + [str(one["group"]) for one in self.failed]
        parts = {"asked": self.asked, "tried": self.tried, "applied": self.gone}
        return {"retried": retried, "applied": self.applied, "failed": self.failed, "parts": parts}
