"""A bound expression -> parametrised SQL that takes the same rows, for an SQLite database whose encoding is UTF-8.

Each literal is a parameter (it has no affinity), each column stands behind a ``+`` (which takes its affinity away) and
names its table (a name that is no column is then an error, not a text), each comparison says its collation. So neither
the declared type of a column nor its collation has a say. The same holds for what the built-in functions would make of
numbers and blobs: they are asked about texts only.
"""

from __future__ import annotations

from typing import NamedTuple

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


class Sql(NamedTuple):
    """What may follow WHERE, and its parameters in order."""

    text: str
    parameters: tuple[Value, ...]


_OPS = {"==": "=", "!=": "<>"}


def sql_of(tree: Condition, table: str) -> Sql:
    """``table``: how the query calls the table."""
    parameters: list[Value] = []
    return Sql(_condition(tree, quote(table), parameters), tuple(parameters))


def quote(name: str) -> str:
    """An identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def _condition(tree: Condition, table: str, parameters: list[Value]) -> str:
    match tree:
        case Every(parts):
            return "(" + " AND ".join(_condition(part, table, parameters) for part in parts) + ")"
        case Some(parts):
            return "(" + " OR ".join(_condition(part, table, parameters) for part in parts) + ")"
        case Compare(op, left, right):
            one, other = _operand(left, table, parameters), _operand(right, table, parameters)
            return f"{one} COLLATE BINARY {_OPS.get(op, op)} {other}"
        case Among(of, values, negated):
            one = _operand(of, table, parameters)
            parameters += (value.value for value in values)
            return f"{one} COLLATE BINARY {'NOT ' * negated}IN ({', '.join('?' * len(values))})"
        case IsNone(of, negated):
            return f"{_operand(of, table, parameters)} IS {'NOT ' * negated}NULL"
        case Matches(name, of, pattern, negated):
            return _matches(name, _Text(of, table, parameters), str(pattern.value), negated)


class _Text(NamedTuple):
    """A value that is asked about more than once: each time brings its own parameters (there are none in it)."""

    of: Operand
    table: str
    parameters: list[Value]

    def __str__(self) -> str:
        return _operand(self.of, self.table, self.parameters)


def _matches(name: str, value: _Text, pattern: str, negated: bool) -> str:
    """False of NULL; of what is no text as if it did not match."""
    raw = pattern.encode()
    parameter: Value = pattern
    match name:
        case "like":
            asked = f"{value} LIKE ?"
        case "contains":
            asked = f"instr({value}, ?) > 0"
        case _ if not pattern:
            asked, parameter = "1", None
        case "startswith":
            asked, parameter = f"substr(CAST({value} AS BLOB), 1, {len(raw)}) IS ?", raw
        case _:
            asked, parameter = f"substr(CAST({value} AS BLOB), -{len(raw)}) IS ?", raw
    if parameter is not None:
        value.parameters.append(parameter)
    then = f"NOT ({asked})" if negated else asked
    return f"CASE typeof({value}) WHEN 'null' THEN 0 WHEN 'text' THEN {then} ELSE {int(negated)} END"


def _operand(operand: Operand, table: str, parameters: list[Value]) -> str:
    match operand:
        case Field(name):
            return f"+{table}.{quote(name)}"
        case Literal(value):
            parameters.append(value)
            return "?"
        case Function("lower", of):
            value = _operand(of, table, parameters)
            return f"CASE typeof({value}) WHEN 'text' THEN lower({value}) ELSE {value} END"
        case Function(_, of):
            value = _operand(of, table, parameters)
            return f"CASE WHEN typeof({value}) IN ('text', 'blob') THEN length({value}) END"
        case TypeName():
            raise AssertionError("a bound tree does not ask for its type")
