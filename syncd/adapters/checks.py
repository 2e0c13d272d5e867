"""What a message of the right types must keep besides: ranges, lengths, order, canonical bytes. One function a class.

Everything a peer sends is hostile until it has passed here (DESIGN §7). What needs knowledge of the conversation (is
this type known, is this frame the next one) is the core's to check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from syncd.adapters.canonical import WIDTH_MAX, check_many
from syncd.core.digest import DIGEST_BYTES
from syncd.core.edits import Direction, Policy, Ruling
from syncd.core.errors import FrameError
from syncd.core.messages import (
    Begin,
    Credit,
    Cut,
    Failed,
    Follow,
    Hello,
    Made,
    Objects,
    Offer,
    Pace,
    Refusal,
    Report,
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
from syncd.core.model import DataType, Kind, OutcomeKind
from syncd.core.settings import Limits, check_name

NUMBER_MAX = 2**63 - 1
VERSION_MAX = 65_535
VERSIONS_MAX = 16  # versions that one Hello offers
_CODE = re.compile(r"[a-z][a-z-]{0,63}")
_FAILED = frozenset({OutcomeKind.CANCELLED, OutcomeKind.ROLLED_BACK, OutcomeKind.HELD})
_KINDS = bytes(Kind)
_ADD = bytes((Kind.ADD,))
_EDITS = bytes((Kind.ADD, Kind.MODIFY, Kind.DELETE))
_DIRECTIONS, _POLICIES, _RULINGS = frozenset(Direction), frozenset(Policy), frozenset(Ruling)
_NO_VALUES = b"\x90"


def check(message: Wire, limits: Limits) -> None:
    """Raises FrameError unless the message makes sense by itself."""
    _CHECKS[type(message)](message, limits)


def _must(good: bool, what: str, code: str = "") -> None:
    if not good:
        raise FrameError(what, code=code)


def _name(what: str, name: str) -> None:
    try:
        check_name(what, name)
    except ValueError as error:
        raise FrameError(str(error)[:200]) from None


def _numbers(what: str, *numbers: int) -> None:
    _must(min(numbers) >= 0 and max(numbers) <= NUMBER_MAX, f"{what}: a number is not between 0 and 2^63-1")


def _text(what: str, text: str, limits: Limits) -> None:
    _must(len(text) <= limits.text_chars_max, f"{what}: a text of {len(text)} characters", "too-large")
    _must(text.isascii() or _encodable(text), f"{what}: a text that is not Unicode")


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _count(what: str, items: Sequence[object], most: int) -> None:
    _must(len(items) <= most, f"{what}: {len(items)} items, {most} are allowed", "too-large")


def _hello(hello: Hello, limits: Limits) -> None:
    del limits
    _must(0 < len(hello.versions) <= VERSIONS_MAX, f"Hello: 1 to {VERSIONS_MAX} versions are offered")
    _must(all(0 < version <= VERSION_MAX for version in hello.versions), "Hello: a version out of range")
    for what, name in (("role", hello.role), ("device", hello.name), ("adapter", hello.adapter)):
        _name(what, name)


def _welcome(welcome: Welcome, limits: Limits) -> None:
    _must(0 < welcome.version <= VERSION_MAX, "Welcome: the version is out of range")
    _must(0 < welcome.window_bytes <= NUMBER_MAX, "Welcome: the window is out of range")
    for what, name in (("device", welcome.name), ("user", welcome.user), ("adapter", welcome.adapter)):
        _name(what, name)
    _count("Welcome", welcome.collections, limits.array_items_max)
    for name in welcome.collections:
        _name("collection", name)
    _must(len(set(welcome.collections)) == len(welcome.collections), "Welcome: a collection is named twice")


def _refusal(refusal: Refusal, limits: Limits) -> None:
    _must(_CODE.fullmatch(refusal.code) is not None, "Refusal: the code is none")
    _text("Refusal", refusal.text, limits)


def _follow(follow: Follow, limits: Limits) -> None:
    del limits
    _name("collection", follow.collection)
    _numbers("Follow", follow.position, follow.base, follow.floor, follow.cursor)
    _must(follow.base <= follow.cursor, "Follow: the cursor is before the base")
    _must(
        (follow.base if follow.snapshot else follow.floor) == 0,
        "Follow: a snapshot with a base or changes with a floor",
    )
    if follow.epoch:
        _name("epoch", follow.epoch)
    else:
        _must(follow.position == 0, "Follow: a position of no epoch")


def _types(types: Types, limits: Limits) -> None:
    _name("collection", types.collection)
    _count("Types", types.types, limits.array_items_max)
    for one in types.types:
        _data_type(one, limits)
    _must(len({one.id for one in types.types}) == len(types.types), "Types: an id is given twice")


def _data_type(one: DataType, limits: Limits) -> None:
    _numbers("Types", one.id)
    names = one.key + one.fields
    _must(len(one.key) > 0, "Types: a type without a key")
    _must(len(names) <= WIDTH_MAX, f"Types: a type of {len(names)} values", "too-large")
    _must(len(set(names)) == len(names), "Types: a type that names a value twice")
    _count("Types", one.definition, limits.array_items_max)
    for text in (one.name, *names, *one.definition):
        _must("\0" not in text and _encodable(text), "Types: a name or definition that is no text")


def _begin(begin: Begin, limits: Limits) -> None:
    _name("collection", begin.collection)
    _name("epoch", begin.epoch)
    _numbers("Begin", begin.base, begin.floor, begin.cursor, begin.head)
    _must(begin.base <= begin.cursor <= begin.head, "Begin: base, cursor and head are out of order")
    _must(begin.floor <= begin.head, "Begin: the floor is above the head")
    _must((begin.base if begin.snapshot else begin.floor) == 0, "Begin: a snapshot with a base or changes with a floor")
    _text("Begin", begin.reason, limits)


def _objects(objects: Objects, limits: Limits) -> None:
    _name("collection", objects.collection)
    _numbers("Objects", objects.first, objects.last)
    _must(objects.first <= objects.last, "Objects: the last number is before the first")
    rows = len(objects.kinds)
    _must(rows <= limits.array_items_max, f"Objects: {rows} rows", "too-large")
    columns = (objects.types, objects.keys, objects.fields)
    _must(all(len(column) == rows for column in columns), "Objects: columns of unequal length")
    _must(not objects.kinds.translate(None, _KINDS), "Objects: a row of an unknown kind")
    _must(rows == 0 or objects.first < objects.last, "Objects: rows within no sequence number")
    _runs(objects.runs, objects, rows)
    if rows:
        _numbers("Objects", min(objects.types), max(objects.types))
        _rows(objects, limits)
    _count("Objects", objects.ties, limits.ties_max)
    _must(all(0 < tie.older < tie.newer <= NUMBER_MAX for tie in objects.ties), "Objects: a tie out of order")
    if objects.cut is not None:
        _cut(objects.cut, objects.last)


def _runs(runs: Sequence[Run], objects: Objects, rows: int) -> None:
    """Groups in order; all but the last end within the frame."""
    before, end, total = objects.first, 0, 0
    for seq, _, length in runs:
        _must(before < seq and end <= objects.last, "Objects: the runs are out of order")
        _must(length > 0, "Objects: a run without rows")
        before = end = seq
        total += length
    _must(total == rows, "Objects: the runs do not sum up to the rows")
    _must(end <= NUMBER_MAX, "Objects: a run out of range")


def _rows(objects: Objects, limits: Limits) -> None:
    _must(_NO_VALUES not in objects.keys, "Objects: a key without values")
    _must(max(map(len, objects.keys)) <= limits.object_bytes_max, "Objects: a key over the limit", "too-large")
    _must(max(map(len, objects.fields)) <= limits.object_bytes_max, "Objects: an object over the limit", "too-large")
    packed = objects.fields
    if Kind.DELETE in objects.kinds or Kind.WITHHELD in objects.kinds:
        packed = []
        for kind, fields in zip(objects.kinds, objects.fields, strict=True):
            if kind == Kind.DELETE:
                _must(not fields, "Objects: a delete with fields")
            elif kind == Kind.WITHHELD:
                _must(_is_utf8(fields), "Objects: a reason that is no text")
            else:
                packed.append(fields)
    check_many(objects.keys + packed)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _cut(cut: Cut, last: int) -> None:
    _must(cut.seq == last, "Cut: it is not at the end of its frame")
    _must(len(cut.digest) == DIGEST_BYTES, "Cut: a digest of the wrong length")
    _numbers("Cut", cut.objects)


def _credit(credit: Credit, limits: Limits) -> None:
    del limits
    _name("collection", credit.collection)
    _numbers("Credit", credit.received_bytes)


def _report(report: Report, limits: Limits) -> None:
    _name("collection", report.collection)
    if report.epoch:
        _name("epoch", report.epoch)
    _numbers("Report", report.position, report.objects, report.parked)
    _must(len(report.digest) == DIGEST_BYTES, "Report: a digest of the wrong length")
    _text("Report", report.offline, limits)
    _count("Report", report.failed, limits.failed_max)
    for failed in report.failed:
        _failed(failed, limits)
    check_many([failed.key for failed in report.failed if failed.key])


def _failed(failed: Failed, limits: Limits) -> None:
    _numbers("Report", failed.seq)
    _must(failed.outcome in _FAILED, "Report: an unknown outcome")
    _guilty("Report", failed, limits)


def _guilty(what: str, one: Failed | Verdict, limits: Limits) -> None:
    _text(what, one.cause, limits)
    _text(what, one.type, limits)
    _must("\0" not in one.type, f"{what}: a type that is no text")
    _must(one.key != _NO_VALUES, f"{what}: a key without values")
    _must(len(one.key) <= limits.text_chars_max, f"{what}: a key over the limit", "too-large")


# ---------------------------------------------------------------- changes from the auxiliaries


def _terms(terms: Terms, limits: Limits) -> None:
    del limits
    _name("collection", terms.collection)
    _must(terms.direction in _DIRECTIONS, "Terms: an unknown direction")
    _must(terms.policy in _POLICIES, "Terms: an unknown policy")


def _pace(pace: Pace, limits: Limits) -> None:
    _count("Pace", (*pace.resting, *pace.running), limits.array_items_max)
    for one in pace.resting:
        _text("Pace", one.reason, limits)
    named = [*(one.collection for one in pace.resting), *pace.running]
    for name in named:
        _name("collection", name)
    _must(len(set(named)) == len(named), "Pace: a collection is named twice")
    _numbers("Pace", pace.rate_bytes_s, *(one.until_us for one in pace.resting))


def _offer(offer: Offer, limits: Limits) -> None:
    del limits
    _name("collection", offer.collection)
    _name("outbox", offer.outbox)
    _numbers("Offer", offer.first, offer.last)
    _must(0 < offer.first <= offer.last + 1, "Offer: the first group is not between 1 and the one after the last")


def _taken(taken: Taken, limits: Limits) -> None:
    del limits
    _name("collection", taken.collection)
    _name("outbox", taken.outbox)
    _numbers("Taken", taken.number, taken.received_bytes)


def _upload(upload: Upload, limits: Limits) -> None:
    _name("collection", upload.collection)
    _name("outbox", upload.outbox)
    _numbers("Upload", upload.clock_us)
    rows = len(upload.kinds)
    _must(0 < rows <= limits.array_items_max, f"Upload: {rows} rows", "too-large" if rows else "")
    columns = (upload.types, upload.keys, upload.bases, upload.fields)
    _must(all(len(column) == rows for column in columns), "Upload: columns of unequal length")
    _must(not upload.kinds.translate(None, _EDITS), "Upload: a row of an unknown kind")
    _numbers("Upload", min(upload.types), max(upload.types))
    _made(upload.runs, upload, rows)
    _edits(upload, limits)


def _made(runs: Sequence[Made], upload: Upload, rows: int) -> None:
    """Groups in order, each object once in each; all but the last end within the frame."""
    before, end, goes_on = 0, 0, False
    for number, time_us, length, whole, offered in runs:
        _must(before < number <= NUMBER_MAX, "Upload: the runs are out of order")
        _must(not goes_on, "Upload: a group goes on that is not the last of its frame")
        _must(0 < length <= rows - end, "Upload: the runs do not sum up to the rows")
        _numbers("Upload", time_us)
        begin, end = end, end + length
        objects = set(zip(upload.types[begin:end], upload.keys[begin:end], strict=True))
        _must(len(objects) == length, "Upload: an object is edited twice in one group")
        _must(not offered or not upload.kinds[begin:end].strip(_ADD), "Upload: what is offered is more than an add")
        before, goes_on = number, not whole
    _must(end == rows, "Upload: the runs do not sum up to the rows")


def _edits(upload: Upload, limits: Limits) -> None:
    _must(_NO_VALUES not in upload.keys, "Upload: a key without values")
    packed = list(upload.keys)
    for kind, key, base, fields in zip(upload.kinds, upload.keys, upload.bases, upload.fields, strict=True):
        size = len(key) + len(base) + len(fields)
        _must(size <= limits.edit_bytes_max, f"Upload: an edit of {size} bytes", "too-large")
        if kind == Kind.ADD:
            _must(not base, "Upload: an add with a base")
        else:
            packed.append(base)
        if kind == Kind.DELETE:
            _must(not fields, "Upload: a delete with fields")
        else:
            packed.append(fields)
    check_many(packed)


def _verdicts(verdicts: Verdicts, limits: Limits) -> None:
    _name("collection", verdicts.collection)
    _name("outbox", verdicts.outbox)
    _count("Verdicts", verdicts.verdicts, limits.verdicts_max)
    for one in verdicts.verdicts:
        _numbers("Verdicts", one.number, one.seq, one.conflict)
        _must(one.number > 0, "Verdicts: a group without a number")
        _must(one.ruling in _RULINGS, "Verdicts: an unknown ruling")
        _must(one.ruling != Ruling.REFUSED or one.seq == 0, "Verdicts: a refused group with a sequence number")
        _guilty("Verdicts", one, limits)
    check_many([one.key for one in verdicts.verdicts if one.key])
    numbers = {one.number for one in verdicts.verdicts}
    _must(len(numbers) == len(verdicts.verdicts), "Verdicts: a group is judged twice")


# Any: each function takes its own class.
_CHECKS: dict[type[Wire], Callable[[Any, Limits], None]] = {
    Hello: _hello,
    Welcome: _welcome,
    Refusal: _refusal,
    Follow: _follow,
    Types: _types,
    Begin: _begin,
    Objects: _objects,
    Credit: _credit,
    Report: _report,
    Terms: _terms,
    Pace: _pace,
    Offer: _offer,
    Upload: _upload,
    Taken: _taken,
    Verdicts: _verdicts,
}
