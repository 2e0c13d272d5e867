"""What may reach Python's parser at all: the tokens of an expression, bounded.

Python's parser takes hostile text badly (deep nesting and huge numbers cost its stack, its memory and its time, some
texts make it warn), so it is given only texts that consist of the few tokens here, within the bounds of ``Limits``.
No token is a dot: what is no part of a number cannot be written, so no attribute can be named.
"""

from __future__ import annotations

import re
from keyword import iskeyword
from typing import NamedTuple

from syncd.core.errors import ExpressionError
from syncd.core.settings import Limits

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
    r"|(?P<text>\"(?:[^\"\\\r\n]|\\[^\r\n])*\"|'(?:[^'\\\r\n]|\\[^\r\n])*')"
    r"|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign>==|!=|<=|>=|<|>|-|\(|\)|\[|\]|,)"
)
_ESCAPE = re.compile(r"\\(?:[\"'\\abfnrtv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|(.))")
_WORDS = {"and", "or", "not", "in", "is", "True", "False", "None"}
_MEANT = {"=": "==", "&": "and", "|": "or", "!": "not"}
_OPENED = {")": "(", "]": "["}


class Token(NamedTuple):
    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


def scan(source: str, limits: Limits) -> list[Token]:
    """The tokens of a source without spaces. Raises ExpressionError at the first that cannot be."""
    if len(source) > limits.expression_chars_max:
        text = f"an expression of {len(source):,} characters"
        raise ExpressionError(text, f"it may have {limits.expression_chars_max:,}", source[:72], 0, 1)
    tokens: list[Token] = []
    at = 0
    while at < len(source):
        found = _TOKEN.match(source, at)
        if found is None:
            raise _unknown(source, at)
        token = Token(found.lastgroup or "", found.group(), at)
        at = token.end
        if token.kind != "space":
            _check_token(source, token, tokens[-1] if tokens else None, limits)
            tokens.append(token)
    if not tokens:
        raise ExpressionError("an empty expression", 'write a condition, as in: country == "FR"', source, 0, 1)
    if len(tokens) > limits.expression_tokens_max:
        text = f"an expression of {len(tokens):,} words and signs"
        advice = f"it may have {limits.expression_tokens_max:,}"
        raise ExpressionError(text, advice, source, tokens[-1].start, tokens[-1].end)
    _check_nesting(source, tokens, limits.expression_depth_max)
    return tokens


def _unknown(source: str, at: int) -> ExpressionError:
    letter = source[at]
    if letter in "\"'":
        return ExpressionError("a text without an end", f"close it with {letter} on the same line", source, at, at + 1)
    if letter in _MEANT:
        return ExpressionError(f"{letter!r} is no operator", f"write {_MEANT[letter]}", source, at, at + 1)
    advice = "write comparisons of fields, joined by and, or, not"
    if letter == ".":
        advice = 'a field whose name has a dot is written field("a.b")'
    return ExpressionError(f"{letter!r} has no meaning here", advice, source, at, at + 1)


def _check_token(source: str, token: Token, before: Token | None, limits: Limits) -> None:
    """One token as such, and after the one before it."""

    def wrong(text: str, advice: str) -> ExpressionError:
        return ExpressionError(text, advice, source, token.start, token.end)

    near = before is not None and before.end == token.start
    if before is not None and near and before.kind == "number" and token.kind in {"number", "name"}:
        raise wrong(f"{before.text + token.text!r} is no number", "put a text into quotes, or a space between the two")
    if token.kind == "number" and len(token.text) > limits.expression_number_chars_max:
        raise wrong("a number that is too long", f"it may have {limits.expression_number_chars_max} characters")
    if token.kind == "text":
        if before is not None and near and before.kind == "name" and before.text not in _WORDS:
            raise wrong(f"a text with {before.text!r} before it", "write texts in plain quotes")
        if before is not None and before.kind == "text":
            raise wrong("two texts in a row", "put a comma or an operator between them")
        _check_escapes(source, token)
    if token.kind == "name" and token.text not in _WORDS:
        if iskeyword(token.text):
            raise wrong(f"{token.text!r} is a word of Python", f'a field of that name is written field("{token.text}")')
        if not token.text.isidentifier():
            raise wrong(f"{token.text!r} is no name", f'a field of that name is written field("{token.text}")')
    if token.text == ">" and before is not None and near and before.text == "<":
        raise wrong("'<>' is no operator", "write !=")


def _check_escapes(source: str, token: Token) -> None:
    for found in _ESCAPE.finditer(token.text):
        if found.group(1) is not None:
            start = token.start + found.start()
            advice = "a backslash in a text is written twice"
            raise ExpressionError(f"{found.group()!r} has no meaning", advice, source, start, start + 2)


def _check_nesting(source: str, tokens: list[Token], depth_max: int) -> None:
    """Brackets close what was opened, and no more than ``depth_max`` things stand within each other."""
    opened: list[tuple[Token, int]] = []  # a bracket, and how deep it was before it
    depth = base = 0
    for token in tokens:
        if token.text in {"(", "["}:
            opened.append((token, depth))
            depth = base = depth + 1
        elif token.text in _OPENED:
            if not opened or opened[-1][0].text != _OPENED[token.text]:
                text = f"{token.text!r} closes nothing"
                raise ExpressionError(text, "remove it, or open it", source, token.start, token.end)
            _, depth = opened.pop()
            base = opened[-1][1] + 1 if opened else 0
        elif token.text in {"not", "-"}:
            depth += 1
        elif token.text in {"and", "or", ","}:
            depth = base
        if depth > depth_max:
            text = f"more than {depth_max} brackets, nots and minus signs within each other"
            raise ExpressionError(text, "write it flatter, or as two selections", source, token.start, token.end)
    if opened:
        token = opened[-1][0]
        text = f"{token.text!r} is not closed"
        raise ExpressionError(text, "close it", source, token.start, token.end)
