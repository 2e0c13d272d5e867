"""What SQLite's pragmas do not tell of a schema and must be read out of its SQL: conditions of indexes, defaults."""

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
    depth = 0
    listed = False
    rest: list[tuple[str, str]] = []
    for kind, text in tokens(sql):
        if kind == "other" and text in _QUOTES:
            return None
        if listed:
            rest.append((kind, text))
        elif kind == "other" and text in "()":
            depth += 1 if text == "(" else -1
            listed = depth == 0
    words = [one for one in rest if one[0] != "space"]
    if not words or words[0][0] != "word" or words[0][1].upper() != "WHERE" or len(words) == 1:
        return None
    for (kind, text), (_, following) in pairwise(words):
        if following == "." and (kind == "quoted" or not text.isdigit()):
            return None
    return "".join(text for _, text in rest).strip()[len("WHERE") :].strip()


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
