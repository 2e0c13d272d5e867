"""A bound expression -> a test of an object's values, composed of closures. Nothing is evaluated as source.

The commonest leaves, a field compared with a literal, have closures of their own that look at the value's type once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter

from syncd.core.expression_tree import (
    Among,
    Compare,
    Condition,
    Every,
    Field,
    Function,
    IsNone,
    Literal,
    Matches,
    Operand,
    Some,
    TypeName,
    Value,
)
from syncd.core.expression_values import OPERATORS, compares, length, lower, matcher

Values = Sequence[Value]
Test = Callable[[Values], bool]
_Get = Callable[[Values], Value]


def test_of(tree: Condition, places: dict[str, int]) -> Test:
    """The test for values in which the field ``name`` stands at ``places[name]``."""
    match tree:
        case Every(parts):
            return _every(tuple(test_of(part, places) for part in parts))
        case Some(parts):
            return _some(tuple(test_of(part, places) for part in parts))
        case Compare(op, Field(name), Literal(value)):
            return _compare_literal(op, places[name], value)
        case Compare(op, left, right):
            return _compare(op, _getter(left, places), _getter(right, places))
        case Among(of, values, negated):
            return _among(_getter(of, places), frozenset(one.value for one in values), negated)
        case IsNone(of, negated):
            get = _getter(of, places)
            return (lambda values: get(values) is not None) if negated else (lambda values: get(values) is None)
        case Matches(name, of, pattern, negated):
            return _matches(_getter(of, places), matcher(name, str(pattern.value)), negated)


def _every(tests: tuple[Test, ...]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda values: first(values) and second(values)
    if len(tests) == 3:
        first, second, third = tests
        return lambda values: first(values) and second(values) and third(values)

    def test(values: Values) -> bool:
        for one in tests:  # noqa: SIM110, a generator would cost more than the tests
            if not one(values):
                return False
        return True

    return test


def _some(tests: tuple[Test, ...]) -> Test:
    if len(tests) == 2:
        first, second = tests
        return lambda values: first(values) or second(values)

    def test(values: Values) -> bool:
        for one in tests:  # noqa: SIM110
            if one(values):
                return True
        return False

    return test


def _compare_literal(op: str, place: int, literal: int | float | str) -> Test:
    if op == "==":
        return lambda values: values[place] == literal
    if op == "!=":
        return lambda values: values[place] != literal and values[place] is not None
    holds, above = OPERATORS[op], op in {">", ">="}

    def number(values: Values) -> bool:
        value = values[place]
        kind = type(value)
        if kind is int or kind is float:
            return holds(value, literal)
        return above and value is not None

    def text(values: Values) -> bool:
        value = values[place]
        kind = type(value)
        if kind is str:
            return holds(value, literal)
        return kind is bytes if above else kind is int or kind is float

    return text if isinstance(literal, str) else number


def _compare(op: str, left: _Get, right: _Get) -> Test:
    return lambda values: compares(op, left(values), right(values))


def _among(get: _Get, known: frozenset[int | float | str], negated: bool) -> Test:
    if not negated:
        return lambda values: get(values) in known

    def test(values: Values) -> bool:
        value = get(values)
        return value is not None and value not in known

    return test


def _matches(get: _Get, matches: Callable[[str], bool], negated: bool) -> Test:
    def test(values: Values) -> bool:
        value = get(values)
        if type(value) is str:
            return matches(value) is not negated
        return negated and value is not None

    return test


def _getter(operand: Operand, places: dict[str, int]) -> _Get:
    match operand:
        case Field(name):
            return itemgetter(places[name])
        case Literal(value):
            return lambda values: value
        case Function(name, of):
            get = _getter(of, places)
            return (lambda values: lower(get(values))) if name == "lower" else (lambda values: length(get(values)))
        case TypeName():
            raise AssertionError("a bound tree does not ask for its type")
