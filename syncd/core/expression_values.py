"""How values compare: as SQLite does, with BINARY collation and without affinity.

None makes a comparison unknown, and an object is taken only where its condition is true; because no tree holds a
negation above a comparison, unknown and false need not be told apart. Numbers sort before texts, texts before blobs;
whole and real numbers compare by value, exactly; texts by code points, which is the order of their UTF-8. A value is
never NaN: SQLite stores NULL for it, and no canonical bytes hold it.

A predicate on texts is false of numbers and blobs (then its opposite is true) and unknown of None.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

from syncd.core.expression_tree import Value

RANK: dict[type, int] = {int: 0, float: 0, str: 1, bytes: 2}
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


def compares(op: str, left: Value, right: Value) -> bool:
    """Whether a comparison is true."""
    if left is None or right is None:
        return False
    one, other = RANK[type(left)], RANK[type(right)]
    return OPERATORS[op](left, right) if one == other else OPERATORS[op](one, other)


def lower(value: Value) -> Value:
    """A text with A to Z as a to z, any other value as it is."""
    if type(value) is not str:
        return value
    return value.lower() if value.isascii() else value.translate(_LOWER)


def length(value: Value) -> int | None:
    """Characters of a text up to its first NUL, bytes of a blob."""
    if type(value) is str:
        nul = value.find("\0")
        return len(value) if nul < 0 else nul
    return len(value) if type(value) is bytes else None


def matcher(name: str, pattern: str) -> Callable[[str], bool]:
    """What a predicate on texts asks of a text."""
    match name:
        case "startswith":
            return lambda value: value.startswith(pattern)
        case "endswith":
            return lambda value: value.endswith(pattern)
        case "contains":
            return lambda value: pattern in value
    found = re.compile(_like(pattern), re.ASCII | re.IGNORECASE | re.DOTALL).fullmatch

    def like(value: str) -> bool:
        nul = value.find("\0")
        return found(value if nul < 0 else value[:nul]) is not None

    return like


def _like(pattern: str) -> str:
    """A regular expression for a LIKE pattern that needs no more than length x length steps.

    What stands between two % may be taken where it is found first, and never be looked for again: atomic groups.
    """
    parts = ["".join("." if letter == "_" else re.escape(letter) for letter in part) for part in pattern.split("%")]
    if len(parts) == 1:
        return parts[0]
    first, *middle, last = parts
    return first + "".join(f"(?>.*?{part})" for part in middle if part) + ".*" + last
