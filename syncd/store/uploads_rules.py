"""What both upload queues decide alike, without a database: what a piece of a group is to what is there, and what a
device and a person are told about a group that is settled.

Numbers of whole groups grow; some are missing, those of groups that were joined to others. So a group whose number is
not above the last whole one was here before (R6).
What came of a group before a link broke comes again from its beginning: a piece that begins with the same object as
the half that is there begins the group anew, because a group names each object once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

from syncd.core.edits import Edit, Ruling, Side, Written
from syncd.core.errors import DiskError
from syncd.core.messages import Upload, Verdict
from syncd.core.model import ObjectId
from syncd.core.pieces import Piece, pieces
from syncd.core.settings import Limits

_NONE_GUILTY = ObjectId("", b"")
_ROW_BYTES = 16  # what an edit costs beyond its bytes

First = tuple[int, bytes] | None  # type and key of the first object of a piece
Begun = tuple[int, First]  # a piece: number and first object
ANY: First = (-1, b"")  # whatever the first object is


class Came(Enum):
    """What a piece is to what is there."""

    REPEAT = 0
    BEGINS = 1
    CONTINUES = 2


class Kept(NamedTuple):
    """What a settlement says of all its groups: see ``UploadQueue.settle``."""

    collection: str
    seq: int
    policy: str
    now_us: int


class Half(NamedTuple):
    """A group that is not there to its end. ``frame``: where its rows begin; ``first``: its first object."""

    number: int
    frame: int
    first: First
    time_us: int
    offered: bool
    rows: int
    bytes: int


def came(whole: int, half: Half | None, upload: Upload, piece: Piece) -> Came:
    """``whole``: the number of the last whole group."""
    if piece.made.number <= whole:
        return Came.REPEAT
    if half is None or half.number != piece.made.number:
        return Came.BEGINS
    first = first_of(upload, piece)
    return Came.BEGINS if first is not None and first == half.first else Came.CONTINUES


def grown(half: Half | None, upload: Upload, piece: Piece, frame: int, time_us: int) -> Half:
    """What is there of the group with this piece. ``half`` None: it begins."""
    made, rows, size = piece.made, piece.end - piece.start, size_of(upload, piece)
    if half is None:
        return Half(made.number, frame, first_of(upload, piece), time_us, made.offered, rows, size)
    first = half.first if half.first is not None else first_of(upload, piece)
    return half._replace(first=first, rows=half.rows + rows, bytes=half.bytes + size)


def first_of(upload: Upload, piece: Piece) -> First:
    return (upload.types[piece.start], upload.keys[piece.start]) if piece.end > piece.start else None


def begun(uploads: Iterable[Upload]) -> list[Begun]:
    return [(piece.made.number, first_of(upload, piece)) for upload in uploads for piece in pieces(upload)]


def still_missing(missing: Sequence[Begun], whole: int, half: Half | None, upload: Upload) -> Sequence[Begun]:
    """Of what came before a frame and is not there, because the disk was full or the device was cut off, the pieces
    that are missing after the frame. Numbers may be missing, so nothing else would tell that a frame does not continue
    what is there. Raises DiskError for one that does not begin where what is missing begins."""
    due = next((one for one in missing if one[0] > whole), None)
    fresh = next((one for one in begun([upload]) if one[0] > whole), None)
    if due is not None and fresh is None:
        return missing
    if due is not None and fresh is not None:
        number, first = fresh
        again = half is not None and number == half.number and first == half.first
        if number > due[0] or (number == due[0] and not again and due[1] not in (first, ANY)):
            raise DiskError("a frame of edits comes after one that was not kept", "the device sends both again")
    return ()


def once(edits: Iterable[Edit]) -> tuple[Edit, ...]:
    """Edits of a group of several frames. Nobody has looked before whether two of them edit one object."""
    of_object: dict[tuple[int, bytes], Edit] = {}
    for edit in edits:
        earlier = of_object.get((edit.type, edit.key))
        of_object[edit.type, edit.key] = earlier._replace(fields=edit.fields) if earlier else edit
    return tuple(of_object.values())


def size_of(upload: Upload, piece: Piece) -> int:
    """About the bytes of a piece in memory."""
    keys, bases, fields = upload.keys, upload.bases, upload.fields
    size = (piece.end - piece.start) * _ROW_BYTES
    for row in range(piece.start, piece.end):
        size += len(keys[row]) + len(bases[row]) + len(fields[row])
    return size


def winner(written: Written) -> str:
    """Who won a conflict. A merged group kept a second object for an auxiliary's version, or parts of both versions."""
    if written.ruling is Ruling.REFUSED:
        return "primary"
    if written.ruling is Ruling.ACCEPTED:
        return "auxiliary"
    return "both" if any(side.copy for side in written.sides) else "merge"


def verdict_of(written: Written, seq: int, conflict: int, limits: Limits) -> Verdict:
    """A text that is too long for the wire is cut, a name or key that is too long is left out."""
    type_, key = written.guilty or _NONE_GUILTY
    return Verdict(
        number=written.number,
        ruling=written.ruling.value,
        seq=0 if written.ruling is Ruling.REFUSED else seq,
        cause=written.cause[: limits.text_chars_max],
        type=type_ if len(type_) <= limits.text_chars_max else "",
        key=key if len(key) <= limits.text_chars_max else b"",
        conflict=conflict,
    )


def told(verdicts: Sequence[tuple[Written, Verdict | None]]) -> dict[str, tuple[Verdict, ...]]:
    """The verdicts by device, of the outbox that it has: the newest one named. Nobody asks for a former one's."""
    latest = {written.device: written.outbox for written, _ in verdicts}
    found: dict[str, list[Verdict]] = {}
    for written, verdict in verdicts:
        if verdict is not None and written.outbox == latest[written.device]:
            found.setdefault(written.device, []).append(verdict)
    return {device: tuple(of_device) for device, of_device in found.items()}


def too_large(number: int, limits: Limits) -> Verdict:
    """The verdict of a group that no primary executes (R15)."""
    cause = f"the group has more than {limits.edit_group_bytes_max:,} bytes"
    return Verdict(number, Ruling.REFUSED.value, 0, cause, "", b"", 0)


def sides_size(sides: Iterable[Side]) -> int:
    """About the bytes of a conflict's versions."""
    return sum(
        2 * _ROW_BYTES + len(type_) + len(key) + len(copy) + sum(len(fields or b"") for fields in versions)
        for (type_, key), *versions, _, copy in sides
    )
