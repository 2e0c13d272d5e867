"""An expression's source -> its tree. Python reads it; what is not in the grammar is refused at its place.

The grammar, a subset of Python's::

    condition   comparison | predicate | condition and condition | condition or condition | not condition
    comparison  value (== | != | < | <= | > | >=) value ...          chains as in Python: 1 <= total < 5
                value in (literal, ...) | value not in (literal, ...)
                value is None | value is not None
    predicate   like(value, text)          SQL's LIKE: % any text, _ one character, a-z equals A-Z
                startswith(value, text) | endswith(value, text) | contains(value, text)
    value       field name | field("any name") | type | lower(value) | length(value) | literal
    literal     text | number | True (1) | False (0)

``type`` is the name of the object's type; it is only compared with texts by ==, !=, in, not in and the predicates.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from itertools import pairwise

from syncd.core.errors import ExpressionError
from syncd.core.expression_scan import Token, scan
from syncd.core.expression_tree import (
    OPPOSITE,
    Condition,
    Field,
    Function,
    IsNone,
    Literal,
    Matches,
    Operand,
    Span,
    TypeName,
    among,
    compare,
    every,
    some,
    text,
)
from syncd.core.settings import Limits

PREDICATES = ("like", "startswith", "endswith", "contains")
FUNCTIONS = ("lower", "length")
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1

_OPS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_SPOKEN = {"and", "or", "not", "in", "is"}


def read(source: str, limits: Limits) -> Condition:
    """The tree of a source. Raises ExpressionError."""
    try:
        source.encode()
    except UnicodeEncodeError as error:
        shown = source.encode(errors="replace").decode()
        raise ExpressionError("what is no text", "write letters", shown, error.start, error.end) from error
    tokens = scan(source, limits)
    tree = _Reader(source, limits).condition(_parse(source, tokens), False)
    _check_spelling(source, tree, limits)
    return tree


def _parse(source: str, tokens: list[Token]) -> ast.expr:
    """What Python makes of it. Texts hold no line breaks, so all of them become spaces and nothing moves."""
    try:
        return ast.parse("(" + "".join(" " if one in "\t\r\n" else one for one in source) + "\n)", mode="eval").body
    except SyntaxError as error:
        ended, at = error.lineno != 1, (error.offset or 1) - 2
    for token in tokens:
        if token.text not in _SPOKEN and token.text.lower() in _SPOKEN:
            text = f"{token.text} is no operator"
            raise ExpressionError(text, f"write {token.text.lower()}", source, token.start, token.end)
    if ended:
        text = "the expression ends too early"
        raise ExpressionError(text, "write what is missing", source, tokens[-1].end, tokens[-1].end + 1)
    token = next((one for one in tokens if one.end > at), tokens[-1])
    advice = 'write comparisons joined by and, or, not: country == "FR" and total >= 10'
    raise ExpressionError(f"{token.text[:40]} cannot stand here", advice, source, token.start, token.end)


def _check_spelling(source: str, tree: Condition, limits: Limits) -> None:
    """The canonical spelling keeps the bounds as well: it is what is kept and read again."""
    try:
        scan(text(tree), limits)
    except ExpressionError as error:
        advice = "make it shorter, or two selections of it"
        raise ExpressionError(f"written out, {error.text}", advice, source, 0, 1) from error


@dataclass(slots=True)
class _Reader:
    """Walks Python's tree once; ``negated`` stands for a ``not`` around what is read."""

    source: str
    limits: Limits
    conditions: int = 0

    def span(self, node: ast.expr) -> Span:
        """Python counts bytes of UTF-8, after the bracket that ``_parse`` put before."""
        end = node.end_col_offset or node.col_offset + 1
        if self.source.isascii():
            return Span(node.col_offset - 1, end - 1)
        raw = self.source.encode()
        return Span(len(raw[: node.col_offset - 1].decode()), len(raw[: end - 1].decode()))

    def wrong(self, node: ast.expr, what: str, advice: str) -> ExpressionError:
        return ExpressionError(what, advice, self.source, *self.span(node))

    def shown(self, node: ast.expr) -> str:
        start, end = self.span(node)
        return self.source[start : min(end, start + 40)]

    def condition(self, node: ast.expr, negated: bool) -> Condition:
        match node:
            case ast.BoolOp(op, values):
                join = every if isinstance(op, ast.And) is not negated else some
                return join([self.condition(one, negated) for one in values])
            case ast.UnaryOp(ast.Not(), operand):
                return self.condition(operand, not negated)
            case ast.Compare(left, ops, rights):
                join = some if negated else every
                pairs = pairwise([left, *rights])
                return join([self.pair(op, pair, negated) for op, pair in zip(ops, pairs, strict=True)])
            case ast.Call(ast.Name(name)) if name in PREDICATES:
                return self.predicate(node, name, negated)
        self.operand(node)  # a mistake inside it is told first
        advice = "compare it, as in: x == 1, x != 0, x is not None"
        raise self.wrong(node, f"{self.shown(node)} is a value, not a condition", advice)

    def counted(self, node: ast.expr) -> None:
        self.conditions += 1
        if self.conditions > self.limits.expression_conditions_max:
            text = f"more than {self.limits.expression_conditions_max} conditions"
            raise self.wrong(node, text, "compare one field with many values by in (...)")

    def pair(self, op: ast.cmpop, pair: tuple[ast.expr, ast.expr], negated: bool) -> Condition:
        """One comparison of a chain."""
        left, right = pair
        self.counted(right)
        if isinstance(op, ast.In | ast.NotIn):
            return self.membership(left, right, isinstance(op, ast.NotIn) is not negated)
        if isinstance(op, ast.Is | ast.IsNot):
            if not _is_none(right):
                raise self.wrong(right, "only None can be compared by is", "write == or !=")
            return IsNone(self.named(left), isinstance(op, ast.IsNot) is not negated)
        for side in pair:
            if _is_none(side):
                raise self.wrong(side, "nothing equals None", "write is None or is not None")
        spelled = _OPS[type(op)]
        made = (self.operand(left), self.operand(right))
        if isinstance(made[0], Literal) and isinstance(made[1], Literal):
            raise self.wrong(right, "two literals are compared", "compare a field")
        for one, other, node in ((made[0], made[1], right), (made[1], made[0], left)):
            self.check_kinds(one, other, node, spelled)
        return compare(OPPOSITE[spelled] if negated else spelled, *made)

    def check_kinds(self, one: Operand, other: Operand, node: ast.expr, op: str) -> None:
        """``other``, written at ``node``, can be compared with ``one``."""
        if isinstance(one, TypeName):
            if not (isinstance(other, Literal) and isinstance(other.value, str)):
                raise self.wrong(node, "type is compared with what is no name", 'write type == "NAME"')
            if op not in {"==", "!="}:
                raise self.wrong(node, f"{op} has no meaning for type", "compare it by ==, !=, in or not in")
        if isinstance(one, Function) and isinstance(other, Literal):
            wants = str if one.name == "lower" else (int, float)
            if not isinstance(other.value, wants):
                gives = "a text" if one.name == "lower" else "a number"
                raise self.wrong(node, f"{one.name}() gives {gives}", f"compare it with {gives}")

    def membership(self, left: ast.expr, right: ast.expr, negated: bool) -> Condition:
        of = self.named(left)
        if not isinstance(right, ast.Tuple | ast.List):
            advice = 'write in ("A", "B"), with a comma also after a single one; for a part of a text: contains(x, "A")'
            raise self.wrong(right, f"{self.shown(right)} is no list of literals", advice)
        if not right.elts:
            raise self.wrong(right, "an empty list", "write the values that are looked for")
        values: list[Literal] = []
        for node in right.elts:
            if _is_none(node):
                raise self.wrong(node, "nothing equals None", "take it out and write: or x is None")
            value = self.operand(node)
            if not isinstance(value, Literal):
                raise self.wrong(node, f"{self.shown(node)} is no literal", "write texts and numbers only")
            self.check_kinds(of, value, node, "==")
            values.append(value)
        return among(of, values, negated)

    def predicate(self, node: ast.Call, name: str, negated: bool) -> Condition:
        self.counted(node)
        of, pattern = self.arguments(node, name, 2)
        value, literal = self.named(of), self.operand(pattern)
        if isinstance(value, Function) and value.name == "length":
            raise self.wrong(of, "length() gives a number", f"{name}() looks at texts")
        if not (isinstance(literal, Literal) and isinstance(literal.value, str)):
            raise self.wrong(pattern, f"{self.shown(pattern)} is no text in quotes", f'write {name}(x, "...")')
        if name == "like" and "\0" in literal.value:
            raise self.wrong(pattern, "a NUL character in a pattern", "use contains()")
        if name == "like" and len(literal.value) > self.limits.like_chars_max:
            advice = f"it may have {self.limits.like_chars_max:,}"
            raise self.wrong(pattern, f"a pattern of {len(literal.value):,} characters", advice)
        return Matches(name, value, literal, negated)

    def named(self, node: ast.expr) -> Operand:
        """A value that is not the same for each object."""
        value = self.operand(node)
        if isinstance(value, Literal):
            raise self.wrong(node, f"{self.shown(node)} is the same for each object", "name a field here")
        return value

    def operand(self, node: ast.expr) -> Operand:
        match node:
            case ast.Name("type"):
                return TypeName(self.span(node))
            case ast.Name(name):
                return Field(name, self.span(node))
            case ast.Constant(None):
                raise self.wrong(node, "None is no value here", "write is None or is not None")
            case ast.Constant(bool() | int() | float() | str() as value):
                return self.literal(node, value)
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)) if not isinstance(value, bool):
                return self.literal(node, -value)
            case ast.UnaryOp(ast.USub()):
                raise self.wrong(node, "a minus sign before what is no number", "put it before a number only")
            case ast.Call(ast.Name(name)) if name in FUNCTIONS:
                return self.function(node, name)
            case ast.Call(ast.Name("field")):
                return self.field(node)
            case ast.Call(called):
                known = ", ".join((*PREDICATES, *FUNCTIONS, "field"))
                raise self.wrong(called, f"{self.shown(called)} is no function", f"the functions are {known}")
            case ast.Tuple() | ast.List():
                raise self.wrong(node, "a list stands alone", "a list can only follow in or not in")
            case ast.BoolOp() | ast.Compare() | ast.UnaryOp(ast.Not()):
                raise self.wrong(node, "a condition is no value", "join conditions by and, or, not")
        raise self.wrong(node, f"{self.shown(node)} is not in the language", "compare fields with texts and numbers")

    def literal(self, node: ast.expr, value: bool | int | float | str) -> Literal:
        if isinstance(value, str):
            return Literal(self.checked(node, value), self.span(node))
        if isinstance(value, float) and value.is_integer() and INTEGER_MIN <= value <= INTEGER_MAX:
            value = int(value)
        if not isinstance(value, float):
            value = int(value)
            if not INTEGER_MIN <= value <= INTEGER_MAX:
                raise self.wrong(node, "a whole number of more than 64 bits", "write it with a decimal point")
        return Literal(value, self.span(node))

    def checked(self, node: ast.expr, value: str) -> str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise self.wrong(node, "a text with half a character", "take the surrogate out") from error
        return value

    def function(self, node: ast.Call, name: str) -> Operand:
        (of,) = self.arguments(node, name, 1)
        match self.named(of):
            case Field() as value:
                return Function(name, value, self.span(node))
            case Function("lower", value):  # twice, or below length(), it changes nothing
                return Function(name, value, self.span(node))
            case TypeName():
                raise self.wrong(of, f"{name}() of type", "compare type with the names of types as they are")
        raise self.wrong(of, "length() gives a number", f"{name}() looks at texts")

    def field(self, node: ast.Call) -> Operand:
        (of,) = self.arguments(node, "field", 1)
        if not isinstance(of, ast.Constant) or not isinstance(of.value, str):
            raise self.wrong(of, "field() of what is no text", 'write field("name")')
        return Field(self.checked(of, of.value), self.span(of))

    def arguments(self, node: ast.Call, name: str, count: int) -> list[ast.expr]:
        if len(node.args) != count or node.keywords:
            wants = "one argument" if count == 1 else "a value and a text"
            raise self.wrong(
                node, f"{name}() with {len(node.args) + len(node.keywords)} arguments", f"it takes {wants}"
            )
        return node.args


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
