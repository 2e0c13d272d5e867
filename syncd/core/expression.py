"""Expressions of selections: read and checked at once, compiled once for each type of a collection.

``parse`` -> ``Expression`` (its canonical spelling names it) -> ``check`` against the types of a collection ->
``compiled`` for one type: a test of an object's values and the SQL that takes the same rows. The grammar is in
``expression_read.py``, how values compare in ``expression_values.py``, what absent fields are in
``expression_bind.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from syncd.core import expression_bind
from syncd.core.expression_bind import bind
from syncd.core.expression_closure import Test, test_of
from syncd.core.expression_read import read
from syncd.core.expression_sql import Sql, sql_of
from syncd.core.expression_tree import Condition, text
from syncd.core.model import DataType
from syncd.core.settings import Limits


@dataclass(frozen=True, slots=True)
class Expression:
    """Two expressions are equal when their canonical spelling is."""

    canonical: str
    tree: Condition = field(compare=False, repr=False)
    source: str = field(compare=False, repr=False)

    def check(self, types: Sequence[DataType]) -> None:
        """Raises ExpressionError for a field or a type that the collection does not have."""
        expression_bind.check(self.tree, self.source, types)


@dataclass(frozen=True, slots=True)
class Compiled:
    """An expression for one type. ``test`` takes the values of key and fields in one sequence; ``constant`` is the
    answer where it is the same for all objects of the type."""

    test: Test
    sql: Sql
    constant: bool | None


def parse(source: str, limits: Limits | None = None) -> Expression:
    """Raises ExpressionError with a caret under the mistake."""
    tree = read(source, limits or Limits())
    return Expression(text(tree), tree, source)


def compiled(expression: Expression, type_: DataType, table: str = "") -> Compiled:
    """``table``: how the query calls the table, if not by the type's name. Never fails: names were checked before,
    and what has gone since is absent."""
    bound = bind(expression.tree, type_)
    if isinstance(bound, bool):
        answer = bound
        return Compiled(lambda values: answer, Sql(str(int(answer)), ()), answer)
    places = {name: place for place, name in enumerate((*type_.key, *type_.fields))}
    return Compiled(test_of(bound, places), sql_of(bound, table or type_.name), None)
