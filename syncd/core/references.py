"""References that a selection follows: how they are written, which foreign keys they are, and what is reached by them.

An object is in a class if it is taken by itself, or if one of the class references it by a foreign key that the
selection follows. References may go in circles: what only a circle holds is reached by nothing, and is not in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from syncd.core.errors import ExpressionError
from syncd.core.model import DataType, Reference

_NAME = r"[^\W\d]\w*\.[^\W\d]\w*"
_FOLLOW = re.compile(rf"(?:^|\s)follow\s+({_NAME}(?:\s*,\s*{_NAME})*)\s*\Z")
_MEANT = re.compile(r"(?:^|\s)follow\s+(?!(?:and|or|not|in|is)\b)([^\W\d][^\"'=<>!()]*)\Z")

Object = tuple[int, bytes]  # type and key


class Followed(NamedTuple):
    """A foreign key: places of its columns among the values of key and fields, and the type whose key they hold."""

    places: tuple[int, ...]
    type: int


def split_follow(text: str) -> tuple[str, tuple[str, ...]]:
    """What a person wrote, without ``follow TABLE.FIELD, ...`` at its end, and those names. Raises ExpressionError."""
    if found := _FOLLOW.search(text):
        return text[: found.start()], tuple(name.strip() for name in found.group(1).split(","))
    if found := _MEANT.search(text):
        advice = "write TABLE.FIELD, with commas between several, at the end: follow Invoice.CustomerId"
        raise ExpressionError(f"{found.group(1)[:40].strip()!r} names no foreign key", advice, text, *found.span(1))
    return text, ()


def followed(names: Iterable[str], types: Sequence[DataType]) -> dict[int, tuple[Followed, ...]]:
    """The foreign keys of these names, by the type that has them; a name of none is passed over."""
    found: dict[int, tuple[Followed, ...]] = {}
    ids = {one.name: one.id for one in types}
    for one, reference in (of for name in names for of in _named(name, types)):
        columns = (*one.key, *one.fields)
        made = Followed(tuple(columns.index(column) for column in reference.columns), ids[reference.type])
        if made not in found.get(one.id, ()):
            found[one.id] = (*found.get(one.id, ()), made)
    return found


def check_follow(names: Iterable[str], types: Sequence[DataType]) -> None:
    """Raises ExpressionError for a name of no foreign key that can be followed."""
    for name in names:
        if not _named(name, types):
            raise _no_reference(name, types)


def _named(name: str, types: Sequence[DataType]) -> list[tuple[DataType, Reference]]:
    """The foreign keys that the name is a column of."""
    known = {one.name for one in types}
    return [
        (one, reference)
        for one in types
        for reference in one.references
        if reference.type in known
        and {*one.key, *one.fields}.issuperset(reference.columns)
        and any(name == f"{one.name}.{column}" for column in reference.columns)
    ]


def _no_reference(name: str, types: Sequence[DataType]) -> ExpressionError:
    shared = {one.name for one in types}
    there = [f"{one.name}.{key.columns[0]}" for one in types for key in one.references if key.type in shared]
    advice = f"what can be followed: {', '.join(there[:12]) or 'no foreign key of this collection'}"
    text = f"{name!r} is no foreign key that holds the primary key of a shared table"
    if not any(name == f"{one.name}.{column}" for one in types for column in (*one.key, *one.fields)):
        text = f"there is no field {name!r}"
    return ExpressionError(text, advice, name, 0, len(name))


# ---------------------------------------------------------------- what a batch changes


class Graph(Protocol):
    """A class and its collection after a batch. Which objects are members is as before it; the references are those of
    members, and ``settle`` keeps them so."""

    def is_member(self, one: Object) -> bool: ...

    def is_there(self, one: Object) -> bool: ...

    def is_own(self, one: Object) -> bool:
        """Whether it is taken by itself; asked of objects that are there."""
        ...

    def targets(self, one: Object) -> Iterable[Object]:
        """What a member references."""
        ...

    def referrers(self, one: Object) -> Iterable[Object]:
        """Members that reference an object, there or not."""
        ...

    def record(self, one: Object) -> None:
        """Takes note of what it references, which is all that is remembered of it."""
        ...

    def forget(self, one: Object) -> None:
        """It references nothing."""
        ...


def settle(graph: Graph, altered: Sequence[Object]) -> tuple[list[Object], list[Object]]:
    """What enters the class and what leaves it. ``altered``: all that the batch altered. The cost grows with these,
    with what enters and leaves, and with what is reached from it, not with the class."""
    doubtful: list[Object] = []
    stays = [one for one in altered if graph.is_member(one)]
    for one in stays:
        before = set(graph.targets(one))
        graph.record(one) if graph.is_there(one) else graph.forget(one)
        doubtful += [one, *sorted(before.difference(graph.targets(one)))]
    left = _bereft(graph, doubtful)
    for one in left:
        graph.forget(one)
    begin = [target for one in stays if one not in left for target in graph.targets(one)]
    begin += [one for one in altered if graph.is_there(one) and (graph.is_own(one) or any(graph.referrers(one)))]
    entered = _reached(graph, begin, left)
    return [one for one in entered if one not in left], [one for one in left if one not in entered]


def _bereft(graph: Graph, doubtful: Iterable[Object]) -> dict[Object, None]:
    """Members that nothing holds any more: of those in doubt, and of what they reference, all that no other holds."""
    queue, suspects = list(doubtful), dict[Object, None]()
    while queue:
        one = queue.pop()
        if one in suspects or not graph.is_member(one) or (graph.is_there(one) and graph.is_own(one)):
            continue
        suspects[one] = None
        queue += graph.targets(one)
    held = [one for one in suspects if graph.is_there(one) and any(by not in suspects for by in graph.referrers(one))]
    while held:
        one = held.pop()
        if one in suspects:
            del suspects[one]
            held += [target for target in graph.targets(one) if target in suspects and graph.is_there(target)]
    return suspects


def _reached(graph: Graph, begin: Iterable[Object], left: dict[Object, None]) -> dict[Object, None]:
    """What comes in, of what is to begin with and of all that it references."""
    queue, entered = list(begin), dict[Object, None]()
    while queue:
        one = queue.pop()
        if one in entered or not graph.is_there(one) or (graph.is_member(one) and one not in left):
            continue
        entered[one] = None
        graph.record(one)
        queue += graph.targets(one)
    return entered
