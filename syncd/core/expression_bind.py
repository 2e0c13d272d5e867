"""An expression and the types of a collection: mistakes in names, and what remains of it for one type.

A field that no type of the collection has is a mistake. On a type that lacks a field which another one has, it is
None: comparisons of it take nothing, ``is None`` takes all. So ``country == "FR"`` takes customers only where invoices
have no country; who wants all invoices besides writes ``type == "Invoice" or country == "FR"``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncd.core.errors import ExpressionError
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
    every,
    some,
)
from syncd.core.expression_values import compares, matcher
from syncd.core.model import DataType

_NAMES_SHOWN = 12


def check(tree: Condition, source: str, types: Sequence[DataType]) -> None:
    """Raises ExpressionError for the first name that no type has; ``source`` is what the tree was read from."""
    names = {name for one in types for name in (*one.key, *one.fields)}
    known = {one.name for one in types}
    for leaf in leaves(tree):
        for operand in _operands(leaf):
            if isinstance(operand, Field) and operand.name not in names:
                text = f"no type has a field {operand.name!r}"
                raise ExpressionError(text, _nearest("fields", operand.name, names), source, *operand.at)
        for literal in _type_names(leaf):
            if literal.value not in known:
                text = f"there is no type {literal.value!r}"
                raise ExpressionError(text, _nearest("types", str(literal.value), known), source, *literal.at)


def _nearest(what: str, name: str, names: set[str]) -> str:
    """The one that was meant, if letters differ only in their size, else those there are."""
    if alike := sorted(one for one in names if one.casefold() == name.casefold()):
        return f"write {alike[0]}"
    shown = sorted(names)
    more = f" and {len(shown) - _NAMES_SHOWN} more" if len(shown) > _NAMES_SHOWN else ""
    return f"the {what} are {', '.join(shown[:_NAMES_SHOWN])}{more}" if shown else f"there are no {what}"


def leaves(tree: Condition) -> Iterator[Compare | Among | IsNone | Matches]:
    if isinstance(tree, Every | Some):
        for part in tree.parts:
            yield from leaves(part)
    else:
        yield tree


def _operands(leaf: Compare | Among | IsNone | Matches) -> Iterator[Operand]:
    for operand in (leaf.left, leaf.right) if isinstance(leaf, Compare) else (leaf.of,):
        yield operand.of if isinstance(operand, Function) else operand


def _type_names(leaf: Compare | Among | IsNone | Matches) -> Iterator[Literal]:
    match leaf:
        case Compare(_, TypeName(), Literal() as name):
            yield name
        case Among(TypeName(), names):
            yield from names


def bind(tree: Condition, type_: DataType) -> Condition | bool:
    """What remains to be asked of an object of the type: a tree that names its own fields only, or the answer."""
    match tree:
        case Every(parts):
            bound = [bind(part, type_) for part in parts]
            asked = [part for part in bound if not isinstance(part, bool)]
            return False if False in bound else every(asked) if asked else True
        case Some(parts):
            bound = [bind(part, type_) for part in parts]
            asked = [part for part in bound if not isinstance(part, bool)]
            return True if True in bound else some(asked) if asked else False
    return _bind_leaf(tree, type_)


def _bind_leaf(leaf: Compare | Among | IsNone | Matches, type_: DataType) -> Condition | bool:
    absent = [one for one in _operands(leaf) if isinstance(one, Field) and one.name not in type_.key + type_.fields]
    match leaf:
        case IsNone(of, negated):
            if absent:
                return not negated
            return negated if isinstance(of, TypeName) else leaf
        case _ if absent:
            return False
        case Compare(op, TypeName(), Literal(value)):
            return compares(op, type_.name, value)
        case Among(TypeName(), values, negated):
            return any(value.value == type_.name for value in values) is not negated
        case Matches(name, TypeName(), pattern, negated):
            return matcher(name, str(pattern.value))(type_.name) is not negated
    return leaf
