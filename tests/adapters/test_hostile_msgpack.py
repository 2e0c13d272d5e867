"""Frames made to hurt: what msgpack lets through and is not exactly a message, and what costs more than it is."""

from __future__ import annotations

import time
import tracemalloc
from typing import Any

import msgpack
import pytest

from syncd.adapters.msgpack_adapter import MsgpackAdapter
from syncd.core.errors import FrameError
from syncd.core.messages import Failed, Made, Objects, Report, Run, Upload, Verdict, Verdicts
from syncd.core.settings import Limits
from tests.adapters.vectors import BY_NAME

LIMITS = Limits()
SPOKEN = MsgpackAdapter()
MIB = 1024 * 1024
SECONDS_MAX = 2.0  # generous: the slowest takes a twentieth of it


def tree_of(name: str) -> dict[str, Any]:
    frame = BY_NAME[name].frames["msgpack"]
    tree: dict[str, Any] = msgpack.unpackb(frame)
    return tree


def refused(frame: bytes) -> FrameError:
    with pytest.raises(FrameError) as caught:
        SPOKEN.decode(frame, LIMITS)
    return caught.value


def one_row(key: bytes, fields: bytes, kind: int = 1) -> bytes:
    return SPOKEN.encode(Objects("c", 0, 1, (Run(1, False, 1),), bytes((kind,)), [1], [key], [fields]))


def one_edit(key: bytes, base: bytes, fields: bytes, kind: int = 2) -> bytes:
    made = (Made(1, 0, 1, True, False),)
    return SPOKEN.encode(Upload("c", "o", 0, made, bytes((kind,)), [1], [key], [base], [fields]))


def test_a_field_that_is_named_twice_is_refused() -> None:
    frame = BY_NAME["credit"].frames["msgpack"]
    assert isinstance(frame, bytes)
    assert "twice" in refused(b"\x84" + frame[1:] + b"\xaereceived_bytes\x01").text


def test_a_kind_that_is_named_twice_is_refused() -> None:
    frame = BY_NAME["credit"].frames["msgpack"]
    assert isinstance(frame, bytes)
    assert "twice" in refused(b"\x84\xa4kind\xa6report" + frame[1:]).text


@pytest.mark.parametrize("vector", BY_NAME.values(), ids=BY_NAME)
def test_each_field_must_be_there(vector: Any) -> None:
    for name in msgpack.unpackb(vector.frames["msgpack"]):
        tree = msgpack.unpackb(vector.frames["msgpack"])
        del tree[name]
        refused(msgpack.packb(tree))


@pytest.mark.parametrize("vector", BY_NAME.values(), ids=BY_NAME)
def test_no_other_field_may_be_there(vector: Any) -> None:
    refused(msgpack.packb(msgpack.unpackb(vector.frames["msgpack"]) | {"extra": 1}))


@pytest.mark.parametrize("kind", ["Credit", "", "cut", None, 1, ["credit"], b"credit", "credit\0"])
def test_an_unknown_kind_is_refused(kind: Any) -> None:
    assert "kind" in refused(msgpack.packb(tree_of("credit") | {"kind": kind})).text


def test_a_hostile_kind_is_not_repeated_at_length() -> None:
    assert len(refused(msgpack.packb({"kind": "k" * 10_000})).text) < 100


@pytest.mark.parametrize("wrong", [True, 1.0, "1", None, b"1", [1], {"a": 1}, float("nan"), 2**64 - 1, -1])
def test_a_number_is_a_number_and_nothing_else(wrong: Any) -> None:
    refused(msgpack.packb(tree_of("credit") | {"received_bytes": wrong}))


@pytest.mark.parametrize("wrong", [1, 0, "true", None, b"", []])
def test_yes_or_no_is_nothing_else(wrong: Any) -> None:
    refused(msgpack.packb(tree_of("follow-up-to-date") | {"snapshot": wrong}))


@pytest.mark.parametrize("wrong", ["AAAAAAAAAAAAAAAAAAAAAA==", None, 0, [0] * 16, ["\0"] * 16])
def test_bytes_are_not_taken_from_text(wrong: Any) -> None:
    refused(msgpack.packb(tree_of("report-identical") | {"digest": wrong}))
    refused(msgpack.packb(tree_of("objects-nothing-for-this-device") | {"kinds": wrong}))
    refused(msgpack.packb(tree_of("upload-offered") | {"kinds": wrong}))
    verdict = tree_of("verdicts-each-ruling")["verdicts"][0] | {"key": wrong}
    refused(msgpack.packb(tree_of("verdicts-each-ruling") | {"verdicts": [verdict]}))


def test_keys_and_fields_are_bytes() -> None:
    for column in ("keys", "fields"):
        for wrong in (["kQE="], [[1]], [None], "kQE=", {"0": b"\x91\x01"}):
            refused(msgpack.packb(msgpack.unpackb(one_row(b"\x91\x01", b"\x90")) | {column: wrong}))
    for column in ("keys", "bases", "fields"):
        for wrong in (["kQE="], [[1]], [None], "kQE=", {"0": b"\x91\x01"}):
            refused(msgpack.packb(msgpack.unpackb(one_edit(b"\x91\x01", b"\x90", b"\x90")) | {column: wrong}))


def test_each_field_of_a_verdict_must_be_there_and_no_other() -> None:
    tree = tree_of("verdicts-each-ruling")
    verdict = tree["verdicts"][1]
    for name in verdict:
        refused(msgpack.packb(tree | {"verdicts": [{one: verdict[one] for one in verdict if one != name}]}))
    refused(msgpack.packb(tree | {"verdicts": [verdict | {"extra": 1}]}))
    for wrong in ({"0": verdict}, verdict, [list(verdict.values())], None):
        refused(msgpack.packb(tree | {"verdicts": wrong}))


@pytest.mark.parametrize(
    "wrong", [[], [1, 0, 1, True], [1, 0, 1, True, False, 0], [1, 0, 1, 1, 0], ["1", 0, 1, True, True]]
)
def test_a_run_of_edits_has_exactly_its_five_values(wrong: Any) -> None:
    refused(msgpack.packb(msgpack.unpackb(one_edit(b"\x91\x01", b"\x90", b"\x90")) | {"runs": [wrong]}))


def test_extension_types_are_refused_wherever_they_stand() -> None:
    for extension in (msgpack.ExtType(5, b""), msgpack.ExtType(5, b"x"), msgpack.Timestamp(1, 1)):
        assert "ext" in refused(msgpack.packb(tree_of("credit") | {"collection": extension})).text
        refused(one_row(msgpack.packb([extension]), b"\x90"))


def test_text_that_is_not_utf8_is_refused() -> None:
    frame = BY_NAME["refusal"].frames["msgpack"]
    assert isinstance(frame, bytes)
    refused(frame.replace(b"paired", b"pair\xff\xfe"))


NOT_CANONICAL = {
    "no bytes": b"",
    "no list": b"\x01",
    "a map": b"\x81\x01\x01",
    "a list in a list": b"\x91\x91\x01",
    "a map in a list": b"\x91\x80",
    "a truth": b"\x91\xc3",
    "an integer in a longer form": b"\x91\xcc\x01",
    "a negative integer in a longer form": b"\x91\xd0\xff",
    "a positive integer in a signed form": b"\x91\xd1\x01\x00",
    "a text in a longer form": b"\x91\xd9\x01a",
    "a blob in a longer form": b"\x91\xc5\x00\x01a",
    "a list in a longer form": b"\xdc\x00\x01\x01",
    "a real of 32 bits": b"\x91\xca\x3f\x80\x00\x00",
    "not a number": b"\x91\xcb\x7f\xf8" + bytes(6),
    "not a number, signed": b"\x91\xcb\xff\xf8" + bytes(6),
    "an integer of 64 bits without sign": b"\x91\xcf" + b"\xff" * 8,
    "text that is not UTF-8": b"\x91\xa1\xff",
    "text with half a pair": b"\x91\xa3\xed\xa0\x80",
    "a byte too much": b"\x91\x01\x01",
    "a byte too little": b"\x92\x01",
    "an extension": b"\x91\xd4\x05\x00",
    "a byte that is never used": b"\x91\xc1",
    "more values than any object has": b"\xdc\x08\x35" + b"\x01" * 2101,
}


@pytest.mark.parametrize("what", NOT_CANONICAL)
def test_bytes_that_are_not_canonical_are_refused(what: str) -> None:
    bad, good = NOT_CANONICAL[what], b"\x91\x01"
    refused(one_row(bad, good))
    refused(one_row(good, bad))
    refused(one_row(good, bad, kind=2))
    refused(one_edit(bad, good, good))
    refused(one_edit(good, bad, good))
    refused(one_edit(good, good, bad))
    if bad:
        refused(one_edit(good, bad, b"", kind=3))
        refused(SPOKEN.encode(Verdicts("c", "o", (Verdict(1, "refused", 0, "", "t", bad, 0),))))
        refused(
            SPOKEN.encode(Report("c", "e", 1, bytes(16), 1, False, 1, "", False, (Failed(1, "held", "", "t", bad),)))
        )


def test_two_rows_that_are_only_together_canonical_are_refused() -> None:
    frame = Objects("c", 0, 2, (Run(2, False, 2),), b"\1\1", [1, 1], [b"\x92\x01", b"\x01\x90"], [b"\x90", b"\x90"])
    refused(SPOKEN.encode(frame))
    frame = Objects("c", 0, 2, (Run(2, False, 2),), b"\1\1", [1, 1], [b"\x91\x01"] * 2, [b"\x91", b"\x01\x90"])
    refused(SPOKEN.encode(frame))


def test_edits_that_are_only_together_canonical_are_refused() -> None:
    refused(one_edit(b"\x91\x01", b"\x92\x01", b"\x01\x90"))
    refused(one_edit(b"\x91", b"\x01\x90", b"\x90"))
    assert SPOKEN.decode(one_edit(b"\x91\x01", b"\x91\x01", b"\x90"), LIMITS)


def test_a_delete_has_no_fields_and_a_reason_is_text() -> None:
    refused(one_row(b"\x91\x01", b"\x90", kind=3))
    refused(one_row(b"\x91\x01", b"\xff", kind=4))
    assert SPOKEN.decode(one_row(b"\x91\x01", b"", kind=3), LIMITS)
    assert SPOKEN.decode(one_row(b"\x91\x01", b"why", kind=4), LIMITS)


_EMPTY_ARRAYS = b"\xdc\x08\x00" + b"\x90" * 2048
BOMBS = {
    "a million empty maps, one after the other": b"\x80" * MIB,
    "a million empty maps in arrays": b"\xdc\x04\x00" + (b"\xdc\x04\x00" + b"\x80" * 1024) * 1024,
    "a million empty arrays": b"\x81\xa4keys\xdc\x02\x00" + _EMPTY_ARRAYS * 512,
    "arrays nested over a thousand deep": b"\x91" * MIB,
    "arrays that claim more than there is": b"\xdd\x7f\xff\xff\xff" * 200 + bytes(MIB),
    "nested arrays that claim all they may": b"\xdc\x4e\x20" * 200 + bytes(MIB),
    "maps that claim all they may": b"\xde\x00\x20" * 1000 + bytes(MIB),
    "a blob that claims four gigabytes": b"\xc6\xff\xff\xff\xff" + bytes(MIB),
    "a text that claims four gigabytes": b"\xdb\xff\xff\xff\xff" + bytes(MIB),
    "an extension that claims four gigabytes": b"\xc9\xff\xff\xff\xff\x05" + bytes(MIB),
    "an object of empty arrays": one_row(b"\x91\x01", b"\xdc\x02\x00" + _EMPTY_ARRAYS * 512),
    "a base of empty arrays": one_edit(b"\x91\x01", b"\xdc\x02\x00" + _EMPTY_ARRAYS * 512, b"\x90"),
    "a base nested deep": one_edit(b"\x91\x01", b"\x91" * MIB, b"\x90"),
    "an object nested deep": one_row(b"\x91\x01", b"\x91" * MIB),
    "an object of nested claims": one_row(b"\x91\x01", b"\xdc\x08\x00" * 300 + bytes(MIB)),
    "an object of empty maps": one_row(b"\x91\x01", b"\xdc\x02\x00" + (b"\xdc\x08\x00" + b"\x80" * 2048) * 512),
    "an object of extensions": one_row(b"\x91\x01", b"\xdc\x02\x00" + (b"\xdc\x08\x00" + b"\xd4\x05\x05" * 2048) * 170),
}


@pytest.mark.parametrize("what", BOMBS)
def test_a_bomb_is_refused_quickly_and_in_bounded_memory(what: str) -> None:
    begin = time.process_time()
    refused(BOMBS[what])
    assert time.process_time() - begin < SECONDS_MAX
    tracemalloc.start()
    try:
        refused(BOMBS[what])
        assert tracemalloc.get_traced_memory()[1] < 40 * MIB
    finally:
        tracemalloc.stop()


def test_a_frame_of_the_largest_object_is_no_bomb() -> None:
    fields = msgpack.packb([b"x" * (LIMITS.object_bytes_max - 100)])
    assert SPOKEN.decode(one_row(b"\x91\x01", fields), LIMITS)


def test_a_frame_of_the_largest_edit_is_no_bomb() -> None:
    half = msgpack.packb([b"x" * (LIMITS.edit_bytes_max // 2 - 10)])
    assert SPOKEN.decode(one_edit(b"\x91\x01", half, half), LIMITS)
