"""What a person writes of a selection is bounded in each direction, and whatever it is, it is read or refused: nothing
of it is run, and neither time nor memory is without bound (R15)."""

from __future__ import annotations

import json
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.core.errors import ExpressionError
from syncd.core.expression import parse
from syncd.core.key_patterns import KeyPatterns, key_text
from syncd.core.model import DataType
from syncd.core.selection import chooser, read_chosen
from syncd.core.settings import Limits
from tests.core.test_expression_read import hostile

LIMITS = Limits()
TYPES = (DataType(1, "Customer", ("id",), ("name", "country", "photo")), DataType(2, "Line", ("id",), ("total",)))
INPUT_S_MAX = 2.0  # for any input, on a busy machine
INPUT_BYTES_MAX = 32 * 1024 * 1024


# ---------------------------------------------------------------- each limit, at its bound


def test_expression_number_chars_max() -> None:
    limits = Limits(expression_number_chars_max=6)
    assert parse("a == 123456", limits).canonical == "a == 123456"
    for number in ("1234567", "1.00000", "1e00001"):
        with pytest.raises(ExpressionError, match="a number that is too long"):
            parse(f"a == {number}", limits)


def test_like_chars_max() -> None:
    assert parse(f"like(a, '{'x' * LIMITS.like_chars_max}')", LIMITS).canonical
    with pytest.raises(ExpressionError, match="a pattern of 1,001 characters"):
        parse(f"like(a, '{'x' * (LIMITS.like_chars_max + 1)}')", LIMITS)


def test_key_patterns_max() -> None:
    lines = [f"Line/{number}" for number in range(LIMITS.key_patterns_max)]
    assert KeyPatterns(lines).takes("Line/7")
    with pytest.raises(ExpressionError, match="201 patterns"):
        KeyPatterns([*lines, "one more"])


def test_key_pattern_chars_max() -> None:
    longest = "x" * LIMITS.key_pattern_chars_max
    assert KeyPatterns([longest]).takes(longest)
    with pytest.raises(ExpressionError, match="a pattern of 1,001 characters"):
        KeyPatterns([longest + "x"])


def test_types_max() -> None:
    def tables(count: int) -> str:
        return "tables " + json.dumps([f"t{number:05}" for number in range(count)])

    assert len(read_chosen(tables(LIMITS.types_max)).tables) == LIMITS.types_max
    with pytest.raises(ExpressionError, match="10,001 tables"):
        read_chosen(tables(LIMITS.types_max + 1))


def test_key_text_chars_max() -> None:
    """What is beyond it in a key decides nothing."""
    room = LIMITS.key_text_chars_max - len("T/")
    assert len(key_text("T", ["x" * room])) == LIMITS.key_text_chars_max
    assert key_text("T", ["x" * room + "y"]) == key_text("T", ["x" * room])
    ends_in_y = KeyPatterns(["*y"])
    assert ends_in_y.takes(key_text("T", ["x" * (room - 1) + "y"]))
    assert not ends_in_y.takes(key_text("T", ["x" * room + "y"]))


# ---------------------------------------------------------------- whatever is written

_ran: list[str] = []
_watching: list[bool] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _watching and event in {"exec", "import", "open", "os.system", "subprocess.Popen", "object.__getattr__"}:
        _ran.append(f"{event} {arguments[:1]}")


sys.addaudithook(_audit)


@contextmanager
def nothing_runs() -> Iterator[None]:
    """No code is executed, no module is loaded, no file is opened meanwhile. Reading Python's grammar is allowed."""
    _ran.clear()
    _watching.append(True)
    try:
        yield
    finally:
        _watching.pop()
    assert _ran == []


_words = st.sampled_from(
    [
        *("without", "without photo", "without Customer.photo, name", 'without ["photo"]', "where", "all", "not in"),
        *(
            'tables ["Customer"]',
            'keys ["!Customer/1", "Line/*"]',
            'keys ["**/a/**/b"]',
            'country == "FR"',
            "total > 1",
        ),
        *("photo is None", "__class__.__base__", "().__class__", "eval('1')", "[x for x in y]", 'without "a.b"', ","),
    ]
)
chosen = hostile | st.lists(_words, max_size=12).map(" ".join) | st.tuples(_words, hostile).map(" ".join)


@settings(max_examples=50, deadline=None)
@given(chosen)
def test_no_input_is_run_and_none_takes_time_or_memory_without_bound(text: str) -> None:
    warm = read_chosen('country == "FR" without photo', TYPES)
    chooser(warm, TYPES)
    begin = time.process_time()
    tracemalloc.start()
    try:
        with nothing_runs():
            asked(text)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert time.process_time() - begin < INPUT_S_MAX
    assert peak_bytes < INPUT_BYTES_MAX


def asked(text: str) -> None:
    """What is read takes or leaves an object, and is written down in a form that reads back; what is not is refused."""
    try:
        made = read_chosen(text, TYPES)
    except ExpressionError:
        return
    assert read_chosen(made.canonical) == made
    made_chooser = chooser(made, TYPES)
    for type_ in made_chooser.types:
        base = next(one for one in TYPES if one.name == type_.name)
        fields: tuple[str | int | None, ...] = ("Anna", "FR", None)[: len(base.fields)]
        if made_chooser.takes(base.id, (1,), fields):
            assert len(made_chooser.project(base.id, fields)) == len(type_.fields)
