"""Query builder (claim 24j): rows that the engine had read from the sync store -> generic messages.

Keeps R3 (each object once, in sequence order), R5 (a snapshot has no tombstones of before its beginning) and R8 (a
delete goes only to a device that holds the object or may have been sent it).
"""

from __future__ import annotations

from syncd.core.messages import Cut, Objects, Run
from syncd.core.model import Kind
from syncd.core.ports import ChunkRequest, StoredChunk, StoredRow

_Columns = tuple[bytes, list[int], list[bytes], list[bytes]]  # kinds, types, keys, fields
_ADD = bytes((Kind.ADD,))


def kind_of(request: ChunkRequest, row: StoredRow) -> Kind | None:
    """What the row is for a device at ``request.base``; None: nothing, it never held the object."""
    if row.fields is None:
        if row.born > request.cursor or row.change <= request.floor:
            return None
        return Kind.DELETE
    if row.fault:
        return Kind.WITHHELD
    return Kind.MODIFY if row.born <= request.base else Kind.ADD


def build(request: ChunkRequest, chunk: StoredChunk) -> Objects:
    """One frame's generic messages, with the groups they belong to and, at the head, the cut."""
    return _of_one_group(request, chunk) or _row_by_row(request, chunk)


def _of_one_group(request: ChunkRequest, chunk: StoredChunk) -> Objects | None:
    """Column by column: rows of a first import, or of another large group, are many. None: they are of several groups,
    or some are not there or cannot be built."""
    rows, groups = chunk.rows, chunk.groups
    if not rows or len(groups) != 1 or not groups[0].first <= rows[0].change <= rows[-1].change <= groups[0].seq:
        return None
    _, borns, types, keys, fields, faults = zip(*rows, strict=True)
    if None in fields or any(faults):
        return None
    if min(borns) > request.base:
        kinds = _ADD * len(rows)
    else:
        kinds = bytes(Kind.MODIFY if born <= request.base else Kind.ADD for born in borns)
    runs = (Run(groups[0].seq, groups[0].loose, len(rows)),)
    return _objects(request, chunk, runs, (kinds, [*types], [*keys], [*fields]))


def _row_by_row(request: ChunkRequest, chunk: StoredChunk) -> Objects:
    kinds = bytearray()
    types: list[int] = []
    keys: list[bytes] = []
    fields: list[bytes] = []
    runs: list[Run] = []
    groups = iter(chunk.groups)
    group = next(groups, None)
    seq, loose, rows = 0, True, 0
    for row in chunk.rows:
        kind = kind_of(request, row)
        if kind is None:
            continue
        while group is not None and group.seq < row.change:
            group = next(groups, None)
        known = group is not None and group.first <= row.change
        now = (group.seq, group.loose) if group is not None and known else (row.change, True)
        if rows and now != (seq, loose):
            runs.append(Run(seq, loose, rows))
            rows = 0
        seq, loose = now
        rows += 1
        kinds.append(kind)
        types.append(row.type)
        keys.append(row.key)
        fields.append(row.fault.encode() if kind is Kind.WITHHELD else row.fields or b"")
    if rows:
        runs.append(Run(seq, loose, rows))
    return _objects(request, chunk, tuple(runs), (bytes(kinds), types, keys, fields))


def _objects(request: ChunkRequest, chunk: StoredChunk, runs: tuple[Run, ...], columns: _Columns) -> Objects:
    cut = None
    if chunk.proof is not None:
        cut = Cut(chunk.proof.seq, chunk.proof.digest, chunk.proof.objects)
    return Objects(request.collection, request.cursor, chunk.last, runs, *columns, chunk.ties, cut)
