"""An expression takes the same objects by its test, by its SQL and by the plain reading of what was written."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from syncd.core.expression import compiled, parse
from syncd.core.expression_sql import quote
from syncd.core.expression_tree import Value
from syncd.core.model import DataType
from tests.core.expression_kit import COLUMNS, FIELDS, KEY, TYPE, TYPES, Meant, expressions, rows


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE Thing({COLUMNS})")
    yield connection
    connection.close()


def stored(database: sqlite3.Connection, filled: list[list[Value]]) -> list[tuple[Value, ...]]:
    """The objects as the table holds them: the affinity of its columns has changed some."""
    database.execute("DELETE FROM Thing")
    places = ", ".join("?" * len(FIELDS))
    database.executemany(f"INSERT INTO Thing VALUES(NULL, {places})", filled)
    return list(database.execute(f"SELECT {', '.join(map(quote, KEY + FIELDS))} FROM Thing"))


def takes_by_sql(database: sqlite3.Connection, source: str, type_: DataType = TYPE) -> list[Value]:
    sql = compiled(parse(source), type_).sql
    return [key for (key,) in database.execute(f"SELECT id FROM Thing WHERE {sql.text} ORDER BY id", sql.parameters)]


@settings(max_examples=120, deadline=None)
@given(expressions, st.lists(rows, min_size=1, max_size=12))
def test_test_and_sql_and_meaning_agree_for_values_of_each_class_in_columns_of_each_affinity(
    database: sqlite3.Connection, expression: Meant, filled: list[list[Value]]
) -> None:
    objects = stored(database, filled)
    made = compiled(parse(expression.source), TYPE)
    by_test = [values[0] for values in objects if made.test(values)]
    assert by_test == takes_by_sql(database, expression.source)
    assert by_test == [
        values[0] for values in objects if expression.means(dict(zip(KEY + FIELDS, values, strict=True))) is True
    ]
    assert made.constant is None or all(made.test(values) is made.constant for values in objects)


@settings(max_examples=100, deadline=None)
@given(expressions)
@example(Meant("größe != 'a\\u2028\\x7f\\\"'", lambda row: None))
def test_the_canonical_spelling_reads_back_as_itself_on_one_line(expression: Meant) -> None:
    made = parse(expression.source)
    again = parse(made.canonical)
    assert again.canonical == made.canonical
    assert again.tree == made.tree
    assert len(made.canonical.splitlines()) == 1
    made.check(TYPES)


@pytest.mark.parametrize(
    ("declared", "value", "source", "taken"),
    [
        ("words", 10, 'words == "10"', True),  # the column made a text of it
        ("words", 10, "words == 10", False),  # and no number is equal to a text
        ("whole", "10", "whole == 10", True),
        ("whole", "10", 'whole == "10"', False),
        ("raw", "10", "raw == 10", False),
        ("nocase", "abc", 'nocase == "ABC"', False),
        ("nocase", "abc", 'lower(nocase) == "abc"', True),
        ("nocase", "abc", 'nocase in ("ABC", "x")', False),
        ("rtrim", "a  ", 'rtrim == "a"', False),
        ("raw", b"a", 'raw == "a"', False),
        ("raw", b"a", 'raw > "zzz"', True),
        ("raw", b"a", "raw > 1e999", True),
        ("words", "a", "words < 1e999", False),
        ("number", 2**53 + 1, "number == 9007199254740992.0", False),
        ("number", 2**63 - 1, "number < 9223372036854775808.0", True),
        ("whole", 1, "whole == True", True),
        ("whole", 1, "whole == 1.0", True),
        ("words", None, "words != 'a'", False),
        ("words", None, "not words == 'a'", False),
        ("words", None, "words not in ('a', 'b')", False),
        ("words", None, "not like(words, 'a')", False),
        ("words", None, "words is None or words == 'a'", True),
        ("raw", 5, "not like(raw, '5')", True),
        ("raw", 5, "like(raw, '5')", False),
        ("words", "Anna", 'like(words, "a%A")', True),
        ("words", "É", 'like(words, "é")', False),
        ("words", "\u212a", 'like(words, "k")', False),
        ("words", "a\0b", "length(words) == 1", True),
        ("words", "a\0b", 'endswith(words, "\\x00b")', True),
        ("raw", b"", 'startswith(raw, "")', False),
        ("words", "", 'startswith(words, "a")', False),
        ("words", "", 'not endswith(words, "a")', True),
    ],
)
def test_values_compare_as_they_are_kept_whatever_their_column_declares(
    database: sqlite3.Connection, declared: str, value: Value, source: str, taken: bool
) -> None:
    (values,) = stored(database, [[value if name == declared else None for name in FIELDS]])
    assert takes_by_sql(database, source) == [1] * taken
    assert compiled(parse(source), TYPE).test(values) is taken


def test_a_column_that_has_gone_is_an_error_of_sql_and_not_a_text(database: sqlite3.Connection) -> None:
    gone = DataType(1, "Thing", ("id",), ("gone",))
    with pytest.raises(sqlite3.OperationalError, match="gone"):
        takes_by_sql(database, 'gone == "gone"', gone)


def test_a_query_may_call_the_table_by_another_name(database: sqlite3.Connection) -> None:
    stored(database, [["5"] * len(FIELDS)])
    sql = compiled(parse("whole == 5"), TYPE, "t").sql
    assert list(database.execute(f"SELECT id FROM Thing AS t WHERE {sql.text}", sql.parameters)) == [(1,)]


def deepest(brackets: int) -> str:
    """``and`` and ``or`` in turns, the deeper part last as SQLite's parser likes it least."""
    source = "not endswith(lower(words), 'z')"
    for number in range(brackets):
        source = f"whole != {number} {('and', 'or')[number % 2]} ({source})"
    return source


@pytest.mark.parametrize(
    "source",
    [
        " or ".join(f"whole == {number}" for number in range(200)),
        " and ".join(f'(lower(words) != "{number}" or whole < 9)' for number in range(100)),
        f"whole in ({', '.join(map(str, range(1_900)))})",
        deepest(17),
    ],
)
def test_the_largest_expression_is_not_too_large_for_sqlite(database: sqlite3.Connection, source: str) -> None:
    stored(database, [["5"] * len(FIELDS)])
    assert takes_by_sql(database, source) == [1]


@pytest.mark.parametrize("pattern", ["%a" * 400 + "c", "%ab" * 300 + "c", "a%" * 400 + "c", "%_%a" * 200 + "c"])
def test_no_text_makes_like_slow(database: sqlite3.Connection, pattern: str) -> None:
    source = f'like(words, "{pattern}")'
    (values,) = stored(database, [["ab" * 5_000] * len(FIELDS)])
    begin = time.process_time()
    assert not compiled(parse(source), TYPE).test(values)
    assert takes_by_sql(database, source) == []
    assert time.process_time() - begin < 2.0
