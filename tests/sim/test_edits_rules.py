"""Each rule of the two-way simulation fails, by its name, where it is broken, and holds where it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from syncd.adapters.canonical import pack_values
from syncd.core.digest import object_hash_bytes, type_prefix
from syncd.core.edits import Edit, EditGroup, Fact, Policy, Ruling, Side, Written
from syncd.core.model import ObjectId
from tests.sim import edits_rules as rules
from tests.sim.edits_rules import Commit, Decided
from tests.sim.history import State
from tests.sim.invariants import Broken

A, B, C = (ObjectId("note", key) for key in (b"a", b"b", b"c"))
SENT: State = {A: b"1", B: b"1"}
OWN = Commit({A: (b"1", b"2"), B: (b"1", b"2")})
LONE = Commit({A: (b"1", b"2")})
BASE, OURS, THEIRS, MERGED = (pack_values(list(words)) for words in ("ab", "Ab", "aB", "AB"))
CLASH = pack_values(["x", "b"])
NAMES = {1: "note", 2: "tag"}
EDIT = Edit(1, b"a", BASE, THEIRS)


def decided(
    edit: Edit = EDIT,
    ours: bytes | None = OURS,
    after: bytes | None = None,
    ruling: Ruling = Ruling.REFUSED,
    policy: Policy | None = Policy.PRIMARY,
    **more: object,
) -> Decided:
    """One edit of an object that the primary changed as well; ``after``: what is there then (empty: as before)."""
    one = ObjectId(NAMES[edit.type], edit.key)
    result = ours if after is None else after or None
    copy = more.get("copy", b"")
    assert isinstance(copy, bytes)
    side = Side(one, edit.base, ours, edit.fields, result, contested=True, copy=copy)
    sides = (side,) if more.get("contested", True) else ()
    group = EditGroup("L", "box", 1, 5, (edit,), offered=bool(more.get("offered")))
    before: State = {} if ours is None else {one: ours}
    held: State = {} if result is None else {one: result}
    if copy and edit.fields is not None:
        held[ObjectId(one.type, copy)] = edit.fields
    facts = {(edit.type, edit.key): fact} if isinstance(fact := more.get("fact"), Fact) else {}
    return Decided(group, policy, facts, before, held, Written("L", "box", 1, ruling, 1, sides=sides), NAMES)


def known(changed_us: int, stale: bool = False) -> Fact:
    return Fact(object_hash_bytes(type_prefix("note"), b"a", OURS), changed_us, stale)


def _half(ruling: Ruling, contested: bool) -> Decided:
    """Of two edits, one was made on the primary as well."""
    group = EditGroup("L", "box", 1, 5, (EDIT, Edit(1, b"b", BASE, CLASH)))
    before: State = {A: THEIRS, B: BASE}
    after: State = before if ruling is Ruling.REFUSED else {A: THEIRS, B: CLASH}
    sides = (Side(A, BASE, THEIRS, THEIRS, THEIRS, True), Side(B, BASE, BASE, CLASH, after[B], False))
    written = Written("L", "box", 1, ruling, 1, sides=sides if contested else ())
    return Decided(group, Policy.PRIMARY, {}, before, after, written, NAMES)


ACCEPTED, WON = Ruling.ACCEPTED, decided(after=THEIRS, ruling=Ruling.ACCEPTED, policy=Policy.AUXILIARY)
DELETION = Edit(1, b"a", BASE, None)
CONFLICT = Side(A, BASE, OURS, THEIRS, OURS, True)

BROKEN: dict[str, tuple[str, Callable[[], None]]] = {
    "half an own transaction": (
        "R2",
        lambda: rules.r2_edits_whole(
            {A: b"2", B: b"1"}, [{}, {A: b"1", B: b"1"}, SENT], [Commit({A: (b"1", b"2"), B: (b"0", b"3")})], ()
        ),
    ),
    "what nobody made": ("R2", lambda: rules.r2_edits_whole({A: b"9", B: b"1"}, [SENT], [OWN], ())),
    "an own version of before": (
        "R2",
        lambda: rules.r2_edits_whole({A: b"2"}, [{A: b"1"}], [LONE, Commit({A: (b"2", b"3")})], ()),
    ),
    "an edit that is not shown": ("R2", lambda: rules.r2_shown(SENT, SENT, {A: b"2"}, ())),
    "an edit that stands and is not known": ("R2", lambda: rules.r2_shown({**SENT, A: b"2"}, SENT, {}, ())),
    "a deletion that is not shown": ("R2", lambda: rules.r2_shown(SENT, SENT, {A: None}, ())),
    "a group executed twice": ("R6", lambda: rules.r6_decided_once(("L", "box", 1), {("L", "box", 1)})),
    "a refused group that left a trace": ("R6", lambda: rules.r6_written_whole(decided(after=THEIRS))),
    "a group that wrote something else": (
        "R6",
        lambda: rules.r6_written_whole(replace(WON, after={A: THEIRS, C: b"1"})),
    ),
    "a version made once that came twice": (
        "R6",
        lambda: rules.r6_made_once({A: [b"1", b"2", b"1"]}, {b"1": 1, b"2": 1}),
    ),
    "a version that came to two objects": ("R6", lambda: rules.r6_made_once({A: [b"1"], B: [b"1"]}, {b"1": 1})),
    "downloads that wait for uploads": ("R10", lambda: rules.r10_downloads({"L": (3, True), "M": (2, True)}, 3)),
    "downloads that are not proven": ("R10", lambda: rules.r10_downloads({"L": (3, False)}, 3)),
    "uploads that wait for downloads": ("R10", lambda: rules.r10_uploads({"L": 0, "M": 1})),
    "the auxiliary wins under primary": ("R11", lambda: rules.r11_decided(decided(after=THEIRS, ruling=ACCEPTED))),
    "the primary wins under auxiliary": ("R11", lambda: rules.r11_decided(decided(policy=Policy.AUXILIARY))),
    "the older wins": ("R11", lambda: rules.r11_decided(decided(policy=Policy.NEWEST, fact=known(4)))),
    "an unknown time wins": (
        "R11",
        lambda: rules.r11_decided(decided(after=THEIRS, ruling=ACCEPTED, policy=Policy.NEWEST, fact=known(5))),
    ),
    "a deletion beats a modification": (
        "R11",
        lambda: rules.r11_decided(decided(DELETION, after=b"", ruling=ACCEPTED, policy=Policy.AUXILIARY)),
    ),
    "what overlaps is merged": (
        "R11",
        lambda: rules.r11_decided(
            decided(Edit(1, b"a", BASE, CLASH), after=CLASH, ruling=ACCEPTED, policy=Policy.MERGE)
        ),
    ),
    "fields that do not overlap are lost": ("R11", lambda: rules.r11_decided(decided(policy=Policy.MERGE))),
    "a merge that dropped a field": (
        "R11",
        lambda: rules.r11_decided(decided(after=THEIRS, ruling=Ruling.MERGED, policy=Policy.MERGE)),
    ),
    "no second object": (
        "R11",
        lambda: rules.r11_decided(decided(ruling=Ruling.MERGED, policy=Policy.BOTH)),
    ),
    "a second object under a key with a meaning": (
        "R11",
        lambda: rules.r11_decided(
            decided(Edit(2, b"a", BASE, THEIRS), ruling=Ruling.MERGED, policy=Policy.BOTH, copy=b"z")
        ),
    ),
    "a conflict that is not told": ("R11", lambda: rules.r11_decided(decided(contested=False))),
    "half of a group is there by chance": ("R11", lambda: rules.r11_decided(_half(Ruling.ACCEPTED, contested=False))),
    "a conflict told of what is clean": ("R11", lambda: rules.r11_decided(decided(ours=BASE))),
    "an earlier version taken for an edit": (
        "R11",
        lambda: rules.r11_decided(
            decided(
                Edit(1, b"a", None, THEIRS),
                after=THEIRS,
                ruling=ACCEPTED,
                policy=Policy.AUXILIARY,
                offered=True,
                fact=known(1, True),
            )
        ),
    ),
    "an undo that overwrites": ("R11", lambda: rules.r11_decided(decided(after=THEIRS, ruling=ACCEPTED, policy=None))),
    "versions that are gone": ("R11", lambda: rules.r11_kept([CONFLICT], [])),
    "the loser's version gone": ("R11", lambda: rules.r11_kept([CONFLICT], [CONFLICT._replace(theirs=None)])),
    "refused and not readable": ("R11", lambda: rules.r11_refused_kept([EDIT], [])),
    "a version that is nowhere": ("R11", lambda: rules.r11_accounted([(A, b"1")], lambda one, fields: False)),
    "an echo": ("R12", lambda: rules.r12_captured({A, B}, {A})),
    "an edit sent twice": ("R12", lambda: rules.r12_one_message({"L": 2}, {"L": 1, "M": 1}, "L", ["L", "M"])),
    "an edit that comes from another as well": (
        "R12",
        lambda: rules.r12_one_message({"L": 1, "M": 1}, {"L": 1, "M": 1}, "L", ["L", "M"]),
    ),
    "an echo to the other device": ("R12", lambda: rules.r12_one_message({"L": 1}, {"L": 1, "M": 2}, "L", ["L", "M"])),
    "an edit that does not come back": ("R12", lambda: rules.r12_one_message({"L": 1}, {"M": 1}, "L", ["L", "M"])),
    "a replica that differs": ("R14", lambda: rules.r14_end(SENT, {"L": {**SENT, A: b"2"}}, {})),
    "a replica with more": ("R14", lambda: rules.r14_end(SENT, {"L": {**SENT, C: b"2"}}, {})),
    "something that waits for ever": ("R14", lambda: rules.r14_end(SENT, {"L": SENT}, {"in L's outbox": 1})),
}

HOLDS: dict[str, Callable[[], None]] = {
    "an own transaction that stands": lambda: rules.r2_edits_whole({A: b"2", B: b"2"}, [SENT], [OWN], ()),
    "one that was put back": lambda: rules.r2_edits_whole(SENT, [SENT], [OWN], ()),
    "one that is parked in part": lambda: rules.r2_edits_whole({A: b"2", B: b"1"}, [SENT], [OWN], {B}),
    "one that was accepted and changed since": lambda: rules.r2_edits_whole(
        {A: b"2", B: b"3"}, [SENT, {A: b"2", B: b"3"}], [OWN], ()
    ),
    "edits above what was sent": lambda: rules.r2_shown({A: b"2"}, SENT, {A: b"2", B: None}, ()),
    "another group": lambda: rules.r6_decided_once(("L", "box", 2), {("L", "box", 1)}),
    "a version made twice": lambda: rules.r6_made_once({A: [b"1", b"1"]}, {b"1": 2}),
    "all at the head": lambda: rules.r10_downloads({"L": (3, True)}, 3),
    "all decided": lambda: rules.r10_uploads({"L": 0}),
    "the primary wins": lambda: rules.r11_decided(decided()),
    "the auxiliary wins": lambda: rules.r11_decided(WON),
    "the newest wins": lambda: rules.r11_decided(
        decided(after=THEIRS, ruling=ACCEPTED, policy=Policy.NEWEST, fact=known(4))
    ),
    "a modification beats a deletion": lambda: rules.r11_decided(decided(DELETION, policy=Policy.AUXILIARY)),
    "an edit revives": lambda: rules.r11_decided(decided(ours=None, after=THEIRS, ruling=ACCEPTED)),
    "a merge": lambda: rules.r11_decided(decided(after=MERGED, ruling=Ruling.MERGED, policy=Policy.MERGE)),
    "a second object": lambda: rules.r11_decided(decided(ruling=Ruling.MERGED, policy=Policy.BOTH, copy=b"z")),
    "half of a group made on both sides": lambda: rules.r11_decided(_half(Ruling.REFUSED, contested=True)),
    "a group made on both sides": lambda: rules.r11_decided(decided(ours=THEIRS, ruling=ACCEPTED, contested=False)),
    "a clean edit": lambda: rules.r11_decided(decided(ours=BASE, after=THEIRS, ruling=ACCEPTED, contested=False)),
    "an undo of what is unchanged": lambda: rules.r11_decided(
        decided(ours=BASE, after=THEIRS, ruling=ACCEPTED, policy=None, contested=False)
    ),
    "versions that are kept": lambda: rules.r11_kept([CONFLICT], [CONFLICT]),
    "a refused edit that is readable": lambda: rules.r11_refused_kept([DELETION], []),
    "what was touched": lambda: rules.r12_captured({A}, {A, B}),
    "one message each": lambda: rules.r12_one_message({"L": 1}, {"L": 1, "M": 1}, "L", ["L", "M"]),
    "all equal": lambda: rules.r14_end(SENT, {"L": SENT}, {"in L's outbox": 0}),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_named(case: str) -> None:
    rule, check = BROKEN[case]
    with pytest.raises(Broken, match=f"^{rule} "):
        check()


@pytest.mark.parametrize("case", HOLDS)
def test_a_rule_that_holds_says_nothing(case: str) -> None:
    HOLDS[case]()


def test_every_rule_has_a_history_that_breaks_it() -> None:
    named = {name for name in vars(rules) if name.startswith("r") and name[1].isdigit()}
    broken = {name for _, check in BROKEN.values() for name in check.__code__.co_names}
    assert named <= broken
