"""What every adapter keeps (claims 20c, 20e): the same suite for each form that a platform may speak."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.adapters.base import Adapter
from syncd.adapters.canonical import pack_values
from syncd.adapters.registry import ADAPTERS, DEFAULT, adapter, restore, restore_upload
from syncd.core.errors import FrameError, Refused, StoreBroken
from syncd.core.messages import (
    Begin,
    Failed,
    Hello,
    Made,
    Objects,
    Refusal,
    Report,
    Run,
    Types,
    Upload,
    Verdict,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.model import DataType, Reference, Tie
from syncd.core.settings import Limits
from tests.adapters.bad_messages import BAD
from tests.adapters.strategies import BY_CLASS, MESSAGES, objects, uploads
from tests.adapters.vectors import BY_NAME, Vector
from tests.adapters.vectors import MESSAGES as VECTORS

LIMITS = Limits()

each_adapter = pytest.mark.parametrize("spoken", ADAPTERS.values(), ids=ADAPTERS)
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)


def refused(spoken: Adapter, frame: bytes | str, limits: Limits = LIMITS) -> FrameError:
    """The error with which the frame is refused."""
    with pytest.raises(FrameError) as caught:
        spoken.decode(frame, limits)
    assert caught.value.code in ("bad-frame", "too-large")
    assert caught.value.text
    return caught.value


@each_adapter
def test_the_references_of_a_type_do_not_travel(spoken: Adapter) -> None:
    plain = DataType(1, "sale", ("id",), ("customer",))
    frame = spoken.encode(Types("c", (replace(plain, references=(Reference(("customer",), "secret"),)),)))
    assert "secret" not in str(frame)
    assert spoken.decode(frame, LIMITS) == Types("c", (plain,))


def _rows(count: int) -> Objects:
    keys = [pack_values([n]) for n in range(count)]
    runs = (Run(count, False, count),)
    return Objects("c", 0, count, runs, b"\1" * count, [1] * count, keys, [pack_values(["a"])] * count)


def _upload(count: int) -> Upload:
    keys, fields = [pack_values([n]) for n in range(count)], [pack_values(["a"])] * count
    return Upload(
        "c", "o", 0, (Made(1, 0, count, True, False),), b"\2" * count, [1] * count, keys, [*fields], [*fields]
    )


def _verdicts(*verdicts: Verdict) -> Verdicts:
    return Verdicts("c", "o", verdicts)


def _report(*failed: Failed) -> Report:
    return Report("c", "e", 1, bytes(16), 1, False, 1, "", False, failed)


def test_an_adapter_is_found_by_its_name() -> None:
    assert DEFAULT == "msgpack"
    assert all(adapter(name).name == name for name in ADAPTERS)


def test_an_adapter_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        adapter("xml")
    assert caught.value.code == "adapter"


def test_every_message_class_is_generated() -> None:
    assert set(BY_CLASS) == set(get_args(Wire))


@each_adapter
@pytest.mark.slow
@given(message=MESSAGES)
@settings(max_examples=300, deadline=None)
def test_what_is_decoded_is_what_was_encoded(spoken: Adapter, message: Wire) -> None:
    decoded = spoken.decode(spoken.encode(message), LIMITS)
    assert decoded == message
    assert type(decoded) is type(message)


@pytest.mark.parametrize("cls", BY_CLASS, ids=lambda cls: cls.__name__)
@each_adapter
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_each_class_of_message_survives_the_road(spoken: Adapter, cls: type[Wire], data: st.DataObject) -> None:
    message = data.draw(BY_CLASS[cls])
    assert spoken.decode(spoken.encode(message), LIMITS) == message


@each_adapter
@pytest.mark.slow
@given(message=objects())
@settings(max_examples=100, deadline=None)
def test_canonical_bytes_arrive_unchanged(spoken: Adapter, message: Objects) -> None:
    decoded = spoken.decode(spoken.encode(message), LIMITS)
    assert isinstance(decoded, Objects)
    assert (decoded.keys, decoded.fields) == (message.keys, message.fields)


@each_adapter
@pytest.mark.slow
@given(message=objects())
@settings(max_examples=100, deadline=None)
def test_a_frame_kept_in_the_inbound_queue_is_restored(spoken: Adapter, message: Objects) -> None:
    frame = spoken.encode(message)
    assert restore(frame if isinstance(frame, bytes) else frame.encode()) == message


@each_adapter
@pytest.mark.slow
@given(message=uploads())
@settings(max_examples=100, deadline=None)
def test_a_frame_of_edits_kept_in_the_primarys_queue_is_restored(spoken: Adapter, message: Upload) -> None:
    frame = spoken.encode(message)
    assert restore_upload(frame if isinstance(frame, bytes) else frame.encode()) == message


@each_adapter
def test_a_kept_frame_that_is_damaged_is_the_disks_fault(spoken: Adapter) -> None:
    frame = spoken.encode(_rows(3))
    kept = frame if isinstance(frame, bytes) else frame.encode()
    for damaged in (b"", kept[:-1], kept[:1], kept + b"\0", kept[:9] + b"\xff" + kept[10:]):
        for restored in (restore, restore_upload):
            with pytest.raises(StoreBroken):
                restored(damaged)


@each_adapter
def test_a_kept_frame_of_another_message_is_the_disks_fault(spoken: Adapter) -> None:
    frame = spoken.encode(BY_NAME["credit"].message)
    kept = frame if isinstance(frame, bytes) else frame.encode()
    with pytest.raises(StoreBroken, match="no objects"):
        restore(kept)
    with pytest.raises(StoreBroken, match="no edits"):
        restore_upload(kept)


@each_adapter
def test_the_handshake_is_msgpack_whatever_is_chosen(spoken: Adapter) -> None:
    for vector in VECTORS:
        if isinstance(vector.message, Hello | Welcome | Refusal):
            assert spoken.encode(vector.message) == vector.frames["msgpack"]


@each_adapter
@each_vector
def test_a_truncated_frame_is_refused_wherever_it_ends(spoken: Adapter, vector: Vector) -> None:
    frame = vector.frames[spoken.name]
    for end in range(len(frame)):
        refused(spoken, frame[:end])


@each_adapter
@each_vector
def test_a_frame_with_more_behind_it_is_refused(spoken: Adapter, vector: Vector) -> None:
    frame = vector.frames[spoken.name]
    if isinstance(frame, bytes):
        refused(spoken, frame + b"\0")
        refused(spoken, frame + frame)
    else:
        refused(spoken, frame + "0")
        refused(spoken, frame + frame)


@each_adapter
@each_vector
def test_a_frame_of_the_wrong_kind_of_websocket_message_is_refused(spoken: Adapter, vector: Vector) -> None:
    frame = vector.frames[spoken.name]
    refused(spoken, frame.hex() if isinstance(frame, bytes) else frame.encode())


@each_adapter
@pytest.mark.parametrize("what", BAD)
def test_a_message_that_makes_no_sense_is_refused(spoken: Adapter, what: str) -> None:
    refused(spoken, spoken.encode(BAD[what]))


@each_adapter
def test_a_frame_over_the_limit_is_refused_before_it_is_looked_at(spoken: Adapter) -> None:
    frame = spoken.encode(_rows(10))
    size = len(frame)
    assert spoken.decode(frame, replace(LIMITS, message_bytes_max=size)) == _rows(10)
    assert refused(spoken, frame, replace(LIMITS, message_bytes_max=size - 1)).code == "too-large"


@each_adapter
def test_more_rows_than_one_array_may_have_are_refused(spoken: Adapter) -> None:
    limits = replace(LIMITS, array_items_max=20)
    assert spoken.decode(spoken.encode(_rows(20)), limits) == _rows(20)
    refused(spoken, spoken.encode(_rows(21)), limits)
    assert spoken.decode(spoken.encode(_upload(20)), limits) == _upload(20)
    refused(spoken, spoken.encode(_upload(21)), limits)


@each_adapter
def test_an_object_over_the_limit_is_refused(spoken: Adapter) -> None:
    large = replace(_rows(1), fields=[pack_values([b"x" * 1000])])
    assert refused(spoken, spoken.encode(large), replace(LIMITS, object_bytes_max=1000)).code == "too-large"
    large = replace(_rows(1), keys=[pack_values([b"x" * 1000])])
    assert refused(spoken, spoken.encode(large), replace(LIMITS, object_bytes_max=1000)).code == "too-large"


@each_adapter
@pytest.mark.parametrize("column", ["keys", "bases", "fields"])
def test_an_edit_over_the_limit_is_refused(spoken: Adapter, column: str) -> None:
    large = _upload(1)
    getattr(large, column)[:] = [pack_values([b"x" * 1000])]
    size = sum(len(raw[0]) for raw in (large.keys, large.bases, large.fields))
    assert spoken.decode(spoken.encode(large), replace(LIMITS, edit_bytes_max=size)) == large
    assert refused(spoken, spoken.encode(large), replace(LIMITS, edit_bytes_max=size - 1)).code == "too-large"


@each_adapter
def test_more_verdicts_than_allowed_are_refused(spoken: Adapter) -> None:
    frame = BY_NAME["verdicts-each-ruling"].frames[spoken.name]
    assert spoken.decode(frame, replace(LIMITS, verdicts_max=4))
    assert refused(spoken, frame, replace(LIMITS, verdicts_max=3)).code == "too-large"


@each_adapter
def test_the_longest_verdicts_fit_into_a_frame(spoken: Adapter) -> None:
    long, key = "\1" * LIMITS.text_chars_max, pack_values(["\1" * (LIMITS.text_chars_max - 4)])
    many = _verdicts(
        *(Verdict(number + 1, "refused", 0, long, "x" + long, key, 1) for number in range(LIMITS.verdicts_max))
    )
    sent = spoken.decode(spoken.encode(many), LIMITS)
    assert isinstance(sent, Verdicts)
    assert sent.verdicts[-1] == replace(many.verdicts[-1], type="x" + long[1:])


@each_adapter
def test_more_ties_than_allowed_are_refused(spoken: Adapter) -> None:
    tied = replace(_rows(3), ties=(Tie(1, 2), Tie(2, 3)))
    assert refused(spoken, spoken.encode(tied), replace(LIMITS, ties_max=1)).code == "too-large"


@each_adapter
def test_more_failed_groups_than_allowed_are_refused(spoken: Adapter) -> None:
    assert (
        refused(spoken, BY_NAME["report-parked"].frames[spoken.name], replace(LIMITS, failed_max=2)).code == "too-large"
    )


@each_adapter
def test_texts_for_people_are_cut_by_the_sender_so_that_no_peer_refuses_them(spoken: Adapter) -> None:
    report = BY_NAME["report-parked"].message
    assert isinstance(report, Report)
    long = "é" * (LIMITS.text_chars_max + 1)
    broken = "a\ud800b"
    failed = replace(report.failed[0], cause=long, type=long, key=pack_values(["k" * LIMITS.text_chars_max]))
    begin = BY_NAME["begin-changes"].message
    assert isinstance(begin, Begin)
    sent = spoken.decode(spoken.encode(replace(report, offline=broken, failed=(failed,))), LIMITS)
    assert isinstance(sent, Report)
    assert sent.offline == "a?b"
    assert sent.failed[0] == replace(failed, cause=long[:-1], type=long[:-1], key=b"")
    assert spoken.decode(spoken.encode(replace(begin, reason=long)), LIMITS) == replace(begin, reason=long[:-1])
    assert spoken.decode(spoken.encode(Refusal("disk", long)), LIMITS) == Refusal("disk", long[:-1])
    verdict = Verdict(1, "refused", 0, long, broken, pack_values(["k" * LIMITS.text_chars_max]), 0)
    judged = replace(verdict, cause=long[:-1], type="a?b", key=b"")
    assert spoken.decode(spoken.encode(_verdicts(verdict)), LIMITS) == _verdicts(judged)


LONG_TEXTS: dict[str, Wire] = {
    "a refusal": BY_NAME["refusal"].message,
    "why a snapshot": BY_NAME["begin-snapshot"].message,
    "why offline": BY_NAME["report-offline"].message,
    "a cause": _report(Failed(1, "held", "0123456789", "", b"")),
    "a type": _report(Failed(1, "held", "", "0123456789", b"")),
    "a key": _report(Failed(1, "held", "", "", pack_values(["0123456789"]))),
    "a cause of a verdict": _verdicts(Verdict(1, "refused", 0, "0123456789", "", b"", 0)),
    "a type of a verdict": _verdicts(Verdict(1, "refused", 0, "", "0123456789", b"", 0)),
    "a key of a verdict": _verdicts(Verdict(1, "refused", 0, "", "", pack_values(["0123456789"]), 0)),
}


@each_adapter
@pytest.mark.parametrize("what", LONG_TEXTS)
def test_a_text_that_no_sender_of_ours_leaves_that_long_is_refused(spoken: Adapter, what: str) -> None:
    frame = spoken.encode(LONG_TEXTS[what])
    assert spoken.decode(frame, LIMITS) == LONG_TEXTS[what]
    assert refused(spoken, frame, replace(LIMITS, text_chars_max=5)).code == "too-large"


LONG_ARRAYS: dict[str, Wire] = {
    "collections": Welcome(1, "a", "b", "json", 1, tuple("abcdefghi")),
    "types": Types("c", tuple(DataType(n, "t", ("k",), ()) for n in range(9))),
    "statements of a definition": Types("c", (DataType(1, "t", ("k",), (), ("CREATE",) * 9),)),
}


@each_adapter
@pytest.mark.parametrize("what", LONG_ARRAYS)
def test_an_array_with_more_items_than_allowed_is_refused(spoken: Adapter, what: str) -> None:
    frame = spoken.encode(LONG_ARRAYS[what])
    assert spoken.decode(frame, replace(LIMITS, array_items_max=9)) == LONG_ARRAYS[what]
    refused(spoken, frame, replace(LIMITS, array_items_max=8))
