"""Settings that a person chooses (settings module, claim 24f): the table of them, and which value counts where.

A value that was set is kept in the sync database with its place: a user, a device, a collection, or a collection on
one device. What counts for a device and a collection is the most specific of these, in that order, else the usual.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from syncd.core.edits import Direction, Policy
from syncd.core.errors import UserError
from syncd.core.quantities import BYTES, COUNT, PERCENT, TIME, Amount, Kind, Value, Words
from syncd.core.selection import Selection, read_chosen
from syncd.core.settings import Limits


class Scope(Enum):
    """Where a setting may be set; the later counts more."""

    USER = "user"
    DEVICE = "device"
    COLLECTION = "collection"
    ON_DEVICE = "collection on a device"


class Place(NamedTuple):
    """Where a value was set, or where one is asked for; 0 or empty: left open."""

    user: int = 0
    device: str = ""
    collection: str = ""

    @property
    def scope(self) -> Scope:
        if self.collection:
            return Scope.ON_DEVICE if self.device else Scope.COLLECTION
        return Scope.DEVICE if self.device else Scope.USER

    def above(self) -> tuple[Place, ...]:
        """The places whose values count here, the most general first."""
        user, device, collection = self
        known = (Place(user), Place(0, device), Place(0, "", collection))
        both = (Place(0, device, collection),) if device and collection else ()
        return tuple(one for one in known if any(one)) + both


class Chosen(NamedTuple):
    """A value that was set, as text. Empty, where it is to be changed: it is to be set no more."""

    place: Place
    name: str
    value: str


class Changed(NamedTuple):
    """What became of a value: ``who`` changed it, as far as is known. Empty: it was, or is, not set."""

    when_us: int
    who: str
    place: Place
    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Setting:
    """``usual``: its value where nobody set it, unless it takes the place of ``limit``, a field of Limits."""

    name: str
    kind: Kind
    usual: Value
    scopes: frozenset[Scope]
    help: str
    limit: str = ""

    def parse(self, text: str) -> Value:
        """Raises UserError that says what is allowed."""
        try:
            return self.kind.parse(text)
        except ValueError as error:
            said, _, allowed = str(error).rpartition(": ")
            raise UserError(f"{self.name} cannot be {said}", allowed) from error

    def usual_of(self, limits: Limits) -> Value:
        return int(getattr(limits, self.limit)) if self.limit else self.usual

    def check_scope(self, scope: Scope) -> None:
        if scope not in self.scopes:
            where = ", ".join(one.value for one in Scope if one in self.scopes)
            raise UserError(f"{self.name} cannot be set for a {scope.value}", f"it is set for a {where}")


_YEARS_10 = 3_650 * 86_400
_AGE = Amount(TIME, 3_600, _YEARS_10)
_ANYWHERE = frozenset(Scope)
_OF_COLLECTION = frozenset((Scope.USER, Scope.COLLECTION))
_LIMITS = Limits()


class Selections:
    """Which objects are taken: the canonical form of a selection, or an expression alone."""

    allowed = 'an expression such as country == "FR", or all'

    def parse(self, text: str) -> Value:
        return read_chosen(text).canonical

    def show(self, value: Value) -> str:
        return str(value)


@lru_cache(maxsize=1_024)
def _chosen(text: str) -> Selection:
    return read_chosen(text)


def _of_limit(name: str, kind: Kind, limit: str, help: str) -> Setting:
    return Setting(name, kind, int(getattr(_LIMITS, limit)), _OF_COLLECTION, help, limit)


TABLE = {
    one.name: one
    for one in (
        Setting(
            "adapter",
            Words(("auto", "msgpack", "json")),
            "auto",
            frozenset((Scope.DEVICE,)),
            "form of the messages to and from a device; auto: as the device asks for",
        ),
        Setting(
            "conflicts",
            Words(tuple(one.value for one in Policy)),
            Policy.PRIMARY.value,
            _OF_COLLECTION,
            "who wins where both sides changed the same object",
        ),
        _of_limit("conflicts.age", _AGE, "conflict_s_max", "for how long conflicts are kept with all their versions"),
        Setting(
            "direction",
            Words(tuple(one.value for one in Direction)),
            Direction.BOTH.value,
            _ANYWHERE,
            "which way changes travel: both, out (from the primary only) or in (to it only)",
        ),
        _of_limit(
            "guard.objects",
            Amount(COUNT, 1, 1_000_000_000),
            "guard_objects_min",
            "a deletion of fewer objects is not held, unless nothing would be left",
        ),
        _of_limit(
            "guard.percent",
            Amount(PERCENT, 1, 100),
            "guard_percent_min",
            "a deletion of a smaller share of the collection is not held",
        ),
        _of_limit("history.age", _AGE, "history_s_max", "for how long former versions are kept, for undo and history"),
        _of_limit(
            "history.bytes",
            Amount(BYTES, 0, 1 << 44),
            "history_bytes_max",
            "how much of former versions of a collection is kept; then the oldest go",
        ),
        Setting("selection", Selections(), "all", _ANYWHERE, "which objects of a collection devices take"),
        _of_limit(
            "tombstones.age",
            _AGE,
            "tombstone_s_max",
            "a device that was away for longer is brought up to date by comparing everything",
        ),
    )
}


def setting(name: str) -> Setting:
    """Raises UserError with the nearest name."""
    found = TABLE.get(name)
    if found is None:
        near = difflib.get_close_matches(name, TABLE, 1)
        advice = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"there is no setting {name!r}", f"{advice}the settings are {', '.join(TABLE)}")
    return found


def split(text: str) -> tuple[str, Setting]:
    """``[COLLECTION.]NAME``: the collection (empty if none is named) and the setting. Both may have dots in them."""
    words = text.split(".")
    for at in range(len(words)):
        if (found := TABLE.get(".".join(words[at:]))) is not None:
            return ".".join(words[:at]), found
    return "", setting(_meant(words))


def _meant(words: list[str]) -> str:
    """What of a text without any setting's name is most like one."""
    ends = [".".join(words[at:]) for at in range(len(words))]
    return next((one for one in ends if difflib.get_close_matches(one, TABLE, 1)), ends[0])


class Step(NamedTuple):
    """One place that may decide; ``place`` None: the usual value. ``value`` None: nothing was set there."""

    place: Place | None
    value: Value | None


@dataclass(frozen=True, slots=True)
class Preferences:
    """All that was set, and the ``limits`` that hold where nothing was."""

    limits: Limits = _LIMITS
    kept: Mapping[tuple[Place, str], Value] = field(default_factory=dict)

    @classmethod
    def of(cls, limits: Limits, chosen: Iterable[Chosen]) -> Preferences:
        """What this version has no such setting, or no such value, for is passed over."""
        kept: dict[tuple[Place, str], Value] = {}
        for one in chosen:
            if (known := TABLE.get(one.name)) is not None:
                try:
                    kept[one.place, one.name] = known.kind.parse(one.value)
                except (ValueError, UserError):
                    continue
        return cls(limits, kept)

    def chain(self, name: str, at: Place) -> tuple[Step, ...]:
        """All places that may decide, the usual value first; the last with a value counts."""
        one = TABLE[name]
        places = [place for place in at.above() if place.scope in one.scopes]
        steps = (Step(place, self.kept.get((place, name))) for place in places)
        return (Step(None, one.usual_of(self.limits)), *steps)

    def decides(self, name: str, at: Place) -> Step:
        return [step for step in self.chain(name, at) if step.value is not None][-1]

    def value(self, name: str, at: Place) -> Value:
        value = self.decides(name, at).value
        assert value is not None
        return value

    def direction(self, at: Place) -> Direction:
        return Direction(str(self.value("direction", at)))

    def policy(self, at: Place) -> Policy:
        return Policy(str(self.value("conflicts", at)))

    def apart(self, at: Place) -> dict[str, Direction]:
        """Devices where changes of a collection travel another way than elsewhere."""
        devices = sorted({place.device for place, name in self.kept if name == "direction" and place.device})
        found = {device: self.direction(at._replace(device=device)) for device in devices}
        return {device: direction for device, direction in found.items() if direction is not self.direction(at)}

    def selection(self, at: Place) -> Selection:
        return _chosen(str(self.value("selection", at)))

    def selections_count(self, at: Place) -> int:
        """How many different ones devices may take of a collection."""
        devices = {place.device for place, name in self.kept if name == "selection"}
        return len({self.value("selection", at._replace(device=device)) for device in devices | {""}})

    def selections_apart(self, at: Place) -> dict[str, Selection]:
        """Devices that take other objects of a collection than others do."""
        devices = sorted({place.device for place, name in self.kept if name == "selection" and place.device})
        found = {device: self.selection(at._replace(device=device)) for device in devices}
        return {device: selection for device, selection in found.items() if selection != self.selection(at)}

    def adapters(self) -> dict[str, str]:
        """Which adapters devices are to speak."""
        chosen = {place.device: str(value) for (place, name), value in self.kept.items() if name == "adapter"}
        return {device: adapter for device, adapter in chosen.items() if adapter != "auto"}

    def limits_at(self, at: Place) -> Limits:
        """The limits of a collection."""
        own = {one.limit: self.value(one.name, at) for one in TABLE.values() if one.limit}
        changed = {name: value for name, value in own.items() if value != getattr(self.limits, name)}
        return replace(self.limits, **changed) if changed else self.limits  # type: ignore[arg-type]
