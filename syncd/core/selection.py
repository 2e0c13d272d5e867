"""Selection module (claim 24g): which data objects a device takes.

Devices with the same selection form a *selection class* and share its work (R8): what is read, built and encoded for
one is sent to all. The class is named by the canonical form of its selection.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from operator import add, itemgetter

from syncd.core.errors import ExpressionError
from syncd.core.expression import compiled, parse
from syncd.core.expression_closure import Test
from syncd.core.expression_sql import Sql
from syncd.core.expression_tree import Value
from syncd.core.key_patterns import KeyPatterns, key_text, normal
from syncd.core.model import DataType
from syncd.core.references import Followed, check_follow, followed, split_follow
from syncd.core.selection_words import split_without
from syncd.core.settings import Limits

_LIMITS = Limits()
_LIST = r'\["(?:[^"\\]|\\.)*"(?:, "(?:[^"\\]|\\.)*")*\]'
_LISTS = ("tables", "without", "keys", "follow")
_TYPE_BITS = 31  # of a type's id in the store; with those of the fields left out it has 53
_PART = re.compile(rf"(tables|without|keys|follow) ({_LIST})(?: |\Z)")


@dataclass(frozen=True, slots=True, order=True)
class Selection:
    """A selection class. Made of any spelling, it holds the canonical one; nothing set takes all objects.

    ``where``: an expression (see ``expression_read.py``) that is true of an object. ``tables``: names of the types
    taken, none for all. ``without``: fields left out, ``field`` of each type or ``Type.field``. ``keys``: patterns in
    the syntax of gitignore (see ``key_patterns.py``), in order. An object is taken if all of them take it, or if one
    that is taken references it by a foreign key of ``follow``, each named as ``Type.field``. Raises ExpressionError for
    what cannot be read; ``check`` says whether it fits a collection.
    """

    where: str = ""
    tables: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()
    canonical: str = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        given = {
            "where": parse(self.where).canonical if self.where.strip() else "",
            "tables": _names("tables", self.tables),
            "without": _names("without", self.without),
            "keys": tuple(line for line in map(normal, self.keys) if line),
            "follow": _names("follow", self.follow),
        }
        KeyPatterns(given["keys"])
        lists = [f"{name} {_one_line(given[name])}" for name in _LISTS if given[name]]
        where = [f"where {given['where']}"] if given["where"] else []
        given["canonical"] = " ".join(lists + where) or "all"
        for name, value in given.items():
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return hash(self.canonical)  # which a text remembers: classes are looked up with each commit

    @property
    def digest(self) -> str:
        """What the class is called in short: 16 hexadecimal digits of its canonical form."""
        return blake2b(self.canonical.encode(), digest_size=8).hexdigest()

    def told_id(self, type_: int) -> int:
        """The id of a type that has fewer fields in the class: other than of all who are told other fields, and greater
        where the type's is. What a device edited says so by which fields it had."""
        of_fields = int.from_bytes(blake2b("\0".join(self.without).encode(), digest_size=4).digest(), "big")
        return type_ | (of_fields >> 10 | 1) << _TYPE_BITS

    def takes(self, type_name: str) -> bool:
        """Whether objects of the type can be taken by themselves as far as its name says; for more see ``chooser``."""
        return (not self.tables or type_name in self.tables) and KeyPatterns(self.keys).may_take(type_name)

    def of_types(self, types: Sequence[DataType]) -> tuple[DataType, ...]:
        """The types that a device of the class is told: what was never selected is never named (R8)."""
        return tuple(types) if self == ALL else chooser(self, tuple(types)).types

    def check(self, types: Sequence[DataType]) -> None:
        """Raises ExpressionError for a name that no type of the collection has, or a key column left out."""
        known = {one.name for one in types}
        for name in self.tables:
            if name not in known:
                raise ExpressionError(f"there is no table {name!r}", _those(known), name, 0, len(name))
        for name in self.without:
            self._check_without(name, types)
        if self.where:
            parse(self.where).check(types)
        check_follow(self.follow, types)

    def _check_without(self, name: str, types: Sequence[DataType]) -> None:
        for one in types:
            if any(name in {key, f"{one.name}.{key}"} for key in one.key):
                text = f"{name!r} is part of the key of {one.name}"
                raise ExpressionError(text, "objects cannot be told apart without it", name, 0, len(name))
        if not any(name in {column, f"{one.name}.{column}"} for one in types for column in one.fields):
            text = f"no table has a field {name!r}"
            raise ExpressionError(text, "write FIELD or TABLE.FIELD", name, 0, len(name))


def selection_for(types: Sequence[DataType], wanted: Selection, where: str) -> Selection:
    """``wanted`` with an expression as a person wrote it, checked: a caret stands under what was written."""
    if where.strip():
        parse(where).check(types)
    made = replace(wanted, where=where)
    made.check(types)
    return made


def read_selection(canonical: str) -> Selection:
    """The selection of a canonical form. Raises ExpressionError for what is none."""
    rest, lists = canonical, dict[str, tuple[str, ...]]()
    while found := _PART.match(rest):
        lists[found.group(1)] = tuple(json.loads(found.group(2)))
        rest = rest[found.end() :]
    where = rest.removeprefix("where ") if rest.startswith("where ") else ""
    made = Selection(where=where, **lists)
    if made.canonical != canonical:
        raise ExpressionError("no selection in its canonical form", "", canonical[:72], 0, 1)
    return made


def read_chosen(text: str, types: Sequence[DataType] = ()) -> Selection:
    """What a person writes: parts of the canonical form, an expression alone, or ``all``. ``types``: of the collection
    that it is to fit, where they are known. Raises ExpressionError with a caret under the mistake."""
    (rest, without), lists = split_without(text), dict[str, tuple[str, ...]]()
    rest, follow = split_follow(rest)
    if rest == "all":
        rest = ""
        if not without:
            return ALL
    while found := _PART.match(rest):
        try:
            lists[found.group(1)] = tuple(json.loads(found.group(2)))
        except ValueError as error:
            raise ExpressionError("no list of names", "write them as in JSON", rest[:72], *found.span(2)) from error
        rest = rest[found.end() :]
    if not (rest or lists or without):
        raise ExpressionError("nothing is chosen", 'write an expression such as country == "FR", or all', text, 0, 1)
    where, follow = rest.removeprefix("where "), (*lists.get("follow", ()), *follow)
    wanted = Selection("", lists.get("tables", ()), without, lists.get("keys", ()), follow)
    return selection_for(types, wanted, where) if types else replace(wanted, where=where)


def _names(what: str, names: Iterable[str]) -> tuple[str, ...]:
    kept = sorted({name for name in names if name})
    if len(kept) > _LIMITS.types_max:
        raise ExpressionError(f"{len(kept):,} {what}", f"there may be {_LIMITS.types_max:,}", kept[0], 0, 1)
    for name in kept:
        if re.search(r"[\ud800-\udfff]", name):
            raise ExpressionError("what is no text", "write letters", ascii(name), 0, 1)
    return tuple(kept)


def _one_line(names: object) -> str:
    """JSON in which whatever would break a line or cannot be seen is escaped."""
    spelled = json.dumps(names, ensure_ascii=False)
    return "".join(one if one.isprintable() else json.dumps(one)[1:-1] for one in spelled)


def _those(names: Iterable[str]) -> str:
    return f"there are {', '.join(sorted(names)[:12])}"


ALL = Selection()


@dataclass(frozen=True, slots=True)
class _Choice:
    """A class and one type: what is asked of each object, and what of its fields is kept (None: all). ``type``: as its
    devices are told; ``kept``: places of the fields. ``lent``: its objects are in the class by references only."""

    type: DataType
    kept: tuple[int, ...]
    test: Test | None
    patterns: KeyPatterns | None
    keep: Callable[[Sequence[Value]], tuple[Value, ...]] | None
    sql: Sql
    lent: bool = False


class Chooser:
    """A selection compiled for the types of a collection; made once for both (``chooser``).

    ``types``: the types as a device of the class is told, without the fields left out; those that lack any have ids of
    their own. How their application declares them stays as it is. ``follows``: the foreign keys that are followed, by
    the type that has them.
    """

    def __init__(self, selection: Selection, types: Sequence[DataType]) -> None:
        self._patterns = KeyPatterns(selection.keys) if selection.keys else None
        self._expression = parse(selection.where) if selection.where else None
        self.follows: dict[int, tuple[Followed, ...]] = followed(selection.follow, types)
        lent = {reference.type for of_type in self.follows.values() for reference in of_type}
        choices = {one.id: self._choice(selection, one, one.id in lent) for one in types}
        self._choices = {id_: choice for id_, choice in choices.items() if choice is not None}
        self.types = tuple(choice.type for choice in self._choices.values())

    def _choice(self, selection: Selection, type_: DataType, lent: bool) -> _Choice | None:
        """None: no object of the type can be in the class. ``lent``: a followed reference leads to it."""
        taken, test, sql = selection.takes(type_.name), None, Sql("1", ())
        if taken and self._expression is not None:
            made = compiled(self._expression, type_)
            taken = made.constant is not False
            test, sql = (None if made.constant else made.test), made.sql
        if not (taken or lent):
            return None
        kept = tuple(
            place
            for place, name in enumerate(type_.fields)
            if name not in selection.without and f"{type_.name}.{name}" not in selection.without
        )
        fields = tuple(type_.fields[place] for place in kept)
        sql = sql if taken else Sql("0", ())
        if fields == type_.fields:
            return _Choice(type_, kept, test, self._patterns, None, sql, not taken)
        told = replace(type_, id=selection.told_id(type_.id), fields=fields)
        return _Choice(told, kept, test, self._patterns, _keeper(kept), sql, not taken)

    def answer(self, type_id: int) -> bool | None:
        """Whether all objects of the type are taken by themselves, or none; None: it depends on the object."""
        choice = self._choices.get(type_id)
        if choice is None or choice.lent:
            return False
        return True if choice.test is None and choice.patterns is None else None

    def takes(self, type_id: int, key: Sequence[Value], fields: Sequence[Value]) -> bool:
        """Whether an object is taken by itself. ``fields``: all of its type, also those left out."""
        choice = self._choices.get(type_id)
        if choice is None or choice.lent or (choice.test is not None and not choice.test((*key, *fields))):
            return False
        return choice.patterns is None or choice.patterns.takes(key_text(choice.type.name, key))

    def takes_each(self, type_id: int, keys: Sequence[list[Value]], fields: Sequence[list[Value]]) -> list[bool]:
        """The same of many objects of one type."""
        choice = self._choices.get(type_id)
        if choice is None or choice.lent:
            return [False] * len(keys)
        taken = [True] * len(keys) if choice.test is None else list(map(choice.test, map(add, keys, fields)))
        if choice.patterns is not None:
            name, matches = choice.type.name, choice.patterns.takes
            taken = [one and matches(key_text(name, key)) for one, key in zip(taken, keys, strict=True)]
        return taken

    def leaves_out(self, type_id: int) -> bool:
        """Whether objects of the type have fewer fields in the class (then ``project`` each)."""
        choice = self._choices.get(type_id)
        return choice is not None and choice.keep is not None

    def project(self, type_id: int, fields: Sequence[Value]) -> Sequence[Value]:
        """The fields of an object that is in the class as the class has them."""
        keep = self._choices[type_id].keep
        return fields if keep is None else keep(fields)

    def told(self, type_id: int) -> int:
        """What a type of which some objects are taken is called to devices of the class."""
        return self._choices[type_id].type.id

    def narrow(self) -> dict[int, tuple[int, tuple[int, ...]]]:
        """Types that have fewer fields in the class, as devices call them: which of the collection's each is, and the
        places of the fields that it has."""
        return {one.type.id: (id_, one.kept) for id_, one in self._choices.items() if one.keep is not None}

    def sql(self, type_id: int) -> Sql:
        """What may follow WHERE in a query of the type's table: takes each row that ``takes`` takes, and no other
        unless there are patterns over keys, of which SQL knows nothing."""
        choice = self._choices.get(type_id)
        return Sql("0", ()) if choice is None else choice.sql


def _keeper(places: tuple[int, ...]) -> Callable[[Sequence[Value]], tuple[Value, ...]]:
    if len(places) == 1:
        return lambda fields: (fields[places[0]],)
    return itemgetter(*places) if places else (lambda fields: ())


@lru_cache(maxsize=1_024)
def chooser(selection: Selection, types: tuple[DataType, ...]) -> Chooser:
    """The one chooser of a selection and the types of a collection."""
    return Chooser(selection, types)
