"""Patterns over keys, in the syntax of gitignore: which objects of a type a selection takes by name.

A key as text is ``Type/key1/key2``: numbers as written, texts as they are (a ``/`` in one separates as well), blobs in
hexadecimal, nothing for None. A line takes what it matches, a line that begins with ``!`` leaves it out, the last line
that matches decides. What no line matches is taken unless there is a line that takes.

The library translates the lines. Its regular expressions are made safe here against keys that are meant to be slow:
what stands between two ``*`` is taken where it is found first (atomic groups), ``**`` may stand twice, and only the
first ``key_text_chars_max`` characters of a key are looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from syncd.core.errors import ExpressionError
from syncd.core.expression_tree import Value
from syncd.core.settings import Limits

_LIMITS = Limits()
# Escapes, brackets in which each character stands for itself or is part of a range, anything else but a bracket.
_IN_BRACKETS = r"[^\[\]\\&|~/\-]"
_PLAIN = re.compile(rf"(?:\\.|\[[!^]?{_IN_BRACKETS}(?:-{_IN_BRACKETS}|{_IN_BRACKETS})*\]|[^\\\[])*")
_STAR = r"\[\^/\]\*"
_STARS = re.compile(f"(?:{_STAR})+")
_BRACKET = re.compile(r"\\.|\[[^\]]*\]", re.DOTALL)
_BETWEEN_STARS = re.compile(rf"{_STAR}((?:\\.|\[[^\]]*\]|[^\\\[\]()/])+?)(?={_STAR})", re.DOTALL)


class _Line(NamedTuple):
    matches: re.Pattern[str]
    takes: bool
    begins: re.Pattern[str] | None  # what the first part of a key is that can match; None: anything


class KeyPatterns:
    """The lines of one selection, compiled."""

    def __init__(self, lines: Sequence[str]) -> None:
        if len(lines) > _LIMITS.key_patterns_max:
            raise ExpressionError(f"{len(lines)} patterns", f"there may be {_LIMITS.key_patterns_max}", lines[0], 0, 1)
        self._last_first = [_compile(line) for line in reversed(lines)]
        self._otherwise = not any(line.takes for line in self._last_first)

    def takes(self, key: str) -> bool:
        """``key``: see ``key_text``."""
        for line in self._last_first:
            if line.matches.search(key):
                return line.takes
        return self._otherwise

    def may_take(self, type_name: str) -> bool:
        """Whether a key of the type can be taken at all."""
        first = type_name.split("/", 1)[0]
        for line in self._last_first:
            if line.takes and (line.begins is None or line.begins.search(first)):
                return True
            if not line.takes and line.matches.search(type_name[: _LIMITS.key_text_chars_max] + "/"):
                return False
        return self._otherwise


def key_text(type_name: str, key: Sequence[Value]) -> str:
    """A key as the patterns see it."""
    parts = (part.hex() if isinstance(part, bytes) else "" if part is None else str(part) for part in key)
    return "/".join((type_name, *parts))[: _LIMITS.key_text_chars_max]


def normal(line: str) -> str:
    """A line without the spaces at its end; nothing if it is empty or a comment."""
    line = line.rstrip() + " " if line.rstrip(" ").endswith("\\") and line.endswith(" ") else line.rstrip()
    return "" if line.startswith("#") else line


def _compile(line: str) -> _Line:
    if len(line) > _LIMITS.key_pattern_chars_max:
        advice = f"it may have {_LIMITS.key_pattern_chars_max:,}"
        raise ExpressionError(f"a pattern of {len(line):,} characters", advice, line[:72], 0, 1)
    if bad := re.search(r"[\x00-\x1f\x7f\x85\u2028\u2029\ud800-\udfff]", line):
        shown = line.encode(errors="replace").decode()
        raise ExpressionError("a pattern on more than one line", "write one pattern", shown, *bad.span())
    takes = not line.startswith("!")
    body = line.removeprefix("!")
    first, *others = body.strip("/").split("/")
    inner = body.removesuffix("/**")
    if len(re.findall(r"(?:^|/)\*\*(?=/)", inner)) > 2:
        raise ExpressionError("more than two ** in a pattern", "write it with two", line, 0, len(line))
    anchored = (body.startswith("/") or bool(others)) and first != "**"
    return _Line(_regex(line, line), takes, _regex("/" + first, line) if anchored else None)


def _regex(pattern: str, line: str) -> re.Pattern[str]:
    # Few selections have patterns: a daemon that has none does not load the library.
    from pathspec.patterns.gitignore import GitIgnorePatternError
    from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

    plain = _PLAIN.match(pattern)
    end = plain.end() if plain else 0
    if end < len(pattern):
        at = max(0, end - len(pattern) + len(line))
        text = "a bracket without its end, or with what has no meaning in it"
        raise ExpressionError(text, "write [a-z] or [!a-z]; a bracket itself is \\[", line, at, at + 1)
    try:
        regex, _ = GitIgnoreSpecPattern.pattern_to_regex(pattern)
        if regex is None:
            raise ExpressionError("a pattern that matches nothing", "remove it", line, 0, len(line))
        return re.compile(_safe(regex), re.DOTALL)
    except (GitIgnorePatternError, re.error) as error:
        raise ExpressionError("no pattern of gitignore", "see `man gitignore`", line, 0, len(line)) from error


def _safe(regex: str) -> str:
    """The same language; see the head of this file."""
    if regex.endswith("|$)"):
        regex = regex.removesuffix("$)") + r"\Z)"
    regex = _BETWEEN_STARS.sub(r"(?>[^/]*?\1)", _STARS.sub("[^/]*", regex))
    return _BRACKET.sub(_without_slash, regex)


def _without_slash(found: re.Match[str]) -> str:
    """As in git, no bracket matches the ``/`` between two parts of a key."""
    token = found.group()
    if token.startswith(("\\", "[^/")):
        return token
    return f"[^/{token[2:]}" if token.startswith("[^") else f"(?!/){token}"
