"""Each rule of the simulation fails, by its name, where it is broken, and holds where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from syncd.core.effects import Send, Stage
from syncd.core.messages import Begin, Credit, Cut, Failed, Follow, Objects, Report, Types, Welcome
from syncd.core.messages import Run as WireRun
from syncd.core.model import DataType, Failure, Kind, ObjectId, OutcomeKind, Proof
from syncd.core.ports import Part, TargetState
from tests.core.kit import store_state
from tests.sim import invariants as rules
from tests.sim.history import Came, Group, Mine, Publication, Run, State, ties
from tests.sim.invariants import checksum

A, B, C, D = (ObjectId("city", key) for key in (b"a", b"b", b"c", b"d"))
OLD: State = {A: b"1", B: b"1"}
NEW: State = {A: b"2", B: b"2"}
PUBLISHED = {("e", 3): OLD, ("e", 5): NEW}
AT_3, AT_5 = (TargetState("e", seq, checksum(held), 2) for seq, held in ((3, OLD), (5, NEW)))
PROOF = Proof(5, checksum(NEW), 2)
STORE = store_state(head=5, epoch="e", horizon=2)
ASKED = Follow("things", "e", 3, False, 3, 0, 3)
GOES_ON = Begin("things", "e", False, 3, 0, 3, 5)
WELCOME = Welcome(1, "desk", "ada", "msgpack", 1, ("things",))
FRESH = Begin("things", "e", True, 0, 5, 0, 5)
REPORT = Report("things", "e", 3, checksum(OLD), 2, False, 1, "", failed=(Failed(4, "rolled-back", "", "city", b"a"),))
LOOSE = Group(2, True, frozenset({A, B, C, D}))
AB, BC, CD = Group(3, False, frozenset({A, B})), Group(4, False, frozenset({B, C})), Group(5, False, frozenset({C, D}))


def frame(first: int, last: int, *rows: tuple[int, Kind, bytes], cut: Cut | None = None) -> Objects:
    """``rows``: group, kind, key."""
    return Objects(
        "things",
        first,
        last,
        tuple(WireRun(seq, False, 1) for seq, _, _ in rows),
        bytes(kind for _, kind, _ in rows),
        [1] * len(rows),
        [key for _, _, key in rows],
        [b""] * len(rows),
        (),
        cut,
    )


def came(last: int, read: int, *rows: tuple[int, bytes]) -> Came:
    objects = frozenset((1, key) for _, key in rows)
    return Came(last, read, tuple(WireRun(seq, False, 1) for seq, _ in rows), objects)


def blamed(guilty: ObjectId) -> Part:
    return Part(frozenset({5}), frozenset(), Failure(OutcomeKind.ROLLED_BACK, "refused", guilty))


CHANGED = frame(3, 5, (4, Kind.MODIFY, b"a"), (5, Kind.DELETE, b"b"))
since = partial(rules.r3_changes_since, came=[], cursor=3, read=5, rows_max=4)
ADAS = Mine(("ada",), frozenset({"things"}), frozenset({"city"}), frozenset({b"a", b"b"}))
LAST = Publication("e", 3, 7)
RUNS = [Run(3, False, [A]), Run(4, False, [B, C]), Run(5, False, [D]), Run(2, True, [ObjectId("city", b"x")])]
ALONE: Callable[[int], int] = int  # each group is a part of its own

BROKEN: dict[str, tuple[str, Callable[[], None]]] = {
    "a number that does not grow": ("R1", lambda: rules.r1_order(LAST, 3, "e", 8)),
    "an older state after a newer one": ("R1", lambda: rules.r1_order(LAST, 4, "e", None)),
    "a number for two states": ("R1", lambda: rules.r1_one_state(3, checksum(OLD), checksum(NEW))),
    "half a transaction published": ("R2", lambda: rules.r2_published({A: b"2", B: b"1"}, [OLD, NEW])),
    "half a transaction published beside what is held": (
        "R2",
        lambda: rules.r2_published({A: b"2", B: b"1", C: b"1"}, [OLD, NEW], {C}),
    ),
    "half a group held": ("R2", lambda: rules.r2_whole({A: b"2", B: b"1"}, NEW, {})),
    "an object too many": ("R2", lambda: rules.r2_whole({**NEW, C: b"1"}, NEW, {A: b"1"})),
    "half a group parked": ("R2", lambda: rules.r2_never_split([AB], 5, {A, B}, {A})),
    "a gap": ("R3", lambda: since(frame(4, 5))),
    "a frame beyond the head": ("R3", lambda: since(frame(3, 6))),
    "too many rows": ("R3", lambda: since(CHANGED, rows_max=1)),
    "groups out of order": ("R3", lambda: since(frame(3, 5, (5, Kind.ADD, b"a"), (4, Kind.ADD, b"b")))),
    "a group of before": ("R3", lambda: since(frame(3, 5, (3, Kind.ADD, b"a")))),
    "an object twice in a frame": ("R3", lambda: since(frame(3, 5, (4, Kind.ADD, b"a"), (5, Kind.ADD, b"a")))),
    "an object twice in a transfer": ("R3", lambda: since(CHANGED, came=[came(3, 5, (3, b"a"))])),
    "a snapshot for changes": ("R3", lambda: rules.r3_goes_on(ASKED, FRESH, STORE)),
    "staged frames again": (
        "R3",
        lambda: rules.r3_goes_on(replace(ASKED, cursor=4), GOES_ON, STORE),
    ),
    "a position never published": (
        "R4",
        lambda: rules.r4_position(AT_3, replace(AT_5, position=4), PROOF, PUBLISHED),
    ),
    "a position that is not the cut's": ("R4", lambda: rules.r4_position(AT_3, AT_3, PROOF, PUBLISHED)),
    "a position that goes back": (
        "R4",
        lambda: rules.r4_position(AT_5, AT_3, Proof(3, checksum(OLD), 2), PUBLISHED),
    ),
    "data of an earlier position": ("R4", lambda: rules.r4_not_ahead(OLD, AT_5, PUBLISHED, {})),
    "a report ahead of the data": ("R4", lambda: rules.r4_told(replace(REPORT, position=4), AT_3, 9)),
    "a report of another epoch": ("R4", lambda: rules.r4_told(replace(REPORT, epoch="f"), AT_3, 9)),
    "frames claimed that are not durable": ("R4", lambda: rules.r4_told(replace(ASKED, cursor=5), AT_3, 4)),
    "a report of what is not durable": ("R4", lambda: rules.r4_durable(replace(REPORT, position=5), AT_3)),
    "a report of an epoch that is not durable": ("R4", lambda: rules.r4_durable(replace(REPORT, epoch="f"), AT_5)),
    "another epoch's position taken": (
        "R4",
        lambda: rules.r4_other_epoch(replace(ASKED, epoch="f"), GOES_ON, "e"),
    ),
    "an answer of another epoch": ("R4", lambda: rules.r4_other_epoch(ASKED, GOES_ON, "f")),
    "data that move by themselves": ("R4", lambda: rules.r4_still(NEW, AT_3, OLD, AT_3)),
    "a position that moves by itself": ("R4", lambda: rules.r4_still(OLD, AT_5, OLD, AT_3)),
    "forgotten tombstones left out": ("R5", lambda: rules.r5_begin(replace(ASKED, cursor=1), GOES_ON, STORE)),
    "a snapshot that begins early": ("R5", lambda: rules.r5_begin(ASKED, replace(FRESH, floor=4), STORE)),
    "a tombstone of before": ("R5", lambda: rules.r5_no_tombstones(CHANGED, 5)),
    "something beyond a snapshot": ("R5", lambda: rules.r5_nothing_beyond({**NEW, C: b"1"}, NEW, {D: None})),
    "a repeat that changes": ("R6", lambda: rules.r6_once("execute", OLD, NEW)),
    "a repeat that is staged": ("R6", lambda: rules.r6_repeat("a frame", [Stage("things", CHANGED, b"")])),
    "a repeat that is answered": ("R6", lambda: rules.r6_repeat("a frame", [Send("P", REPORT)])),
    "a failed work that left a trace": ("R7", lambda: rules.r7_nothing_done(OLD, NEW, [], {A})),
    "an innocent called guilty": ("R7", lambda: rules.r7_nothing_done(OLD, OLD, [blamed(B)], {A})),
    "half a parked group applied": ("R7", lambda: rules.r7_parked_stays(NEW, {A: b"2", B: b"1"})),
    "a parked object that came": ("R7", lambda: rules.r7_parked_stays(NEW, {A: None})),
    "a group parked for nothing": ("R7", lambda: rules.r7_only_what_must({A, D}, RUNS, {A}, ALONE)),
    "a loose object parked for nothing": (
        "R7",
        lambda: rules.r7_only_what_must({RUNS[3].objects[0]}, RUNS, {A}, ALONE),
    ),
    "half a part retried": ("R7", lambda: rules.r7_retried(OLD, {**OLD, A: b"2"}, {A: b"2", B: None})),
    "more than a part retried": ("R7", lambda: rules.r7_retried(OLD, NEW, {A: b"2"})),
    "parked and not reported": ("R7", lambda: rules.r7_reported(replace(REPORT, parked=0), 1)),
    "parked and not named": ("R7", lambda: rules.r7_reported(replace(REPORT, failed=()), 1)),
    "a welcome that tells of another's collection": (
        "R9",
        lambda: rules.r9_own(replace(WELCOME, collections=("things", "vault")), ADAS),
    ),
    "a welcome as another's": ("R9", lambda: rules.r9_own(replace(WELCOME, user="bob"), ADAS)),
    "an answer about another's collection": ("R9", lambda: rules.r9_own(replace(GOES_ON, collection="vault"), ADAS)),
    "another's type": ("R9", lambda: rules.r9_own(Types("things", (DataType(7, "secret", ("id",), ()),)), ADAS)),
    "another's key": ("R9", lambda: rules.r9_own(frame(3, 5, (4, Kind.ADD, b"bob")), ADAS)),
    "another's deleted key": ("R9", lambda: rules.r9_own(frame(3, 5, (4, Kind.DELETE, b"bob")), ADAS)),
    "an epoch for a device without a user": (
        "R9",
        lambda: rules.r9_own(GOES_ON, Mine((), frozenset(), frozenset(), frozenset())),
    ),
    "a foreign transfer": ("R9", lambda: rules.r9_kept(["vault"], [], ADAS)),
    "a foreign report": ("R9", lambda: rules.r9_kept([], ["things", "vault"], ADAS)),
    "an echo": ("R12", lambda: rules.r12_echo([A, B], {A})),
    "a change that is swallowed": ("R12", lambda: rules.r12_echo([A], {A, B})),
    "a wrong checksum": ("R14", lambda: rules.r14_checksum(checksum(OLD), 2, NEW)),
    "a wrong count": ("R14", lambda: rules.r14_checksum(checksum(NEW), 3, NEW)),
    "a cut of something else": ("R14", lambda: rules.r14_cut(Cut(5, checksum(OLD), 2), NEW)),
    "a cut of nothing": ("R14", lambda: rules.r14_cut(Cut(4, checksum(OLD), 2), None)),
    "identical that is not": ("R14", lambda: rules.r14_identical(OLD, NEW, 0)),
    "identical while parked": ("R14", lambda: rules.r14_identical(NEW, NEW, 1)),
}

HOLDS: dict[str, Callable[[], None]] = {
    "numbers that grow": lambda: rules.r1_order(LAST, 4, "e", 7),
    "an epoch that begins anew": lambda: rules.r1_order(LAST, 3, "f", 7),
    "held objects beside what was committed": lambda: rules.r2_published({**NEW, C: b"1"}, [OLD, NEW], {C}),
    "parked objects as they were": lambda: rules.r2_whole({A: b"1", B: b"2"}, NEW, {A: b"1"}),
    "a group parked whole": lambda: rules.r2_never_split([AB, BC], 5, {A, B, C}, {A, B, C}),
    "an object that an import took over": lambda: rules.r2_never_split(
        [AB, Group(4, True, frozenset({B}))], 5, {A, B}, {A}
    ),
    "changes": lambda: since(CHANGED),
    "an object that changed again": lambda: since(CHANGED, came=[came(3, 3, (3, b"a"))]),
    "a transfer that goes on": lambda: rules.r3_goes_on(ASKED, GOES_ON, STORE),
    "a snapshot that was asked for": lambda: rules.r3_goes_on(replace(ASKED, again=True), FRESH, STORE),
    "a position": lambda: rules.r4_position(AT_3, AT_5, PROOF, PUBLISHED),
    "data at their position": lambda: rules.r4_not_ahead(NEW, AT_5, PUBLISHED, {}),
    "a report of what is durable": lambda: rules.r4_durable(REPORT, AT_5),
    "a report of nothing": lambda: rules.r4_durable(replace(REPORT, epoch="", position=0), AT_3),
    "a snapshot for another epoch": lambda: rules.r4_other_epoch(replace(ASKED, epoch="f"), FRESH, "e"),
    "a tombstone of after": lambda: rules.r5_no_tombstones(CHANGED, 4),
    "a repeat that is credited": lambda: rules.r6_repeat("a frame", [Send("P", Credit("things", 9))]),
    "a group that shares with a guilty one": lambda: rules.r7_only_what_must({A, B, C, D}, RUNS, {A}, lambda seq: 0),
    "a part retried whole": lambda: rules.r7_retried(OLD, {A: b"2"}, {A: b"2", B: None}),
    "a welcome with what is one's own": lambda: rules.r9_own(WELCOME, ADAS),
    "one's own objects": lambda: rules.r9_own(CHANGED, ADAS),
    "a part in one's own": lambda: rules.r9_kept(["things"], ["things"], ADAS),
    "what the application touched": lambda: rules.r12_echo([A], {A}),
    "identical": lambda: rules.r14_identical(NEW, NEW, 0),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(case: str) -> None:
    rule, check = BROKEN[case]
    with pytest.raises(rules.Broken, match=f"^{rule} "):
        check()


@pytest.mark.parametrize("case", HOLDS)
def test_a_rule_that_holds_says_nothing(case: str) -> None:
    HOLDS[case]()


def test_every_rule_has_a_history_that_breaks_it() -> None:
    named = {name for name in vars(rules) if name.startswith("r") and name[1].isdigit()}
    code = [check.__code__.co_names for _, check in BROKEN.values()]
    assert named - {"r3_changes_since"} <= {name for names in code for name in names}


def test_groups_are_tied_by_the_objects_they_share_and_an_import_ties_nothing() -> None:
    part_of = ties([LOOSE, AB, BC, CD], 0)
    assert part_of(3) == part_of(4) == part_of(5) != part_of(2)


def test_what_came_before_a_transfer_ties_nothing_in_it_by_itself() -> None:
    part_of = ties([AB, BC, CD], 4)
    assert part_of(4) == part_of(5) != part_of(3)
