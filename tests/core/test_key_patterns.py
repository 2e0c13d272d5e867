"""Patterns over keys: the syntax of gitignore, decided by the last line that matches, in bounded time."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from syncd.core.errors import ExpressionError
from syncd.core.expression_tree import Value
from syncd.core.key_patterns import KeyPatterns, key_text


@pytest.mark.parametrize(
    ("lines", "key", "taken"),
    [
        ([], "Invoice/1", True),
        (["Invoice"], "Invoice/1", True),
        (["Invoice"], "Customer/1", False),
        (["!Invoice"], "Invoice/1", False),
        (["!Invoice"], "Customer/1", True),
        (["Invoice", "!Invoice/1*"], "Invoice/12", False),
        (["Invoice", "!Invoice/1*"], "Invoice/21", True),
        (["!Invoice", "Invoice/7"], "Invoice/7", True),
        (["Invoice/"], "Invoice/1", True),
        (["/1"], "Invoice/1", False),
        (["1"], "Invoice/1", True),
        (["Line/*/2"], "Line/1/2", True),
        (["Line/*/2"], "Line/1/3", False),
        (["File/**/draft.txt"], "File/a/b/draft.txt", True),
        (["File/**/draft.txt"], "File/draft.txt", True),
        (["**/draft.txt"], "File/a/draft.txt", True),
        (["File/a/**"], "File/a/b/c", True),
        (["File/a/**"], "File/b", False),
        (["Item/[a-c]?"], "Item/bx", True),
        (["Item/[!a-c]?"], "Item/bx", False),
        (["Item/a\\*"], "Item/a*", True),
        (["Item/a\\*"], "Item/ab", False),
        (["Item/a**c"], "Item/abc", True),
        (["Item/a*b*c*d"], "Item/a-b-bc-cd-d", True),
        (["Item/a*b*c*d"], "Item/a-b-bc-cd-dx", False),
        (["Item/*?*?b"], "Item/xxb", True),
        (["Item/a"], "Item/a\nb", False),
        (["Item/*b"], "Item/a\nb", True),
        (["*"], "Item/a", True),
        (["a[!b]c"], "Item/a/c", False),
        (["a[.-0]c"], "a/c", False),
        (["a[.-0]c"], "Item/a.c", True),
    ],
)
def test_the_last_line_that_matches_decides(lines: list[str], key: str, taken: bool) -> None:
    assert KeyPatterns(lines).takes(key) is taken


@pytest.mark.parametrize(
    ("lines", "type_name", "may"),
    [
        ([], "Invoice", True),
        (["Invoice/1*"], "Invoice", True),
        (["Invoice/1*"], "Customer", False),
        (["1*"], "Customer", True),
        (["**/1"], "Customer", True),
        (["*/1"], "Customer", True),
        (["!Invoice"], "Invoice", False),
        (["!Invoice/"], "Invoice", False),
        (["!/Inv*"], "Invoice", False),
        (["!Invoice/1*"], "Invoice", True),
        (["Invoice/1", "!Invoice"], "Invoice", False),
        (["!Invoice", "Invoice/1"], "Invoice", True),
        (["a/b"], "a/c", True),
    ],
)
def test_a_type_of_which_no_key_can_be_taken_is_known(lines: list[str], type_name: str, may: bool) -> None:
    assert KeyPatterns(lines).may_take(type_name) is may


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ((1, "a"), "T/1/a"),
        ((1.5, None), "T/1.5/"),
        ((b"\x01\xff",), "T/01ff"),
        (("x/y",), "T/x/y"),
        (("é" * 2_000,), "T/" + "é" * 998),
    ],
)
def test_a_key_has_a_text(key: tuple[Value, ...], text: str) -> None:
    assert key_text("T", key) == text


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("a[b", "a bracket without its end, or with what has no meaning in it"),
        ("a[[b]", "a bracket without its end, or with what has no meaning in it"),
        ("a[b--c]", "a bracket without its end, or with what has no meaning in it"),
        ("a[c-b]", "no pattern of gitignore"),
        ("a\\", "a bracket without its end, or with what has no meaning in it"),
        ("/", "a pattern that matches nothing"),
        ("!", "no pattern of gitignore"),
        ("a\nb", "a pattern on more than one line"),
        ("a/**/b/**/c/**/d", "more than two ** in a pattern"),
        ("a" * 1_001, "a pattern of 1,001 characters"),
    ],
)
def test_a_line_that_is_no_pattern_is_named(line: str, text: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        KeyPatterns(["x", line])
    assert caught.value.text == text


def test_there_is_a_bound_on_the_lines() -> None:
    with pytest.raises(ExpressionError, match="201 patterns"):
        KeyPatterns(["a"] * 201)


_letters = st.sampled_from(["a", "b", "*", "?", "/", "**/", "/**", "[ab]", ".", "\\*", "$", "("])
_patterns = st.lists(_letters, min_size=1, max_size=8).map("".join)
_keys = st.lists(st.sampled_from(["a", "b", "/", ".", "*", "$", "("]), min_size=1, max_size=10).map("".join)


@settings(max_examples=100, deadline=None)
@given(_patterns, st.lists(_keys, min_size=1, max_size=10))
def test_the_safe_regular_expressions_match_what_those_of_the_library_match(pattern: str, keys: list[str]) -> None:
    try:
        ours = KeyPatterns([pattern])
    except ExpressionError:
        return
    library = GitIgnoreSpecPattern(pattern)
    for key in keys:
        assert ours.takes(key) is (library.match_file(key) is not None)
        first = key.split("/", 1)[0]
        assert ours.may_take(first) or not ours.takes(key), "what may be taken covers what is"


@pytest.mark.parametrize(
    ("line", "key"),
    [
        ("*a" * 400 + "b", "T/" + "a" * 1_000_000),
        ("*ab" * 300 + "c", "T/" + "ab" * 5_000),
        ("T/" + "?*" * 400 + "c", "T/" + "ab" * 5_000),
        ("T/**/a/**/b*a*c", "T" + "/a/b" * 5_000),
        ("**/a/**/b/c", "/" * 10_000),
        ("**/*/a/**/*b*b", "a/" * 10_000),
    ],
)
def test_no_key_makes_a_pattern_slow(line: str, key: str) -> None:
    patterns = KeyPatterns([line])
    begin = time.process_time()
    assert not patterns.takes(key_text("T", [key]))
    assert time.process_time() - begin < 1.0
