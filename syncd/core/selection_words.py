"""``without photo, Customer.notes`` in what a person writes of a selection: the fields that are left out.

It may stand before ``where`` and other parts, or after an expression. Where ``without`` is the name of a field, what
follows it is an operator.
"""

from __future__ import annotations

import json
import re

from syncd.core.errors import ExpressionError

_TEXT = r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'"
_TOKEN = re.compile(rf"{_TEXT}|[^\W\d]\w*|.", re.DOTALL)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(
    rf"\s*((?:(?!(?:where|tables|keys|follow|without)\b)[^\W\d]\w*|{_QUOTED})(?:\.(?:[^\W\d]\w*|{_QUOTED}))?)\s*"
)
_PART = re.compile(rf"[^\W\d]\w*|{_QUOTED}")
_LIST = re.compile(rf"\s*(\[\s*{_QUOTED}(?:\s*,\s*{_QUOTED})*\s*\])\s*")
_OPERATORS = re.compile(r"(?:and|or|not|in|is)\b")
_WORD = "without"
_MISSING = "no field is named after without", "write without FIELD, TABLE.FIELD"


def split_without(text: str) -> tuple[str, tuple[str, ...]]:
    """The text without its parts ``without ...``, and the names in them. Raises ExpressionError."""
    names: list[str] = []
    at, kept = 0, ""
    while at < len(text):
        found = _TOKEN.match(text, at)
        assert found is not None
        if found.group() == _WORD and (_begins(text, found.end()) or not text[found.end() :].strip()):
            given, at = _names(text, found.end())
            names += given
            kept = kept.rstrip() + " "
        else:
            kept, at = kept + found.group(), found.end()
    return kept.strip(), tuple(names)


def _begins(text: str, at: int) -> bool:
    """Whether names can begin here, after the word."""
    rest = text[at:].lstrip()
    return rest.startswith("[") or (_NAME.match(rest) is not None and _OPERATORS.match(rest) is None)


def _names(text: str, at: int) -> tuple[list[str], int]:
    if (listed := _LIST.match(text, at)) is not None:
        return _read(listed.group(1), text, at), listed.end()
    names: list[str] = []
    while True:
        found = _NAME.match(text, at)
        if found is None:
            raise ExpressionError(*_MISSING, text, at, at + 1)
        parts = _PART.findall(found.group(1))
        names.append(".".join(json.loads(one) if one.startswith('"') else one for one in parts))
        at = found.end()
        if not text.startswith(",", at):
            return names, at
        at += 1


def _read(listed: str, text: str, at: int) -> list[str]:
    try:
        return [str(one) for one in json.loads(listed)]
    except ValueError as error:
        raise ExpressionError("no list of names", "write them as in JSON", text, at, at + 1) from error
