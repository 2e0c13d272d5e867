"""The held group of the sync store in memory: twin of ``store_held``."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from syncd.core.guard import Guard
from syncd.core.holding import Held, HeldObject
from syncd.core.model import ObjectId, Observed
from syncd.core.ports import StoredRow

_QUARTER_US = 900 * 1_000_000
Named = tuple[ObjectId, Observed]


@dataclass
class MemoryHeld:
    """``number``: 0 while nothing is held. ``objects``: type and key -> whether it is gone. ``through``: deletions that
    were let through, by source and quarter of an hour. ``before``: what stood in the place of rows that are not
    published; ``gone``: how many of these are deletions that count."""

    number: int = 0
    last: int = 0
    objects: dict[ObjectId, bool] = field(default_factory=dict)
    of: int = 0
    since_us: int = 0
    open: bool = False
    released: bool = False
    through: dict[tuple[str, int], int] = field(default_factory=dict)
    before: dict[ObjectId, StoredRow | None] = field(default_factory=dict)
    gone: int = 0

    def state(self) -> Held | None:
        if not self.number:
            return None
        gone = sum(self.objects.values())
        return Held(self.number, len(self.objects), gone, self.of, self.since_us, self.released, self.open)

    def join(self, observed: Iterable[Named], there: Collection[ObjectId], of: int, since_us: int) -> None:
        """``there``: objects that the store has."""
        if not self.number:
            self.of, self.since_us, self.released = of, since_us, False
        grown = False
        for one, seen in dict(observed).items():  # of one that comes twice the later counts
            lost = seen.fields is None and one in there
            grown = grown or (lost and not self.objects.get(one, False))
            self.objects[one] = lost
        self.released = self.released and not grown
        if (grown and not self.open) or not self.number:
            self.number = self.last = self.last + 1

    def seen_later(self, one: ObjectId, seen: Observed) -> Observed:
        """As a comparison saw it, if that holds it, after it was observed so."""
        return seen._replace(fields=None if self.objects[one] else b"") if one in self.objects else seen

    def close(self, open_: bool) -> None:
        self.open = open_
        self.released = self.released or not (open_ or any(self.objects.values()))

    def leave(self, objects: Iterable[ObjectId]) -> None:
        for one in objects:
            self.objects.pop(one, None)
        if not self.objects:
            self.number, self.open = 0, False

    def spent(self, source: str, guard: Guard, now_us: int) -> int:
        begin = (now_us - int(guard.window_s * 1e6)) // _QUARTER_US
        return sum(count for (of, quarter), count in self.through.items() if of == source and quarter >= begin)

    def published(self, source: str, now_us: int, added: int) -> None:
        """``source``: whose deletions count, empty where none do. ``added``: objects that make up for deletions."""
        at = source, now_us // _QUARTER_US
        if source and self.gone > 0:
            self.through[at] = self.through.get(at, 0) + self.gone
        if source and added > 0 and at in self.through:
            self.through[at] = max(self.through[at] - added, 0)
        self.gone = 0
        self.before.clear()
        if self.number:
            self.close(open_=False)

    def release(self, number: int) -> bool:
        if not number or number != self.number or self.open:
            return False
        self.released = True
        self.through.clear()
        return True

    def some(self, ids: dict[str, int], limit: int, after: HeldObject | None) -> Sequence[HeldObject]:
        found = [HeldObject(ids.get(one.type, 0), one.key, gone) for one, gone in self.objects.items()]
        return sorted(one for one in found if after is None or one[:2] > after[:2])[:limit]
