"""The code that a person reads at the primary and types at an auxiliary: ``4821-otter-lamp``. Pure.

The number only names the code: an auxiliary that finds several primaries tries the one that has it. The two words are
the secret, 20 bits: enough because each code is tried once (``pairing_window``), and the exchange (``pake``) tells
nobody who listens or stands between anything that could be tried elsewhere.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from syncd.core.errors import UserError

_AGAIN = "type the code as `syncd pair` on the primary shows it, such as 4821-otter-lamp"
_PART = re.compile(r"[0-9]+|[^\W\d_]+")  # whatever else stands between is passed over
_SHOWN_CHARS_MAX = 20  # of a word that is none


class Code(NamedTuple):
    """``number``: four digits, known to everybody. ``words``: the secret."""

    number: str
    words: tuple[str, str]

    @property
    def text(self) -> str:
        """As it is shown and typed."""
        return "-".join((self.number, *self.words))

    @property
    def secret(self) -> bytes:
        """What the exchange is run with."""
        return self.text.encode()

    def __repr__(self) -> str:
        return f"Code({self.number}-...)"


@cache
def words() -> tuple[str, ...]:
    """The words that codes are made of, in alphabetical order. None begins with another."""
    return tuple(files("syncd.transport").joinpath("words.txt").read_text("ascii").split())


def make(choose: Callable[[int], int]) -> Code:
    """A code by chance: ``choose(n)`` gives 0 to n-1. The number begins with no 0, which a person might leave out."""
    known = words()
    return Code(str(1000 + choose(9000)), (known[choose(len(known))], known[choose(len(known))]))


def parse(text: str) -> Code:
    """The code that a person typed: in any case, with spaces, dashes or nothing between. Raises UserError."""
    parts = _PART.findall(text.lower())
    digits = [part for part in parts if part.isdigit()]
    if len(digits) != 1 or parts[0] != digits[0] or len(digits[0]) != 4:
        raise UserError("a code begins with a number of four digits", _AGAIN)
    typed = [word for part in parts[1:] for word in _divided(part)]
    for word in typed:
        if word not in words():
            raise UserError(f"{word[:_SHOWN_CHARS_MAX]!r} is no word of any code{_nearest(word)}", _AGAIN)
    if len(typed) != 2:
        raise UserError(f"a code has two words after its number, this one has {len(typed)}", _AGAIN)
    return Code(digits[0], (typed[0], typed[1]))


def _divided(part: str) -> list[str]:
    """The words in letters that were typed without anything between: one way at most, as none begins with another."""
    first = next((word for word in words() if part.startswith(word)), part)
    rest = part.removeprefix(first)
    return [first, rest] if rest in words() else [part]


def _nearest(word: str) -> str:
    found = difflib.get_close_matches(word[:_SHOWN_CHARS_MAX], words())
    return f"; near it: {', '.join(found)}" if found else ""
