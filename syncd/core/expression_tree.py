"""What a selection's expression says, as values, and its one spelling.

A tree is in canonical form from the beginning, because only ``every``, ``some``, ``compare`` and ``among`` build it:
no negation stands over ``and`` or ``or``, the parts of these are flat, sorted and different from each other, literals
stand on the right. That changes no meaning: nothing in a condition has an effect, and the three-valued logic of SQL
obeys De Morgan and knows exactly one opposite of each comparison. ``text`` of a tree reads back as the same tree.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import NamedTuple
from unicodedata import is_normalized

Value = None | int | float | str | bytes
Constant = int | float | str
_NAME = re.compile(r"[^\W\d]\w*")


class Span(NamedTuple):
    """Where something stands in the source: characters from ``start`` to before ``end``."""

    start: int
    end: int


NOWHERE = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Field:
    """The value of a field or key column; None where the type has none of the name."""

    name: str
    at: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class TypeName:
    """The name of the object's type."""

    at: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Literal:
    """A number or a text. What is a whole number of 64 bits is an int."""

    value: Constant
    at: Span = field(default=NOWHERE, compare=False)


@dataclass(frozen=True, slots=True)
class Function:
    """``lower`` (a text with A-Z as a-z; any other value as it is) or ``length`` (of a text up to its first NUL
    character, in characters; of a blob in bytes; None of anything else)."""

    name: str
    of: Field
    at: Span = field(default=NOWHERE, compare=False)


Operand = Field | TypeName | Literal | Function


@dataclass(frozen=True, slots=True)
class Compare:
    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class Among:
    """``in``, or with ``negated`` ``not in``."""

    of: Operand
    values: tuple[Literal, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class IsNone:
    of: Operand
    negated: bool


@dataclass(frozen=True, slots=True)
class Matches:
    """``like``, ``startswith``, ``endswith`` or ``contains``."""

    name: str
    of: Operand
    pattern: Literal
    negated: bool


@dataclass(frozen=True, slots=True)
class Every:
    parts: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple[Condition, ...]


Condition = Compare | Among | IsNone | Matches | Every | Some

# What a comparison is called with its sides exchanged, and its opposite (both unknown where a side is None).
SWAPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}


def every(parts: Iterable[Condition]) -> Condition:
    """True where each part is."""
    flat = [one for part in parts for one in (part.parts if isinstance(part, Every) else (part,))]
    kept = _in_order(flat)
    return kept[0] if len(kept) == 1 else Every(kept)


def some(parts: Iterable[Condition]) -> Condition:
    """True where at least one part is."""
    flat = [one for part in parts for one in (part.parts if isinstance(part, Some) else (part,))]
    kept = _in_order(flat)
    return kept[0] if len(kept) == 1 else Some(kept)


def _in_order(parts: list[Condition]) -> tuple[Condition, ...]:
    by_text = {text(part): part for part in parts}
    return tuple(by_text[one] for one in sorted(by_text))


def compare(op: str, left: Operand, right: Operand) -> Compare:
    """A comparison with a literal on the right; of two others the one that sorts first is on the left."""
    swap = isinstance(left, Literal) or (not isinstance(right, Literal) and _operand(right) < _operand(left))
    return Compare(SWAPPED[op], right, left) if swap else Compare(op, left, right)


def among(of: Operand, values: Iterable[Literal], negated: bool) -> Condition:
    """``in`` and ``not in``: numbers in order, then texts; a single value is compared."""
    by_value = {literal.value: literal for literal in values}
    kept = sorted(by_value.values(), key=lambda one: (isinstance(one.value, str), one.value))
    if len(kept) == 1:
        return compare("!=" if negated else "==", of, kept[0])
    return Among(of, tuple(kept), negated)


def text(condition: Condition) -> str:
    """The canonical spelling of a condition: one line."""
    match condition:
        case Every(parts):
            return " and ".join(f"({text(one)})" if isinstance(one, Some) else text(one) for one in parts)
        case Some(parts):
            return " or ".join(text(one) for one in parts)
        case Compare(op, left, right):
            return f"{_operand(left)} {op} {_operand(right)}"
        case Among(of, values, negated):
            return f"{_operand(of)} {'not ' * negated}in ({', '.join(map(_operand, values))})"
        case IsNone(of, negated):
            return f"{_operand(of)} is {'not ' * negated}None"
        case Matches(name, of, pattern, negated):
            return f"{'not ' * negated}{name}({_operand(of)}, {_operand(pattern)})"


def _operand(operand: Operand) -> str:
    match operand:
        case Field(name):
            return name if _is_bare(name) else f"field({quoted(name)})"
        case TypeName():
            return "type"
        case Function(name, of):
            return f"{name}({_operand(of)})"
        case Literal(str() as value):
            return quoted(value)
        case Literal(value):
            return repr(value).replace("inf", "1e999")  # the shortest that reads as a number too large


def _is_bare(name: str) -> bool:
    """Whether Python reads the name as itself: it knows identifiers by their NFKC form only."""
    if not _NAME.fullmatch(name) or not name.isidentifier() or iskeyword(name) or name == "type":
        return False
    return is_normalized("NFKC", name)


def quoted(value: str) -> str:
    """A text in double quotes on one line, which Python and ``syncd.core.expression_scan`` read back."""
    return re.sub(r"[^ -~]", _escaped, json.dumps(value, ensure_ascii=False))


def _escaped(found: re.Match[str]) -> str:
    letter = found.group()
    if letter.isprintable():
        return letter
    return f"\\u{ord(letter):04x}" if ord(letter) < 0x10000 else f"\\U{ord(letter):08x}"
