"""The times that an object spent in a selection class, each from the change with which it came to that with which it
left (R8): a device may hold it if it may have stood in one of them.

What the store and its twin share. An object keeps its last stay and ``STAYS_MAX`` before it; of more the oldest two are
joined, so that none who may hold the object is forgotten.
"""

from __future__ import annotations

import json

from syncd.core.model import Span

STAYS_MAX = 8  # of an object in a class, before its last

Stays = tuple[Span, ...]  # ended ones, the oldest first


def ended(stays: Stays, stay: Span, horizon: int) -> Stays:
    """With one more. Those up to the horizon are of no use: who stood there compares everything (R5)."""
    kept = [one for one in (*stays, stay) if one.first < one.last > horizon]
    if len(kept) > STAYS_MAX:
        kept[:2] = [Span(kept[0].first, kept[1].last)]
    return tuple(kept)


def since(stays: Stays, born: int, base: int) -> int:
    """Since when a device may hold the object that stands at ``base`` or later. ``born``: when its last stay began."""
    return min([born, *(one.first for one in stays if one.last > base)])


def packed(stays: Stays) -> str:
    """JSON; there are many to write."""
    return f"[{','.join([f'[{first},{last}]' for first, last in stays])}]"


def unpacked(text: str | None) -> Stays:
    return tuple(Span(*one) for one in json.loads(text)) if text else ()
