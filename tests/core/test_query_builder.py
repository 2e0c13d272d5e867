"""Rows of the store become generic messages (claim 24j): each once and in order (R3), snapshots without tombstones
(R5), deletes only where the object may be held (R8), what cannot be built named (R7), the proof at the head (R14)."""

from __future__ import annotations

import random
from dataclasses import replace

from syncd.adapters.canonical import pack_values
from syncd.core.messages import Cut, Message, Objects, Run
from syncd.core.model import Kind, Proof, Tie
from syncd.core.ports import ChunkRequest, Group, StoredChunk, StoredRow
from syncd.core.query_builder import build, kind_of
from syncd.core.selection import ALL

KEY, FIELDS = pack_values([1]), pack_values(["a"])
CHANGES = ChunkRequest("c", ALL, base=10, floor=0, cursor=10)
SNAPSHOT = ChunkRequest("c", ALL, base=0, floor=10, cursor=0)


def row(change: int, born: int, *, gone: bool = False, fault: str = "") -> StoredRow:
    fields = None if gone else b"" if fault else FIELDS
    return StoredRow(change, born, 1, pack_values([born]), fields, fault)


def chunk(*rows: StoredRow, groups: tuple[Group, ...] = (), proof: Proof | None = None) -> StoredChunk:
    last = max((one.change for one in rows), default=0)
    return StoredChunk(rows, proof.seq if proof else last, groups, proof, (), 1)


def group(first: int, seq: int, *, loose: bool = False) -> Group:
    return Group(seq, first, loose, 0, seq - first + 1)


def test_an_object_that_came_after_the_base_is_an_add() -> None:
    assert kind_of(CHANGES, row(11, 11)) is Kind.ADD
    assert kind_of(SNAPSHOT, row(3, 1)) is Kind.ADD


def test_an_object_from_before_the_base_is_a_modify() -> None:
    assert kind_of(CHANGES, row(11, 10)) is Kind.MODIFY


def test_a_device_that_may_hold_the_object_is_told_of_its_end() -> None:
    assert kind_of(CHANGES, row(11, 10, gone=True)) is Kind.DELETE


def test_an_object_that_came_and_went_while_the_device_was_away_is_never_named() -> None:
    assert kind_of(CHANGES, row(12, 11, gone=True)) is None


def test_an_object_that_was_sent_in_this_transfer_and_then_deleted_is_deleted() -> None:
    """Born after the base, but before the cursor: an earlier frame brought it."""
    assert kind_of(replace(CHANGES, cursor=20), row(21, 15, gone=True)) is Kind.DELETE


def test_a_snapshot_has_no_tombstones_from_before_it_began() -> None:
    assert kind_of(SNAPSHOT, row(10, 0, gone=True)) is None


def test_a_snapshot_tells_of_deletes_since_it_began_of_what_it_brought() -> None:
    assert kind_of(replace(SNAPSHOT, cursor=10), row(11, 5, gone=True)) is Kind.DELETE
    assert kind_of(replace(SNAPSHOT, cursor=4), row(11, 5, gone=True)) is None


def test_an_object_that_could_not_be_built_is_withheld_with_its_reason() -> None:
    frame = build(CHANGES, chunk(row(11, 11, fault="größer als erlaubt")))
    assert list(frame.messages()) == [Message(Kind.WITHHELD, 1, pack_values([11]), "größer als erlaubt".encode())]


def test_columns_are_the_rows_in_their_order() -> None:
    frame = build(CHANGES, chunk(row(11, 11), row(12, 3), row(13, 4, gone=True)))
    assert frame.kinds == bytes((Kind.ADD, Kind.MODIFY, Kind.DELETE))
    assert frame.keys == [pack_values([11]), pack_values([3]), pack_values([4])]
    assert frame.fields == [FIELDS, FIELDS, b""]
    assert frame.types == [1, 1, 1]


def test_a_frame_covers_what_was_read_even_where_nothing_of_it_is_sent() -> None:
    frame = build(CHANGES, chunk(row(12, 11, gone=True)))
    assert (frame.first, frame.last, len(frame), frame.runs) == (10, 12, 0, ())


def test_rows_of_a_group_are_one_run() -> None:
    frame = build(CHANGES, chunk(row(11, 1), row(12, 2), row(13, 3), groups=(group(11, 12), group(13, 13))))
    assert frame.runs == (Run(12, False, 2), Run(13, False, 1))


def test_a_group_that_goes_on_in_the_next_frame_has_its_own_number_in_both() -> None:
    whole = group(11, 14)
    first = build(CHANGES, chunk(row(11, 1), row(12, 2), groups=(whole,)))
    second = build(replace(CHANGES, cursor=12), chunk(row(13, 3), row(14, 4), groups=(whole,)))
    assert (first.runs, second.runs) == ((Run(14, False, 2),), (Run(14, False, 2),))


def test_an_import_is_loose() -> None:
    frame = build(SNAPSHOT, chunk(row(1, 1), row(2, 2), groups=(group(1, 2, loose=True),)))
    assert frame.runs == (Run(2, True, 2),)


def test_rows_of_a_group_that_is_forgotten_stand_alone() -> None:
    frame = build(SNAPSHOT, chunk(row(1, 1), row(2, 2), row(4, 4), groups=(group(4, 5),)))
    assert frame.runs == (Run(1, True, 1), Run(2, True, 1), Run(5, False, 1))


def test_a_group_that_is_forgotten_between_others_stands_alone() -> None:
    frame = build(SNAPSHOT, chunk(row(1, 1), row(3, 3), row(5, 5), groups=(group(1, 1), group(5, 5))))
    assert frame.runs == (Run(1, False, 1), Run(3, True, 1), Run(5, False, 1))


def test_rows_that_are_left_out_do_not_count_in_the_runs() -> None:
    frame = build(CHANGES, chunk(row(11, 1), row(12, 11, gone=True), row(13, 2), groups=(group(11, 13),)))
    assert frame.runs == (Run(13, False, 2),)


def test_the_cut_is_the_proof_of_the_state_that_was_read() -> None:
    proof = Proof(15, b"d" * 16, 7)
    frame = build(CHANGES, chunk(row(11, 1), proof=proof))
    assert frame.cut == Cut(15, b"d" * 16, 7)
    assert frame.last == 15


def test_a_frame_that_ends_before_the_head_has_no_cut() -> None:
    assert build(CHANGES, chunk(row(11, 1))).cut is None


def test_ties_are_passed_on() -> None:
    tied = replace(chunk(row(11, 1)), ties=(Tie(3, 11),))
    assert build(CHANGES, tied).ties == (Tie(3, 11),)


class History:
    """A store in ten lines: objects by key, each with its newest change."""

    def __init__(self) -> None:
        self.rows: dict[int, StoredRow] = {}
        self.head = 0

    def change(self, key: int, value: str | None) -> None:
        old = self.rows.get(key)
        alive = old is not None and old.fields is not None
        if value is None and not alive:
            return
        self.head += 1
        born = self.head if old is None else old.born  # also after a delete: a device may hold it from before
        fields = None if value is None else pack_values([value])
        self.rows[key] = StoredRow(self.head, born, 1, pack_values([key]), fields)

    def held(self) -> dict[bytes, bytes]:
        return {row.key: row.fields for row in self.rows.values() if row.fields is not None}

    def read(self, cursor: int, rows_max: int) -> StoredChunk:
        after = sorted(row for row in self.rows.values() if row.change > cursor)
        if len(after) > rows_max:
            return StoredChunk(after[:rows_max], after[rows_max - 1].change, (), None, (), 1)
        return StoredChunk(after, self.head, (), Proof(self.head, bytes(16), len(self.held())), (), 1)


def execute(held: dict[bytes, bytes], frame: Objects, snapshot: set[bytes] | None) -> None:
    """What a device makes of a frame. A delete may name an object of this transfer that no frame has brought yet."""
    for kind, _, key, fields in frame.messages():
        if kind is Kind.DELETE:
            held.pop(key, None)
            if snapshot is not None:
                snapshot.discard(key)
        else:
            held[key] = fields
            if snapshot is not None:
                snapshot.add(key)


def transfer(history: History, chance: random.Random, held: dict[bytes, bytes], position: int, snapshot: bool) -> int:
    """One whole transfer in small frames, while the primary goes on; returns the position after its cut."""
    base, floor = (0, history.head) if snapshot else (position, 0)
    cursor, brought = base, set[bytes]()
    while True:
        request = ChunkRequest("c", ALL, base, floor, cursor)
        frame = build(request, history.read(cursor, chance.randint(1, 4)))
        assert frame.first == cursor
        execute(held, frame, brought if snapshot else None)
        cursor = frame.last
        if frame.cut is not None:
            for key in held.keys() - brought if snapshot else ():
                del held[key]
            return frame.cut.seq
        if chance.random() < 0.5:
            history.change(chance.randrange(12), chance.choice(["a", "b", None]))


def test_any_history_arrives_as_the_state_of_the_primary(seed: int) -> None:
    """R2, R3, R5, R8 together: changes and snapshots in frames of any size while the primary goes on."""
    for round_ in range(300):
        chance = random.Random(f"{seed}-{round_}")
        history, held, position = History(), dict[bytes, bytes](), 0
        for _ in range(6):
            for _ in range(chance.randint(0, 15)):
                history.change(chance.randrange(12), chance.choice(["a", "b", "c", None]))
            position = transfer(history, chance, held, position, snapshot=chance.random() < 0.3)
            assert held == history.held(), f"round {round_}"
            assert position == history.head


def test_an_object_that_came_back_and_went_again_is_deleted_where_it_is_held() -> None:
    history = History()
    history.change(1, "a")
    for value in (None, "b", None):
        history.change(1, value)
    frame = build(ChunkRequest("c", ALL, 1, 0, 1), history.read(1, 100))
    assert list(frame.messages()) == [Message(Kind.DELETE, 1, pack_values([1]), b"")]


def test_what_did_not_change_is_not_read_again() -> None:
    history = History()
    for key in range(10):
        history.change(key, "a")
    history.change(3, "b")
    frame = build(ChunkRequest("c", ALL, 10, 0, 10), history.read(10, 100))
    assert list(frame.messages()) == [Message(Kind.MODIFY, 1, pack_values([3]), pack_values(["b"]))]


def test_each_object_is_sent_once_however_often_it_changed() -> None:
    history = History()
    for turn in range(50):
        history.change(turn % 3, str(turn))
    frame = build(ChunkRequest("c", ALL, 0, 0, 0), history.read(0, 100))
    assert len(frame) == 3
    assert [values for *_, values in frame.messages()] == [pack_values([str(turn)]) for turn in (47, 48, 49)]


def test_rows_of_one_group_are_built_as_they_are_one_by_one() -> None:
    rng = random.Random(7)
    for _ in range(300):
        request = rng.choice((CHANGES, SNAPSHOT))
        changes = sorted(rng.sample(range(11, 60), rng.randint(1, 9)))
        rare = rng.random() < 0.5
        rows = [
            row(
                at,
                rng.randint(1, at),
                gone=rare and rng.random() < 0.2,
                fault="no" if rare and rng.random() < 0.2 else "",
            )
            for at in changes
        ]
        first, seq = rng.choice((1, changes[0], changes[-1])), rng.choice((changes[-1], 70, changes[0]))
        whole = chunk(*rows, groups=(group(first, max(first, seq)),))
        one_by_one = [message for one in rows for message in build(request, chunk(one)).messages()]
        assert [*build(request, whole).messages()] == one_by_one
        known = [one.change for one in rows if first <= one.change <= seq and kind_of(request, one) is not None]
        runs = [run for run in build(request, whole).runs if run.seq == seq and not run.loose]
        assert sum(run.rows for run in runs) == len(known)
