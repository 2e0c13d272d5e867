"""Random expressions in random spellings, each with what it means: an evaluation in three-valued logic, as plain as can
be, that shares nothing with the product."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import strategies as st

from syncd.core.expression_tree import Value, quoted
from syncd.core.model import DataType

KEY = ("id",)
FIELDS = ("whole", "words", "raw", "rough", "number", "nocase", "rtrim", 'we"ird näme', "größe")
TYPE = DataType(1, "Thing", KEY, FIELDS)
COLUMNS = (
    "id INTEGER PRIMARY KEY, whole INTEGER, words TEXT, raw BLOB, rough REAL, number NUMERIC,"
    ' nocase TEXT COLLATE NOCASE, rtrim VARCHAR(9) COLLATE RTRIM, "we""ird näme", "größe" BOOLEAN'
)
ABSENT = "elsewhere"  # a field that only another type has
TYPES = (TYPE, DataType(2, "Other", ("id",), (ABSENT,)))

Row = dict[str, Value]
Truth = bool | None


class Meant(NamedTuple):
    source: str
    means: Callable[[Row], Truth]


class Valued(NamedTuple):
    source: str
    gives: Callable[[Row], Value]


_WORDS = [
    "",
    "a",
    "A",
    "b",
    "aB",
    "ab ",
    "abc",
    "10",
    "1",
    "1.0",
    "9",
    "ß",
    "É",
    "é",
    "K",
    "k",
    "\0",
    "a\0b",
    "😀",
    "%",
]
texts = st.sampled_from(_WORDS) | st.text("aAbB%_\0 ß1😀", max_size=6)
_NUMBERS = [0, 1, -1, 2, 9, 10, 2**53, 2**53 + 1, 2**63 - 1, -(2**63), 1.0, 0.5, -0.0, 1e300, 2.0**53, 2.0**63]
numbers = st.sampled_from(_NUMBERS) | st.sampled_from([float("inf"), float("-inf"), 9.5])
values: st.SearchStrategy[Value] = st.none() | numbers | texts | st.binary(max_size=3) | texts.map(str.encode)
rows = st.lists(values, min_size=len(FIELDS), max_size=len(FIELDS))


def _written(value: int | float | str) -> str:
    if isinstance(value, str):
        return quoted(value)
    return repr(value).replace("inf", "1e999") if value != -(2**63) else "-9223372036854775808"


def _name(name: str) -> str:
    return name if name.isidentifier() else f"field({quoted(name)})"


fields = st.sampled_from([*KEY, *FIELDS, ABSENT]).map(lambda name: Valued(_name(name), lambda row: row.get(name)))


def _lower(of: Valued) -> Valued:
    def gives(row: Row) -> Value:
        value = of.gives(row)
        if not isinstance(value, str):
            return value
        return "".join(chr(ord(one) + 32) if "A" <= one <= "Z" else one for one in value)

    return Valued(f"lower({of.source})", gives)


def _length(of: Valued) -> Valued:
    def gives(row: Row) -> Value:
        value = of.gives(row)
        if isinstance(value, str):
            return len(value.split("\0")[0])
        return len(value) if isinstance(value, bytes) else None

    return Valued(f"length({of.source})", gives)


textual = fields | fields.map(_lower) | fields.map(_lower).map(_lower)
lengths = textual.map(_length)


def _rank(value: Value) -> int:
    return 2 if isinstance(value, bytes) else 1 if isinstance(value, str) else 0


def _order(one: Value, other: Value) -> int:
    """-1, 0 or 1, as SQLite sorts."""
    if _rank(one) != _rank(other):
        return -1 if _rank(one) < _rank(other) else 1
    if isinstance(one, str) and isinstance(other, str):
        one, other = one.encode(), other.encode()
    return int(one > other) - int(one < other)  # type: ignore[operator]


_OPS: dict[str, Callable[[int], bool]] = {
    "==": lambda order: order == 0,
    "!=": lambda order: order != 0,
    "<": lambda order: order < 0,
    "<=": lambda order: order <= 0,
    ">": lambda order: order > 0,
    ">=": lambda order: order >= 0,
}


def _literal(value: int | float | str) -> Valued:
    return Valued(_written(value), lambda row: value)


def _compared(op: str, one: Valued, other: Valued) -> Callable[[Row], Truth]:
    def means(row: Row) -> Truth:
        left, right = one.gives(row), other.gives(row)
        return None if left is None or right is None else _OPS[op](_order(left, right))

    return means


@st.composite
def _comparisons(draw: st.DrawFn) -> Meant:
    op = draw(st.sampled_from([*_OPS]))
    of, literal = draw(
        st.tuples(fields, texts | numbers) | st.tuples(fields.map(_lower), texts) | st.tuples(lengths, numbers)
    )
    other = draw(st.sampled_from([_literal(literal)]) | fields | lengths)
    if draw(st.booleans()) and not other.source.startswith("length"):
        of, other = other, of
    if not draw(st.booleans()):
        return Meant(f"{of.source} {op} {other.source}", _compared(op, of, other))
    third, then = draw(fields), draw(st.sampled_from([*_OPS]))
    first, second = _compared(op, of, other), _compared(then, other, third)
    return Meant(f"{of.source} {op} {other.source} {then} {third.source}", lambda row: _both([first(row), second(row)]))


@st.composite
def _memberships(draw: st.DrawFn) -> Meant:
    of, negated = draw(fields), draw(st.booleans())
    looked = [_literal(one) for one in draw(st.lists(texts | numbers, min_size=1, max_size=4))]
    anyone = [_compared("==", of, one) for one in looked]
    listed = ", ".join(one.source for one in looked)
    source = f"{of.source} {'not ' * negated}in {draw(st.sampled_from(['({},)', '[{}]'])).format(listed)}"
    return Meant(source, lambda row: _not(_either([one(row) for one in anyone]), negated))


@st.composite
def _nones(draw: st.DrawFn) -> Meant:
    of, negated = draw(textual | lengths), draw(st.booleans())
    return Meant(f"{of.source} is {'not ' * negated}None", lambda row: (of.gives(row) is None) is not negated)


def like(value: str, pattern: str) -> bool:
    if not pattern:
        return not value
    if pattern[0] == "%":
        return any(like(value[skip:], pattern[1:]) for skip in range(len(value) + 1))
    if not value:
        return False
    same = pattern[0] == "_" or value[0] == pattern[0]
    alike = value[0].isascii() and pattern[0].isascii() and value[0].lower() == pattern[0].lower()
    return (same or alike) and like(value[1:], pattern[1:])


_PREDICATES: dict[str, Callable[[str, str], bool]] = {
    "like": lambda value, pattern: like(value.split("\0")[0], pattern),
    "startswith": lambda value, part: value[: len(part)] == part,
    "endswith": lambda value, part: value[len(value) - len(part) :] == part and len(part) <= len(value),
    "contains": lambda value, part: value.find(part) >= 0,
}


@st.composite
def _predicates(draw: st.DrawFn) -> Meant:
    name, of = draw(st.sampled_from([*_PREDICATES])), draw(textual)
    pattern = draw(texts)
    if name == "like":
        pattern = pattern.replace("\0", "%")

    def means(row: Row) -> Truth:
        value = of.gives(row)
        return None if value is None else isinstance(value, str) and _PREDICATES[name](value, pattern)

    return Meant(f"{name}({of.source}, {quoted(pattern)})", means)


_types = st.sampled_from(
    [
        Meant('type == "Thing"', lambda row: True),
        Meant('"Other" == type', lambda row: False),
        Meant('type not in ("Other", "Thing")', lambda row: False),
        Meant('like(type, "th%")', lambda row: True),
        Meant("type is None", lambda row: False),
    ]
)


def _both(parts: list[Truth]) -> Truth:
    return False if False in parts else None if None in parts else True


def _either(parts: list[Truth]) -> Truth:
    return True if True in parts else None if None in parts else False


def _not(truth: Truth, negated: bool = True) -> Truth:
    return truth if truth is None else truth is not negated


def _joined(word: str, join: Callable[[list[Truth]], Truth]) -> Callable[[list[Meant]], Meant]:
    def made(parts: list[Meant]) -> Meant:
        source = f" {word} ".join(f"({part.source})" for part in parts)
        return Meant(source, lambda row: join([part.means(row) for part in parts]))

    return made


def _within(inner: st.SearchStrategy[Meant]) -> st.SearchStrategy[Meant]:
    several = st.lists(inner, min_size=2, max_size=3)
    return (
        several.map(_joined("and", _both))
        | several.map(_joined("or", _either))
        | inner.map(lambda one: Meant(f"not ({one.source})", lambda row: _not(one.means(row))))
    )


leaves = _comparisons() | _memberships() | _nones() | _predicates() | _types
expressions = st.recursive(leaves, _within, max_leaves=8)
