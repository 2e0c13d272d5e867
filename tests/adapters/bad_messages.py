"""Messages whose values have the right types and make no sense. Each adapter encodes them and must refuse them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from syncd.adapters.canonical import pack_values
from syncd.core.messages import Cut, Made, Rest, Run, Verdicts, Wire
from syncd.core.model import DataType, Tie
from tests.adapters.vectors import BY_NAME

UP = ("terms-both-merge", "offer", "upload-each-kind", "taken", "verdicts-none")
KEY, FIELDS = pack_values([1]), pack_values(["a"])
NUMBER_MAX = 2**63 - 1


def _changed(vector: str, /, **changes: Any) -> Wire:
    # Any: the wrong values are the point.
    return replace(BY_NAME[vector].message, **changes)


def _names() -> Iterator[tuple[str, Wire]]:
    for bad in ("", "a b", "../up", "a" * 65, "-a", "é", "a\0", "a\n"):
        yield f"a collection named {bad[:8]!r}", _changed("credit", collection=bad)
    for name in ("follow-up-to-date", "types", "begin-changes", "objects-each-kind", "report-identical", *UP):
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


def _terms() -> Iterator[tuple[str, Wire]]:
    for name in UP[1:]:
        for bad in ("", "a b"):
            yield f"{name} of an outbox named {bad!r}", _changed(name, outbox=bad)
    for bad in ("", "up", "OUT"):
        yield f"a direction {bad!r}", _changed("terms-out", direction=bad)
    for bad in ("", "oldest", "Merge"):
        yield f"a policy {bad!r}", _changed("terms-out", policy=bad)
    yield "an offer from zero", _changed("offer", first=0)
    yield "an offer beyond the one after the last", _changed("offer", first=17)
    yield "an offer of negative groups", _changed("offer", first=-2, last=-1)
    yield "an offer over 63 bits", _changed("offer", last=NUMBER_MAX + 1)
    yield "a negative number taken", _changed("taken", number=-1)
    yield "negative bytes taken", _changed("taken", received_bytes=-1)
    yield "more bytes taken than 63 bits hold", _changed("taken", received_bytes=NUMBER_MAX + 1)


def _paces() -> Iterator[tuple[str, Wire]]:
    rest = Rest("notes", "", 0)
    for what, bad in {
        "of a collection without a name": rest._replace(collection=""),
        "that ends before 1970": rest._replace(until_us=-1),
        "that ends over 63 bits": rest._replace(until_us=NUMBER_MAX + 1),
    }.items():
        yield f"a rest {what}", _changed("pace", resting=(bad,))
    yield "two rests of one collection", _changed("pace", resting=(rest, rest))
    yield "a rest that runs", _changed("pace", resting=(rest,), running=("notes",))
    yield "a run of no name", _changed("pace", running=("a b",))
    yield "a negative rate", _changed("pace", rate_bytes_s=-1)
    yield "a rate over 63 bits", _changed("pace", rate_bytes_s=NUMBER_MAX + 1)


def _uploads() -> Iterator[tuple[str, Wire]]:
    def bad(**changes: Any) -> Wire:
        one_row = {
            "runs": (_made(),),
            "kinds": b"\2",
            "types": [1],
            "keys": [KEY],
            "bases": [FIELDS],
            "fields": [FIELDS],
        }
        return _changed("upload-each-kind", **{**one_row, **changes})

    def two(*runs: Made, **changes: Any) -> Wire:
        columns = {"types": [1, 2], "keys": [KEY, KEY], "bases": [FIELDS, FIELDS], "fields": [FIELDS, FIELDS]}
        return bad(**{"kinds": b"\2\2", **columns, "runs": runs, **changes})

    nothing: dict[str, Any] = {"kinds": b"", "types": [], "keys": [], "bases": [], "fields": []}
    yield "an upload of nothing", bad(**nothing, runs=())
    yield "an upload of a run without rows", bad(**nothing, runs=(_made(rows=0),))
    yield "a negative clock", bad(clock_us=-1)
    yield "an edit of kind zero", bad(kinds=b"\0")
    yield "an edit that is withheld", bad(kinds=b"\4")
    yield "an edit of an unknown kind", bad(kinds=b"\5")
    for column in ("types", "keys", "bases", "fields"):
        yield f"no {column} for an edit", bad(**{column: []})
        yield f"{column} for two edits where one is", bad(**{column: [1 if column == "types" else KEY] * 2})
    yield "an edit of a negative type", bad(types=[-1])
    yield "an edit of a type over 63 bits", bad(types=[NUMBER_MAX + 1])
    yield "an edit of a key without values", bad(keys=[pack_values([])])
    yield "an edit of no key", bad(keys=[b""])
    yield "an add with a base", bad(kinds=b"\1")
    yield "an add without fields", bad(kinds=b"\1", bases=[b""], fields=[b""])
    yield "a modify without a base", bad(bases=[b""])
    yield "a modify without fields", bad(fields=[b""])
    yield "a delete without a base", bad(kinds=b"\3", bases=[b""], fields=[b""])
    yield "a delete with fields", bad(kinds=b"\3")
    yield "no run for an edit", bad(runs=())
    yield "a run of two for one edit", bad(runs=(_made(rows=2),))
    yield "a run of no edits", bad(runs=(_made(1, rows=0), _made(2)))
    yield "a run of negative edits", bad(runs=(_made(1, rows=2), _made(2, rows=-1)))
    yield "fewer edits in runs than there are", two(_made())
    yield "a group of number zero", bad(runs=(_made(0),))
    yield "a group of a negative number", bad(runs=(_made(-1),))
    yield "a group of a number over 63 bits", bad(runs=(_made(NUMBER_MAX + 1),))
    yield "a group made before 1970", bad(runs=(_made(time_us=-1),))
    yield "groups out of order", two(_made(2), _made(1))
    yield "two runs of one group of edits", two(_made(1), _made(1))
    yield "a group that goes on behind the next", two(_made(1, whole=False), _made(2))
    yield "an object twice in one group", two(_made(rows=2), types=[1, 1])
    yield "an offered modify", bad(runs=(_made(offered=True),))
    yield "an offered delete", bad(runs=(_made(offered=True),), kinds=b"\3", fields=[b""])
    yield (
        "an offered modify between adds",
        two(_made(rows=2, offered=True), kinds=b"\1\2", bases=[b"", FIELDS], fields=[FIELDS, FIELDS]),
    )


def _made(number: int = 1, rows: int = 1, *, time_us: int = 0, whole: bool = True, offered: bool = False) -> Made:
    return Made(number, time_us, rows, whole, offered)


def _verdicts() -> Iterator[tuple[str, Wire]]:
    each = BY_NAME["verdicts-each-ruling"].message
    assert isinstance(each, Verdicts)
    accepted, _, refused, _ = each.verdicts
    for what, bad in {
        "no number": replace(accepted, number=0),
        "a negative number": replace(accepted, number=-1),
        "a number over 63 bits": replace(accepted, number=NUMBER_MAX + 1),
        "a ruling that is none": replace(accepted, ruling="pending"),
        "no ruling": replace(accepted, ruling=""),
        "a negative group": replace(accepted, seq=-1),
        "a group although refused": replace(refused, seq=1),
        "a negative conflict": replace(refused, conflict=-1),
        "a type with NUL": replace(refused, type="\0"),
        "a key without values": replace(refused, key=pack_values([])),
    }.items():
        yield f"a verdict with {what}", replace(each, verdicts=(bad,))
    yield "two verdicts of one group", replace(each, verdicts=(accepted, replace(refused, number=accepted.number)))


_SECTIONS = (_names, _handshake, _transfers, _types, _objects, _reports, _terms, _paces, _uploads, _verdicts)
BAD = dict(pair for section in _SECTIONS for pair in section())
