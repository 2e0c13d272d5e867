"""The primary's engine and selections: classes come and go, and each device is compared with its own (R8)."""

from __future__ import annotations

from dataclasses import replace

from syncd.core import status
from syncd.core.edits import Direction, Policy
from syncd.core.effects import CloseLink, DropClass, OpenClass, ReadChunk
from syncd.core.events import ClassDropped, ClassFailed, ClassOpened, LinkDown, SourceRead, StoreMoved, Tick
from syncd.core.messages import Begin, Types
from syncd.core.model import DataType, State
from syncd.core.ports import ClassState, CollectionState
from syncd.core.selection import ALL, Selection
from tests.core.kit import CITY, EPOCH, NAME, of_kind, store_state
from tests.core.primary_play import A, B, C, Play, reported, sent_to

PARIS = Selection('type == "city" and name == "Paris"')
OPEN = OpenClass(NAME, PARIS)


def of_class(head: int, number: int = 3, selection: Selection = PARIS, **changes: object) -> ClassState:
    made = ClassState(selection, f"{EPOCH}.{number}", head, 0, bytes(16), head, True)
    return made._replace(**changes)  # type: ignore[arg-type]


def state(head: int, *classes: ClassState, types: tuple[DataType, ...] | None = None) -> CollectionState:
    made = replace(store_state(head), classes=classes)
    return made if types is None else replace(made, types=types)


def read(*told: object) -> SourceRead:
    return SourceRead(NAME, state(*told), False, False, False)  # type: ignore[arg-type]


def chosen(*classes: ClassState) -> Play:
    """A takes Paris; the store has a head of 20 and these classes."""
    play = Play()
    play.engine.set_selections(NAME, ALL, {A: PARIS})
    if classes:
        play.hears(ClassOpened(NAME, PARIS, state(20, *classes)))
    return play


def was_sent_all(play: Play) -> None:
    play.engine.follows[A, NAME] = replace(play.engine.follows[A, NAME], reading=False, owes_cut=False)
    play.engine.reads.clear()


# ---------------------------------------------------------------- classes


def test_a_class_is_opened_for_a_device_that_takes_it_and_filled_until_it_is_ready() -> None:
    play = Play()
    assert play.engine.set_selections(NAME, ALL, {A: PARIS, B: PARIS}) == [OPEN]
    assert play.hears(Tick()) == []  # one order at a time
    assert play.hears(ClassOpened(NAME, PARIS, state(20, of_class(0, ready=False)))) == [OPEN]
    assert play.hears(ClassOpened(NAME, PARIS, state(20, of_class(18)))) == []


def test_a_class_waits_for_the_first_import() -> None:
    play = Play(head=None)
    assert play.engine.set_selections(NAME, PARIS, {}) == []
    assert OPEN in play.store(store_state(5))


def test_a_class_that_could_not_be_opened_is_opened_after_a_pause() -> None:
    play = Play()
    play.engine.set_selections(NAME, PARIS, {})
    assert play.hears(ClassFailed(NAME, PARIS, "the disk is full"), Tick()) == []
    play.now += play.engine.limits.offline_retry_s_first
    assert play.hears(Tick()) == [OPEN]


def test_a_class_is_dropped_with_its_last_device_and_comes_again_as_another_one() -> None:
    play = chosen(of_class(18))
    play.engine.set_selections(NAME, ALL, {A: PARIS, B: PARIS})
    assert play.engine.set_selections(NAME, ALL, {B: PARIS}) == []
    drop = DropClass(NAME, PARIS)
    assert play.engine.relink(B, ()) == [drop]
    assert play.engine.set_selections(NAME, PARIS, {}) == []  # it is being dropped
    assert of_kind(play.follows(C), ReadChunk) == []
    assert play.hears(ClassDropped(NAME, PARIS, state(20))) == [OPEN]


def test_what_is_opened_goes_before_what_is_dropped_unless_it_fails() -> None:
    """Devices wait for the one and nobody for the other; but a full disk may need what is dropped."""
    other, drop = Selection('city == "Lyon"'), DropClass(NAME, PARIS)
    opening = OpenClass(NAME, other)
    for fails in (False, True):
        play = chosen(of_class(18))
        assert play.engine.set_selections(NAME, ALL, {A: other}) == [opening]
        part = of_class(0, 4, other, ready=False)
        assert play.hears(ClassOpened(NAME, other, state(20, of_class(18), part))) == [opening]
        if fails:
            assert play.hears(ClassFailed(NAME, other, "the disk is full"), Tick()) == [drop]
        else:
            ready = of_class(18, 4, other)
            assert play.hears(ClassOpened(NAME, other, state(20, of_class(18), ready))) == [drop]


def test_a_class_is_not_dropped_while_it_is_read() -> None:
    play = chosen(of_class(18))
    (order,) = of_kind(play.follows(A, 10, epoch=f"{EPOCH}.3"), ReadChunk)
    assert order.request.selection == PARIS
    assert of_kind(play.engine.set_selections(NAME, ALL, {}), DropClass) == []


def test_a_class_is_dropped_with_its_last_device_that_is_not_revoked() -> None:
    play = chosen(of_class(18))
    play.engine.set_selections(NAME, ALL, {A: PARIS, B: PARIS})
    assert play.engine.set_revoked(A, True) == []
    assert play.engine.set_revoked(B, True) == [DropClass(NAME, PARIS)]
    play.hears(ClassDropped(NAME, PARIS, state(20)))
    assert play.engine.set_revoked(B, False) == [OPEN], "it is paired again"
    assert play.engine.set_revoked(B, False) == []


def test_nothing_is_opened_for_a_device_that_is_sent_nothing() -> None:
    play = Play()
    play.engine.set_terms(NAME, Direction.IN, Policy.PRIMARY)
    assert play.engine.set_selections(NAME, PARIS, {}) == []
    assert play.engine.set_terms(NAME, Direction.BOTH, Policy.PRIMARY) == [OPEN]


# ---------------------------------------------------------------- devices


def test_a_device_whose_selection_changes_comes_again_and_is_sent_all_that_it_takes() -> None:
    play = Play()
    play.follows(A), play.follows(B)
    effects = play.engine.set_selections(NAME, ALL, {A: PARIS})
    assert [one.device for one in of_kind(effects, CloseLink)] == [A]
    play.hears(LinkDown(A, "closed"))
    assert of_kind(play.follows(A, 20), ReadChunk) == []  # its class is not ready
    effects = play.hears(ClassOpened(NAME, PARIS, state(20, of_class(18))))
    types, begin = sent_to(A, effects)
    assert types == Types(NAME, (CITY,))  # what it never takes is not named
    assert begin == Begin(NAME, f"{EPOCH}.3", True, 0, 18, 0, 18, "the selection of this device changed")


def test_a_device_of_a_class_is_woken_by_what_changes_there_only() -> None:
    play = chosen(of_class(18))
    play.follows(A, 20, epoch=f"{EPOCH}.3")
    was_sent_all(play)
    assert of_kind(play.hears(read(25, of_class(18))), ReadChunk) == []
    (order,) = of_kind(play.hears(read(26, of_class(26))), ReadChunk)
    assert (order.request.selection, order.request.cursor) == (PARIS, 20)


def test_a_class_that_was_filled_anew_begins_anew() -> None:
    play = chosen(of_class(18))
    play.follows(A, 20, epoch=f"{EPOCH}.3")
    was_sent_all(play)
    (close,) = of_kind(play.hears(read(20, of_class(20, number=4))), CloseLink)
    assert close.device == A
    assert (A, NAME) not in play.engine.follows


def test_what_a_class_is_told_late_does_not_take_it_back() -> None:
    play = chosen(of_class(18))
    play.hears(read(26, of_class(26)))
    play.hears(ClassOpened(NAME, PARIS, state(20, of_class(18))))
    play.hears(StoreMoved(state(26, of_class(26, horizon=7))))
    seen = play.engine.state_of(A, NAME)
    assert seen is not None
    assert (seen.head, seen.horizon, seen.epoch) == (26, 7, f"{EPOCH}.3")


def test_the_collection_is_as_each_device_sees_it() -> None:
    play = chosen(of_class(18))
    assert play.engine.state_of(B, NAME) == play.engine.sources[NAME].state
    assert play.engine.selection_of(A, NAME) == PARIS
    seen = play.engine.state_of(A, NAME)
    assert seen is not None
    assert (seen.head, seen.types) == (18, (CITY,))


# ---------------------------------------------------------------- what people see


def shown(play: Play) -> status.Json:
    lines = status.primary_devices(play.engine, [status.DeviceLine(A, "till", True, "")], play.now, lambda key: "")
    collections = lines[0]["collections"]
    assert isinstance(collections, list)
    (line,) = collections
    assert isinstance(line, dict)
    return line


def test_a_device_of_a_class_is_shown_beside_its_class() -> None:
    play = chosen(of_class(18))
    play.follows(A, 20, epoch=f"{EPOCH}.3")
    play.says(A, replace(reported(20), epoch=f"{EPOCH}.3"))
    line = shown(play)
    assert (line["state"], line["head"], line["behind"], line["reason"]) == (State.IDENTICAL, 18, 0, "")
    play.hears(read(26, of_class(26)))
    line = shown(play)
    assert (line["state"], line["behind"]) == (State.SYNCING, 6)


def test_a_selection_that_cannot_be_applied_is_held_with_the_reason() -> None:
    play = chosen(of_class(18))
    play.follows(A, 20, epoch=f"{EPOCH}.3")
    play.says(A, replace(reported(20), epoch=f"{EPOCH}.3"))
    play.hears(read(21, of_class(18, broken="no type has a field 'name'")))
    line = shown(play)
    assert line["state"] == State.HELD
    assert line["reason"] == "its selection cannot be applied: no type has a field 'name'"


def test_a_class_that_is_being_filled_is_said_to_be() -> None:
    play = chosen(of_class(0, ready=False))
    play.follows(A)
    play.says(A, reported(10))
    assert shown(play)["reason"] == "what its selection takes is being put together"
