"""Messages whose values have the right types and make no sense. Each adapter encodes them and must refuse them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from syncd.adapters.canonical import pack_values
from syncd.core.messages import Cut, Run, Wire
from syncd.core.model import DataType, Tie
from tests.adapters.vectors import BY_NAME

KEY, FIELDS = pack_values([1]), pack_values(["a"])
NUMBER_MAX = 2**63 - 1


def _changed(vector: str, /, **changes: Any) -> Wire:
    # Any: the wrong values are the point.
    return replace(BY_NAME[vector].message, **changes)


def _names() -> Iterator[tuple[str, Wire]]:
    for bad in ("", "a b", "../up", "a" * 65, "-a", "é", "a\0", "a\n"):
        yield f"a collection named {bad[:8]!r}", _changed("credit", collection=bad)
    for name in ("follow-up-to-date", "types", "begin-changes", "objects-each-kind", "report-identical"):
        yield f"{name} of a collection that is no name", _changed(name, collection="a b")
    yield "a shared collection that is no name", _changed("welcome", collections=("a b",))
    yield "a role that is no name", _changed("hello", role="")
    yield "a device that is no name", _changed("hello", name="<b>")
    yield "an adapter that is no name", _changed("hello", adapter="a/b")
    yield "a user that is no name", _changed("welcome", user="")
    yield "an epoch that is no name", _changed("follow-up-to-date", epoch=" ")
    yield "a transfer of no epoch", _changed("begin-changes", epoch="")
    yield "a report of an epoch that is no name", _changed("report-identical", epoch="e e")
    yield "a refusal whose code is none", _changed("refusal", code="Unknown Device")


def _handshake() -> Iterator[tuple[str, Wire]]:
    yield "no version offered", _changed("hello", versions=())
    yield "a version of zero", _changed("hello", versions=(0,))
    yield "a version over 16 bits", _changed("hello", versions=(65536,))
    yield "too many versions", _changed("hello", versions=tuple(range(1, 18)))
    yield "a chosen version of zero", _changed("welcome", version=0)
    yield "a window of nothing", _changed("welcome", window_bytes=0)
    yield "a window over 63 bits", _changed("welcome", window_bytes=NUMBER_MAX + 1)
    yield "a collection named twice", _changed("welcome", collections=("a", "a"))


def _transfers() -> Iterator[tuple[str, Wire]]:
    for field in ("position", "base", "floor", "cursor"):
        yield f"a negative {field}", _changed("follow-up-to-date", **{field: -1})
    yield "a cursor over 63 bits", _changed("follow-up-to-date", cursor=NUMBER_MAX + 1)
    yield "a cursor before the base", _changed("follow-up-to-date", cursor=1233)
    yield "a position of no epoch", _changed("follow-new-device", position=1, base=1, cursor=1)
    yield "changes with a floor", _changed("follow-up-to-date", floor=1)
    yield "a snapshot with a base", _changed("follow-unfinished-snapshot", base=1)
    yield "a transfer that begins before its base", _changed("begin-changes", cursor=1233)
    yield "a transfer that begins above the head", _changed("begin-changes", cursor=1301)
    yield "a transfer of changes with a floor", _changed("begin-changes", floor=1)
    yield "a transfer of a snapshot with a base", _changed("begin-snapshot", base=1, cursor=1)
    yield "a floor above the head", _changed("begin-snapshot", floor=1301)
    yield "a negative head", _changed("begin-changes", base=-3, cursor=-2, head=-1)
    yield "a transfer from below zero", _changed("begin-changes", base=-1)
    yield "a head over 63 bits", _changed("begin-changes", head=NUMBER_MAX + 1)
    yield "a negative credit", _changed("credit", received_bytes=-1)


def _types() -> Iterator[tuple[str, Wire]]:
    good = DataType(1, "t", ("k",), ("f",), ())
    for what, bad in {
        "a negative id": replace(good, id=-1),
        "no key": replace(good, key=()),
        "a value named twice": replace(good, fields=("f", "f")),
        "a field that is also the key": replace(good, fields=("k",)),
        "too many values": replace(good, fields=tuple(map(str, range(2100)))),
        "a name with NUL": replace(good, name="a\0b"),
        "a field with NUL": replace(good, fields=("a\0b",)),
        "a definition with NUL": replace(good, definition=("CREATE\0",)),
    }.items():
        yield f"a type with {what}", _changed("types", types=(bad,))
    yield "an id given twice", _changed("types", types=(good, replace(good, name="u")))


def _objects() -> Iterator[tuple[str, Wire]]:
    def bad(**changes: Any) -> Wire:
        one_row = {"runs": (Run(12, False, 1),), "kinds": b"\1", "types": [1], "keys": [KEY], "fields": [FIELDS]}
        return _changed("objects-nothing-for-this-device", **{"first": 10, "last": 15, **one_row, **changes})

    nothing = {"runs": (), "kinds": b"", "types": [], "keys": [], "fields": []}
    yield "a last before its first", bad(**nothing, first=16, last=15)
    yield "a negative first", bad(first=-1)
    yield "a last over 63 bits", bad(last=NUMBER_MAX + 1)
    yield "rows within no sequence number", bad(first=15, last=15, runs=(Run(16, False, 1),))
    yield "a kind of zero", bad(kinds=b"\0")
    yield "a kind that is unknown", bad(kinds=b"\5")
    yield "fewer types than rows", bad(types=[])
    yield "more types than rows", bad(types=[1, 1])
    yield "a negative type", bad(types=[-1])
    yield "fewer keys than rows", bad(keys=[])
    yield "more keys than rows", bad(keys=[KEY, KEY])
    yield "a key without values", bad(keys=[pack_values([])])
    yield "no run for the row", bad(runs=())
    yield "a run of two for one row", bad(runs=(Run(12, False, 2),))
    yield "a run of no rows", bad(runs=(Run(11, False, 0), Run(12, False, 1)))
    yield "a run of negative rows", bad(runs=(Run(11, False, 2), Run(12, False, -1)))
    yield "a run from before the frame", bad(runs=(Run(10, False, 1),))
    yield "a run over 63 bits", bad(runs=(Run(NUMBER_MAX + 1, False, 1),))
    two = {"kinds": b"\1\1", "types": [1, 1], "keys": [KEY, KEY], "fields": [FIELDS, FIELDS]}
    yield "runs out of order", bad(**two, runs=(Run(13, False, 1), Run(12, False, 1)))
    yield "two runs of one group", bad(**two, runs=(Run(12, False, 1), Run(12, True, 1)))
    yield "a run after one that ends behind the frame", bad(**two, runs=(Run(16, False, 1), Run(17, False, 1)))
    yield "a tie of a group with itself", bad(ties=(Tie(12, 12),))
    yield "a tie backwards", bad(ties=(Tie(13, 12),))
    yield "a tie with no group", bad(ties=(Tie(0, 12),))
    yield "a tie over 63 bits", bad(ties=(Tie(1, NUMBER_MAX + 1),))
    yield "a cut in the middle", bad(cut=Cut(14, bytes(16), 1))
    yield "a cut of negative objects", bad(cut=Cut(15, bytes(16), -1))
    yield "a digest that is too short", bad(cut=Cut(15, bytes(15), 1))


def _reports() -> Iterator[tuple[str, Wire]]:
    parked = BY_NAME["report-parked"].message
    failed = parked.failed[0]  # type: ignore[union-attr]
    yield "a digest that is too long", _changed("report-identical", digest=bytes(17))
    for field in ("position", "objects", "parked"):
        yield f"a report with negative {field}", _changed("report-identical", **{field: -1})
    for what, bad in {
        "a negative group": replace(failed, seq=-1),
        "an outcome that is none": replace(failed, outcome="applied"),
        "a type with NUL": replace(failed, type="\0"),
        "a key without values": replace(failed, key=pack_values([])),
    }.items():
        yield f"a failed group with {what}", _changed("report-parked", failed=(bad,))


BAD = dict(pair for section in (_names, _handshake, _transfers, _types, _objects, _reports) for pair in section())
