"""What SQLite's pragmas do not tell of a schema and must be read out of its SQL: expressions and conditions of indexes,
defaults."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

_TOKEN = re.compile(
    r"(?P<space>\s+|--[^\n]*|/\*.*?(?:\*/|\Z))"
    r"|(?P<quoted>'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`(?:[^`]|``)*`|\[[^\]]*\])"
    r"|(?P<word>[\w$]+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_CONSTANTS = frozenset(("NULL", "TRUE", "FALSE", "CURRENT_TIME", "CURRENT_DATE", "CURRENT_TIMESTAMP"))
_QUOTES = frozenset("'\"`[")


def tokens(sql: str) -> Iterator[tuple[str, str]]:
    """Kind (space, quoted, word, other) and text; a comment is a space. A quote that is not closed is ``other``."""
    for found in _TOKEN.finditer(sql):
        kind = str(found.lastgroup)
        yield kind, " " if kind == "space" else found.group()


def index_condition(sql: str) -> str | None:
    """The condition after WHERE in a CREATE INDEX, without comments; None where it is not sure what it is.

    A condition that names a column with its table is not sure either: in a trigger the table has another name.
    """
    rest = _index(sql)[1]
    words = [one for one in rest if one[0] != "space"]
    if not words or words[0][0] != "word" or words[0][1].upper() != "WHERE" or len(words) == 1 or _qualified(rest):
        return None
    return "".join(text for _, text in rest).strip()[len("WHERE") :].strip()


def index_terms(sql: str) -> list[str | None]:
    """What a CREATE INDEX lists in its parentheses, without comments and order; None for what is not sure, as above."""
    found: list[str | None] = []
    for term in _index(sql)[0]:
        words = [at for at, (kind, _) in enumerate(term) if kind != "space"]
        if len(words) > 1 and term[words[-1]][1].upper() in ("ASC", "DESC"):
            del term[words[-1] :]
        text = "".join(part for _, part in term).strip()
        found.append(None if not text or _qualified(term) else text)
    return found


def _index(sql: str) -> tuple[list[list[tuple[str, str]]], list[tuple[str, str]]]:
    """The tokens of what a CREATE INDEX lists, and those that follow. Nothing where a quote is not closed."""
    depth = 0
    terms: list[list[tuple[str, str]]] = [[]]
    rest: list[tuple[str, str]] = []
    listed = False
    for kind, text in tokens(sql):
        if kind == "other" and text in _QUOTES:
            return [], []
        if listed:
            rest.append((kind, text))
            continue
        if kind == "other" and text in "()":
            depth += 1 if text == "(" else -1
            listed = depth == 0
            if listed or (depth == 1 and text == "("):
                continue
        if depth == 1 and (kind, text) == ("other", ","):
            terms.append([])
        elif depth:
            terms[-1].append((kind, text))
    return terms, rest


def _qualified(part: list[tuple[str, str]]) -> bool:
    """Whether a name stands with its table."""
    words = [one for one in part if one[0] != "space"]
    return any(
        following == "." and (kind == "quoted" or not text.isdigit())
        for (kind, text), (_, following) in pairwise(words)
    )


def default_expression(text: str) -> str:
    """A column's default as an expression: there a bare name is text, elsewhere it would be a column."""
    words = [one for one in tokens(text) if one[0] != "space"]
    if len(words) != 1:
        return "".join(part for _, part in tokens(text))
    kind, word = words[0]
    is_name = kind == "word" and not word[0].isdigit() and word.upper() not in _CONSTANTS
    if is_name or (kind == "quoted" and word[0] != "'"):
        bare = word if kind == "word" else word[1:-1].replace(word[0] * 2, word[0])
        return "'" + bare.replace("'", "''") + "'"
    return word
