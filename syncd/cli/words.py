"""States, times and amounts in words for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple


class Look(NamedTuple):
    """How a state is shown: a mark, a colour, a word, and what a person can do (may be empty)."""

    mark: str
    colour: str
    word: str
    advice: str = ""


UNKNOWN = Look("?", "yellow", "unknown")

# A collection on an auxiliary.
STATES = {
    "identical": Look("●", "green", "identical"),
    "syncing": Look("◐", "cyan", "syncing"),
    "behind": Look("○", "yellow", "behind"),
    "parked": Look("▲", "red", "parked"),
    "held": Look("▲", "red", "held"),
    "paused": Look("‖", "yellow", "paused"),
    "offline": Look("✕", "red", "offline", "it is tried again by itself, and nothing is deleted meanwhile"),
    "stalled": Look("✕", "red", "stalled", "connected, and nothing moves: see `syncd status` and the log there"),
}

# The same on the primary, where the application's data comes from.
SOURCE_STATES = {
    **STATES,
    "identical": Look("●", "green", "up to date"),
    "syncing": Look("◐", "cyan", "reading"),
}

OUTCOME_COLOURS = {
    "applied": "green",
    "pending": "yellow",
    "staged": "cyan",
    "cancelled": "red",
    "rolled-back": "red",
    "held": "red",
}

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """At most two units: ``3 h 12 min``."""
    left = max(0, int(seconds))
    if left < 60:
        return f"{left} s"
    parts: list[str] = []
    for size, unit in _UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2])


def count(amount: int, one: str, many: str = "") -> str:
    """``1 group``, ``2,000 groups``."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def size(bytes_: int) -> str:
    """``1.5 MiB``."""
    amount, unit = float(bytes_), "B"
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            break
        amount /= 1024
    return f"{amount:,.0f} {unit}" if unit == "B" or amount >= 10 else f"{amount:.1f} {unit}"


def moment(value: object) -> datetime | None:
    """A time that the daemon told: ISO 8601, or seconds of the epoch. None for anything else."""
    try:
        if isinstance(value, str):
            known = datetime.fromisoformat(value)
            return known if known.tzinfo else known.replace(tzinfo=UTC)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None


def ago(value: object, now: datetime) -> str:
    """How long ago that was; empty if it is not known."""
    then = moment(value)
    if then is None:
        return ""
    passed = (now - then).total_seconds()
    return "just now" if passed < 2 else f"{duration(passed)} ago"


def ago_or_never(value: object) -> str:
    """The same, by the clock of this machine, in a sentence."""
    return ago(value, datetime.now(UTC)) or "never"


def local_time(value: object) -> str:
    """The time on this machine's clock, to the second; empty if it is not known."""
    then = moment(value)
    return then.astimezone().strftime("%Y-%m-%d %H:%M:%S") if then else ""
