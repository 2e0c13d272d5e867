"""Messages by chance, each one that makes sense, for hypothesis."""

from __future__ import annotations

from hypothesis import strategies as st

from syncd.adapters.canonical import pack_values
from syncd.core.edits import Direction, Edit, Policy, Ruling
from syncd.core.messages import (
    Begin,
    Credit,
    Cut,
    Failed,
    Follow,
    Hello,
    Made,
    Message,
    Objects,
    Offer,
    Pace,
    Refusal,
    Report,
    Rest,
    Run,
    Taken,
    Terms,
    Types,
    Upload,
    Verdict,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.model import DataType, Kind, Tie

_ALPHABET = "ABCXYZabcxyz0189"
NAMES = st.builds(str.__add__, st.sampled_from(_ALPHABET), st.text(_ALPHABET + "._-", max_size=63))
EPOCHS = NAMES
NUMBERS = st.integers(0, 2**63 - 1)
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.text(CHARACTERS, max_size=40)
NAMES_IN_TYPES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
DIGESTS = st.binary(min_size=16, max_size=16)
INTEGERS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from([2**53 - 1, 2**53, -(2**53), 2**63 - 1]))
VALUES = st.one_of(
    st.none(), INTEGERS, st.floats(allow_nan=False), st.text(CHARACTERS, max_size=40), st.binary(max_size=40)
)
KEYS = st.lists(VALUES, min_size=1, max_size=3).map(pack_values)
FIELDS = st.lists(VALUES, max_size=20).map(pack_values)

HELLOS = st.builds(Hello, st.lists(st.integers(1, 65535), min_size=1, max_size=16).map(tuple), NAMES, NAMES, NAMES)
WELCOMES = st.builds(
    Welcome,
    st.integers(1, 65535),
    NAMES,
    NAMES,
    NAMES,
    st.integers(1, 2**63 - 1),
    st.lists(NAMES, max_size=5, unique=True).map(tuple),
)
REFUSALS = st.builds(Refusal, st.sampled_from(["version", "bad-frame", "x"]), TEXTS)
CREDITS = st.builds(Credit, NAMES, NUMBERS)
FAILURES = st.builds(
    Failed, NUMBERS, st.sampled_from(["cancelled", "rolled-back", "held"]), TEXTS, NAMES_IN_TYPES, st.just(b"") | KEYS
)
REPORTS = st.builds(
    Report,
    NAMES,
    st.just("") | EPOCHS,
    NUMBERS,
    DIGESTS,
    NUMBERS,
    st.booleans(),
    NUMBERS,
    TEXTS,
    st.booleans(),
    st.lists(FAILURES, max_size=4).map(tuple),
)


@st.composite
def follows(draw: st.DrawFn) -> Follow:
    snapshot = draw(st.booleans())
    base, cursor = (0, draw(NUMBERS)) if snapshot else sorted(draw(st.tuples(NUMBERS, NUMBERS)))
    floor = draw(NUMBERS) if snapshot else 0
    epoch = draw(st.just("") | EPOCHS)
    position = draw(NUMBERS) if epoch else 0
    return Follow(draw(NAMES), epoch, position, snapshot, base, floor, cursor, draw(st.booleans()))


@st.composite
def begins(draw: st.DrawFn) -> Begin:
    snapshot = draw(st.booleans())
    base, cursor, head = sorted(draw(st.tuples(NUMBERS, NUMBERS, NUMBERS)))
    base, floor = (0, draw(st.integers(0, head))) if snapshot else (base, 0)
    return Begin(draw(NAMES), draw(EPOCHS), snapshot, base, floor, cursor, head, draw(TEXTS))


@st.composite
def data_types(draw: st.DrawFn) -> DataType:
    names = draw(st.lists(NAMES_IN_TYPES, min_size=1, max_size=8, unique=True))
    keys = draw(st.integers(1, len(names)))
    definition = tuple(draw(st.lists(NAMES_IN_TYPES, max_size=2)))
    return DataType(draw(NUMBERS), draw(NAMES_IN_TYPES), tuple(names[:keys]), tuple(names[keys:]), definition)


TYPES = st.builds(Types, NAMES, st.lists(data_types(), max_size=4, unique_by=lambda one: one.id).map(tuple))


@st.composite
def generic_messages(draw: st.DrawFn) -> Message:
    kind = draw(st.sampled_from(Kind))
    key, type_ = draw(KEYS), draw(NUMBERS)
    if kind is Kind.DELETE:
        return Message(kind, type_, key, b"")
    return Message(kind, type_, key, draw(TEXTS).encode() if kind is Kind.WITHHELD else draw(FIELDS))


@st.composite
def objects(draw: st.DrawFn) -> Objects:
    first = draw(st.integers(0, 2**62))
    seq, before, rows, runs = first, first, [], []
    for group in draw(st.lists(st.lists(generic_messages(), min_size=1, max_size=3), max_size=4)):
        before, seq = seq, seq + draw(st.integers(1, 10**6))
        runs.append(Run(seq, draw(st.booleans()), len(group)))
        rows += group
    last = draw(st.integers(max(before, first + bool(rows)), seq + 10))
    newer = st.integers(first + 2, first + 10**6)
    ties = tuple(Tie(draw(st.integers(1, tie - 1)), tie) for tie in draw(st.lists(newer, max_size=3)))
    cut = Cut(last, draw(DIGESTS), draw(NUMBERS)) if draw(st.booleans()) else None
    kinds, types, keys, fields = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Objects(draw(NAMES), first, last, tuple(runs), bytes(kinds), [*types], [*keys], [*fields], ties, cut)


TERMS = st.builds(Terms, NAMES, st.sampled_from(Direction).map(str), st.sampled_from(Policy).map(str))
PACES = st.builds(
    lambda names, resting, reason, until_us, rate: Pace(
        tuple(Rest(name, reason, until_us) for name in names[:resting]), tuple(names[resting:]), rate
    ),
    st.lists(NAMES, max_size=6, unique=True),
    st.integers(0, 6),
    TEXTS,
    NUMBERS,
    NUMBERS,
)
TAKENS = st.builds(Taken, NAMES, NAMES, NUMBERS, NUMBERS)


@st.composite
def offers(draw: st.DrawFn) -> Offer:
    last = draw(st.integers(0, 2**63 - 2))
    return Offer(draw(NAMES), draw(NAMES), draw(st.integers(1, last + 1)), last)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    ruling = draw(st.sampled_from(Ruling))
    seq = 0 if ruling is Ruling.REFUSED else draw(NUMBERS)
    number, conflict = draw(st.integers(1, 2**63 - 1)), draw(NUMBERS)
    return Verdict(number, ruling, seq, draw(TEXTS), draw(NAMES_IN_TYPES), draw(st.just(b"") | KEYS), conflict)


VERDICTS = st.builds(
    Verdicts, NAMES, NAMES, st.lists(verdicts(), max_size=4, unique_by=lambda one: one.number).map(tuple)
)


@st.composite
def edits(draw: st.DrawFn, offered: bool) -> Edit:
    kind = Kind.ADD if offered else draw(st.sampled_from((Kind.ADD, Kind.MODIFY, Kind.DELETE)))
    base = None if kind is Kind.ADD else draw(FIELDS)
    return Edit(draw(NUMBERS), draw(KEYS), base, None if kind is Kind.DELETE else draw(FIELDS))


@st.composite
def uploads(draw: st.DrawFn) -> Upload:
    number, rows, runs = 0, [], []
    for _ in range(draw(st.integers(1, 4))):
        offered = draw(st.booleans())
        group = draw(st.lists(edits(offered), min_size=1, max_size=3, unique_by=lambda one: (one.type, one.key)))
        number += draw(st.integers(1, 10**6))
        runs.append(Made(number, draw(NUMBERS), len(group), True, offered))
        rows += group
    runs[-1] = runs[-1]._replace(whole=draw(st.booleans()))
    kinds = bytes(Kind.ADD if one.base is None else Kind.DELETE if one.fields is None else Kind.MODIFY for one in rows)
    columns = [one.type for one in rows], [one.key for one in rows]
    bases, fields = [one.base or b"" for one in rows], [one.fields or b"" for one in rows]
    return Upload(draw(NAMES), draw(NAMES), draw(NUMBERS), tuple(runs), kinds, *columns, bases, fields)


BY_CLASS: dict[type[Wire], st.SearchStrategy[Wire]] = {
    Hello: HELLOS,
    Welcome: WELCOMES,
    Refusal: REFUSALS,
    Follow: follows(),
    Types: TYPES,
    Begin: begins(),
    Objects: objects(),
    Credit: CREDITS,
    Report: REPORTS,
    Terms: TERMS,
    Pace: PACES,
    Offer: offers(),
    Upload: uploads(),
    Taken: TAKENS,
    Verdicts: VERDICTS,
}
MESSAGES: st.SearchStrategy[Wire] = st.one_of(*BY_CLASS.values())
