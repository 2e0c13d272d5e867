"""STATUS.md as a table of keys, and an answer held against it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import syncd.control

PAGE = (Path(syncd.control.__file__).parent / "STATUS.md").read_text(encoding="utf-8")
_ROW = re.compile(r"^\| `([\w.\[\]]+)` \| ([\w ]+) \| ([\w ]+) \| (.*) \|$", re.MULTILINE)
TAGS = {"hex", "real", "cut"}  # of a value that JSON has no form for
_ROLES = ("primary", "auxiliary")

_TYPES: dict[str, Callable[[object], bool]] = {
    "text": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "objects": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "texts": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "null": lambda value: value is None,
    "value": lambda value: (
        value is None or isinstance(value, str | int | float) or (isinstance(value, dict) and bool(value.keys() & TAGS))
    ),
    "text or null": lambda value: value is None or isinstance(value, str),
}


class Key(NamedTuple):
    """One row: ``there`` is always, a role, or the condition under which the key is there."""

    path: str
    type: str
    there: str

    @property
    def owner(self) -> str:
        """The path of the object that has the key."""
        return self.path.rpartition(".")[0]


def documented(heading: str) -> list[Key]:
    """The rows below a heading."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"STATUS.md has no section {heading!r}"
    return [Key(path, type_, there) for path, type_, there, _ in _ROW.findall(found[1])]


def keys_for(heading: str, role: str) -> set[str]:
    """The paths that a device of the role may tell."""
    return {key.path for key in documented(heading) if key.there not in _ROLES or key.there == role}


def objects(path: str, value: dict[str, object]) -> Iterator[tuple[str, dict[str, object]]]:
    """Each object in an answer, itself included, with its path."""
    yield path, value
    for name, inner in value.items():
        below = f"{path}.{name}" if path else name
        if isinstance(inner, dict) and not inner.keys() & TAGS:
            yield from objects(below, inner)
        for one in inner if isinstance(inner, list) else []:
            if isinstance(one, dict):
                yield from objects(f"{below}[]", one)


def told(answer: dict[str, object]) -> set[str]:
    """The paths of all keys in an answer."""
    return {f"{path}.{name}" if path else name for path, one in objects("", answer) for name in one}


def mistakes(heading: str, role: str, answer: dict[str, object]) -> list[str]:
    """Where the answer is not as STATUS.md says; empty: it is."""
    page = documented(heading)
    found: list[str] = []
    for path, one in objects("", answer):
        here = {key.path.rpartition(".")[2]: key for key in page if key.owner == path}
        must = {name for name, key in here.items() if key.there in ("always", role)}
        may = {name for name, key in here.items() if key.there not in ("always", *_ROLES)}
        found += [f"{heading}: {path or 'it'} has no key {name}" for name in sorted(must - one.keys())]
        found += [f"{heading}: {path or 'it'} has key {name}" for name in sorted(one.keys() - must - may)]
        found += [
            f"{heading}: {here[name].path} is {value!r}, no {here[name].type}"
            for name, value in one.items()
            if name in here and not _TYPES[here[name].type](value)
        ]
    return found
