"""The language: what can be written, its one spelling, and what is said of a mistake."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.core.errors import ExpressionError, UserError
from syncd.core.expression import parse
from syncd.core.settings import Limits

INPUT_S_MAX = 2.0  # for any input, on a busy machine


@pytest.mark.parametrize(
    ("source", "canonical"),
    [
        ("country=='FR' and total>=10", 'country == "FR" and total >= 10'),
        ("total>=10 and country=='FR'", 'country == "FR" and total >= 10'),
        ("(a == 1 and (b == 2)) and ((c == 3))", "a == 1 and b == 2 and c == 3"),
        ("a == 1 or a == 1", "a == 1"),
        ("a == 1 and (b == 2 or c == 3)", "a == 1 and (b == 2 or c == 3)"),
        ("a == 1 or (b == 2 and c == 3)", "a == 1 or b == 2 and c == 3"),
        ("10 <= total < 20", "total < 20 and total >= 10"),
        ("not 10 <= total < 20", "total < 10 or total >= 20"),
        ("b > a", "a < b"),
        ("not (a == 1 or not like(b, 'x%'))", 'a != 1 and like(b, "x%")'),
        ("not a is None", "a is not None"),
        ("not contains(a, 'x')", 'not contains(a, "x")'),
        ("x in ['b', 2, 'a', 1.0, True]", 'x in (1, 2, "a", "b")'),
        ("x in ('a',)", 'x == "a"'),
        ("not x in (1,)", "x != 1"),
        ("x not in (1, -1)", "x not in (-1, 1)"),
        ("x == -0.0", "x == 0"),
        ("x == 1e3", "x == 1000"),
        ("x < -1e999", "x < -1e999"),
        ("x == -9223372036854775808", "x == -9223372036854775808"),
        ("lower(lower(x)) == 'a'", 'lower(x) == "a"'),
        ("length(lower(x)) > 1", "length(x) > 1"),
        ("type == 'A' or 'B' == type", 'type == "A" or type == "B"'),
        ("field('type') == 1 and field('a b') == 2", 'field("a b") == 2 and field("type") == 1'),
        ("field('größe') == 1", "größe == 1"),
        ("ﬁeld == 1", "field == 1"),  # Python reads identifiers so
        ("field('ﬁeld') == 1", 'field("ﬁeld") == 1'),
        ("field('class') == 1", 'field("class") == 1'),
        ("a == 1\n  and b == 'x\\ty\\u2028\"'", 'a == 1 and b == "x\\ty\\u2028\\""'),
        ("field == 1 and like == 2 and length == 3", "field == 1 and length == 3 and like == 2"),
    ],
)
def test_each_meaning_has_one_spelling(source: str, canonical: str) -> None:
    assert parse(source).canonical == canonical
    assert parse(canonical).canonical == canonical
    assert parse(source) == parse(canonical)


@pytest.mark.parametrize(
    ("source", "mistake", "text"),
    [
        ("", "", "an empty expression"),
        ("country = 'FR'", "=", "'=' is no operator"),
        ("a <> 1", ">", "'<>' is no operator"),
        ("a == 1 && b == 2", "&", "'&' is no operator"),
        ("a == 1 AND b == 2", "AND", "AND is no operator"),
        ("a == 1 and", "", "the expression ends too early"),
        ("a == == 1", "==", "== cannot stand here"),
        ("(a == 1", "(", "'(' is not closed"),
        ("a == 1)", ")", "')' closes nothing"),
        ("a in (1, 2]", "]", "']' closes nothing"),
        ("a == 'x", "'", "a text without an end"),
        ("a == 'x' 'y'", "'y'", "two texts in a row"),
        ("a == f'x'", "'x'", "a text with 'f' before it"),
        ("a == 'x\\d'", "\\d", "'\\\\d' has no meaning"),
        ("a == '\\ud800'", "'\\ud800'", "a text with half a character"),
        ("a == 1x", "x", "'1x' is no number"),
        ("a == 1_000", "_000", "'1_000' is no number"),
        ("a == 0x10", "x10", "'0x10' is no number"),
        ("a == " + "1" * 41, "1" * 41, "a number that is too long"),
        ("a == 9223372036854775808", "9223372036854775808", "a whole number of more than 64 bits"),
        ("a == None", "None", "nothing equals None"),
        ("a in (1, None)", "None", "nothing equals None"),
        ("a is 1", "1", "only None can be compared by is"),
        ("a", "a", "a is a value, not a condition"),
        ("a == 1 and b", "b", "b is a value, not a condition"),
        ("True", "True", "True is a value, not a condition"),
        ("not (a, b)", "(a, b)", "a list stands alone"),
        ("(a == 1) == 1", "a == 1", "a condition is no value"),
        ("1 == 1", "1", "two literals are compared"),
        ("'a' is None", "'a'", "'a' is the same for each object"),
        ("a in ('x')", "'x'", "'x' is no list of literals"),
        ("a in b", "b", "b is no list of literals"),
        ("a in ()", "()", "an empty list"),
        ("a in (1, b)", "b", "b is no literal"),
        ("a == -b", "-b", "a minus sign before what is no number"),
        ("a == -True", "-True", "a minus sign before what is no number"),
        ("like(a)", "like(a)", "like() with 1 arguments"),
        ("like(a, b)", "b", "b is no text in quotes"),
        ("like('a', a)", "'a'", "'a' is the same for each object"),
        ("like(a, 1)", "1", "1 is no text in quotes"),
        ("like(a, '\\x00')", "'\\x00'", "a NUL character in a pattern"),
        ("like(length(a), 'x')", "length(a)", "length() gives a number"),
        ("length(length(a)) == 1", "length(a)", "length() gives a number"),
        ("length(a) == 'x'", "'x'", "length() gives a number"),
        ("lower(a) == 1", "1", "lower() gives a text"),
        ("lower(type) == 'x'", "type", "lower() of type"),
        ("type == 1", "1", "type is compared with what is no name"),
        ("type == a", "a", "type is compared with what is no name"),
        ("type in ('A', 1)", "1", "type is compared with what is no name"),
        ("type < 'A'", "'A'", "< has no meaning for type"),
        ("field(a) == 1", "a", "field() of what is no text"),
        ("field('\\ud800') == 1", "'\\ud800'", "a text with half a character"),
        ("upper(a) == 'X'", "upper", "upper is no function"),
        ("eval('1') == 1", "eval", "eval is no function"),
        ("a(b)(c) == 1", "a(b)", "a(b) is no function"),
        ("a.b == 1", ".", "'.' has no meaning here"),
        ("a[0] == 1", "a[0]", "a[0] is not in the language"),
        ("a - 1 == 1", "a - 1", "a - 1 is not in the language"),
        ("a + 1 == 1", "+", "'+' has no meaning here"),
        ("a if b else c", "if", "'if' is a word of Python"),
        ("lambda: 1", "lambda", "'lambda' is a word of Python"),
        ("größe == 'ü' and b", "b", "b is a value, not a condition"),
        ("a == 1; b", ";", "';' has no meaning here"),
        ("a == 1 # b", "#", "'#' has no meaning here"),
    ],
)
def test_a_mistake_is_named_with_a_caret_under_it_and_what_to_do(source: str, mistake: str, text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    error = caught.value
    assert isinstance(error, UserError)
    assert error.text == text
    assert source[error.start : error.end] == mistake
    advice, shown, caret = error.advice.split("\n")
    assert advice, "says what to do"
    assert shown[2:] == source
    assert caret == f"  {' ' * error.start}{'^' * max(1, len(mistake))}"


def test_of_a_long_source_the_part_around_the_mistake_is_shown() -> None:
    source = " and ".join(f"number_{number} == {number}" for number in range(50)) + " and x = 5 and " + "y == 1" * 1
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    _, shown, caret = caught.value.advice.split("\n")
    assert len(shown) < 80
    assert shown[caret.index("^")] == "="


def test_an_expression_is_bounded_in_each_direction() -> None:
    limits = Limits(expression_chars_max=60, expression_tokens_max=11, expression_conditions_max=2)
    parse("a == 1 and b == 2", limits)
    for source, text in (
        ("a == " + "'" + "x" * 60 + "'", "an expression of 67 characters"),
        ("a in (1, 2, 3, 4, 5)", "an expression of 13 words and signs"),
        ("1 < a < b < c", "more than 2 conditions"),
        ("a == '" + "\u200b" * 12 + "'", "written out, an expression of 79 characters"),
    ):
        with pytest.raises(ExpressionError) as caught:
            parse(source, limits)
        assert caught.value.text == text
    with pytest.raises(ExpressionError, match="a pattern of 1,001 characters"):
        parse(f"like(a, '{'x' * 1_001}')")
    nested = "(" * 8 + "a == 1" + ")" * 8
    parse(nested, replace(limits, expression_depth_max=8, expression_tokens_max=40))
    for source in (nested, "not " * 8 + "a == 1", "(not " * 4 + "a == 1" + ")" * 4, "not a == - - - - - - - 1"):
        with pytest.raises(ExpressionError, match="more than 7 brackets, nots and minus signs"):
            parse(source, replace(limits, expression_depth_max=7, expression_tokens_max=40))


_PIECES = [
    *("a", "b.c", "type", "field", "like", "lower", "length", "in", "is", "not", "and", "or", "None", "True", "eval"),
    *("(", ")", "[", "]", "{", "}", ",", "==", "<", "-", ".", ":=", "lambda", "for", "await", "f'{x}'", "'x'", '"'),
    *("1", "9" * 30, "1e999", "0x", "\\", "\n", "\0", "\ud800", "ﬁ", "#", "@", "*", "__class__", "__import__('os')"),
]
_OPENERS = ["(", "[", "not ", "-", "lower(", "a in (", "field(", "like(a,", "x" * 9, "if "]
hostile = (
    st.text(max_size=200)
    | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1"))
    | st.lists(st.sampled_from(_PIECES), max_size=40).map(" ".join)
    | st.tuples(st.sampled_from(_PIECES), st.integers(1, 5_000)).map(lambda made: (made[0] + " ") * made[1])
    | st.tuples(st.sampled_from(_OPENERS), st.integers(1, 20_000)).map(
        lambda made: made[0] * made[1] + "a == 1" + ")" * made[1]
    )
)


@settings(max_examples=150, deadline=None)
@given(hostile)
def test_no_input_does_anything_but_read_or_be_refused_in_bounded_time(source: str) -> None:
    begin = time.process_time()
    said = refusal(source)
    assert time.process_time() - begin < INPUT_S_MAX
    said.encode()
    assert len(said) < 1_000


def refusal(source: str) -> str:
    """What is said against an input; nothing if it can be read."""
    try:
        canonical = parse(source).canonical
    except ExpressionError as error:
        return error.line()
    assert parse(canonical).canonical == canonical
    return ""


@pytest.mark.parametrize("source", ["a == " + "9" * 1_000_000, "(" * 1_000_000, "'" + "x" * 1_000_000 + "'"])
def test_a_huge_input_is_refused_before_it_is_looked_at(source: str) -> None:
    begin = time.process_time()
    with pytest.raises(ExpressionError, match="characters"):
        parse(source)
    assert time.process_time() - begin < INPUT_S_MAX
