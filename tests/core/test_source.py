"""A collection on the primary (R1, R12, R13): import, everyday reading, comparison; a source that fails is offline."""

from __future__ import annotations

import pytest

from syncd.core import source as sources
from syncd.core.effects import BeginScan, Effect, OpenSource, ReadSource, ScanSource, SweepSource, WaitSource
from syncd.core.errors import InvariantBroken
from syncd.core.events import (
    Event,
    Scanned,
    SourceFailed,
    SourceOpened,
    SourceRead,
    StoreMoved,
    Swept,
    Tick,
)
from syncd.core.guard import guard_of_comparisons
from syncd.core.ports import CollectionState, SourceState
from syncd.core.source import SourcePhase
from tests.core.kit import CITY, LIMITS, NAME, store_state

APPLICATION = SourceState("the application", (), ())
EMPTY = store_state(imported=False)


class Play:
    """A source that is told what happens."""

    def __init__(self) -> None:
        self.source, self.first = sources.start(NAME, LIMITS)
        self.now = 100.0

    def hears(self, *events: Event) -> list[Effect]:
        """What the last of the events makes it order."""
        effects: list[Effect] = []
        for event in events:
            self.source, effects = sources.step(self.source, event, self.now)
        return effects


def opened(state: CollectionState, changed: bool = False) -> SourceOpened:
    return SourceOpened(NAME, APPLICATION, state, changed)


def read(state: CollectionState, *, more: bool = False, lost: bool = False, reshaped: bool = False) -> SourceRead:
    return SourceRead(NAME, state, more, lost, reshaped)


def waiting(head: int = 7) -> Play:
    """A source of which everything was read."""
    play = Play()
    play.hears(opened(store_state(head)), read(store_state(head)))
    assert play.source.phase is SourcePhase.WAITING
    return play


def test_a_source_is_opened_before_anything_else() -> None:
    assert Play().first == [OpenSource(NAME)]


def test_what_was_never_imported_is_compared_whole() -> None:
    play = Play()
    assert play.hears(opened(EMPTY)) == [BeginScan(NAME)]
    assert play.hears(Scanned(NAME, 0, (5,), EMPTY)) == [ScanSource(NAME, 0, (5,))]
    assert play.hears(Scanned(NAME, 0, None, EMPTY)) == [ScanSource(NAME, 1, None)]
    assert play.hears(Scanned(NAME, 1, None, EMPTY)) == [SweepSource(NAME)]


def test_objects_that_the_comparison_did_not_see_are_looked_at_until_none_is_left() -> None:
    play = Play()
    play.hears(opened(EMPTY), Scanned(NAME, 1, None, EMPTY))
    assert play.hears(Swept(NAME, 3, EMPTY)) == [SweepSource(NAME)]
    assert play.hears(Swept(NAME, 0, store_state(mark=4, imported=False))) == [
        ReadSource(NAME, 4, end_scan=True, loose=True)
    ]


def test_a_comparison_ends_with_what_was_touched_meanwhile() -> None:
    play = Play()
    play.hears(opened(EMPTY), Scanned(NAME, 1, None, EMPTY), Swept(NAME, 0, EMPTY))
    assert play.hears(read(store_state(mark=9, imported=False), more=True)) == [ReadSource(NAME, 9)]
    assert play.hears(read(store_state(12, mark=11))) == [WaitSource(NAME, 11)]
    assert play.source.ready


def test_a_known_application_is_read_on_from_where_it_was_read_to() -> None:
    assert Play().hears(opened(store_state(7, mark=33))) == [ReadSource(NAME, 33)]


@pytest.mark.parametrize(
    "event",
    [
        opened(store_state(7), changed=True),
        opened(store_state(7, scanning=True)),
        opened(store_state(7, imported=False)),
    ],
    ids=["another source or other types", "a comparison was broken off", "never imported whole"],
)
def test_a_comparison_begins_where_reading_on_would_not_do(event: SourceOpened) -> None:
    assert Play().hears(event) == [BeginScan(NAME)]


def test_a_source_is_read_until_nothing_remains_and_then_waited_for() -> None:
    play = Play()
    play.hears(opened(store_state(7)))
    assert play.hears(read(store_state(7, mark=20, published=False), more=True)) == [ReadSource(NAME, 20)]
    assert play.hears(read(store_state(9, mark=25))) == [WaitSource(NAME, 25)]


def test_what_was_waited_for_is_read_on_where_it_is_more_than_was_read() -> None:
    play = waiting()
    assert play.hears(read(store_state(7, mark=25, published=False), more=True)) == [ReadSource(NAME, 25)]
    assert play.hears(read(store_state(12, mark=30))) == [WaitSource(NAME, 30)]


def test_a_log_that_was_lost_is_replaced_by_a_comparison() -> None:
    play = waiting()
    assert play.hears(read(store_state(7, scanning=True), lost=True)) == [BeginScan(NAME)]
    assert play.source.phase is SourcePhase.SCANNING


def test_a_source_with_another_shape_is_opened_again() -> None:
    play = waiting()
    assert play.hears(read(store_state(7), reshaped=True)) == [OpenSource(NAME)]


# ---------------------------------------------------------------- offline, never empty


def in_phase(phase: SourcePhase) -> Play:
    play = waiting()
    scanning: list[Event] = [read(store_state(7, scanning=True), lost=True)]
    ways: dict[SourcePhase, list[Event]] = {
        SourcePhase.OPENING: [read(store_state(7), reshaped=True)],
        SourcePhase.SCANNING: scanning,
        SourcePhase.SWEEPING: [*scanning, Scanned(NAME, 1, None, store_state(7, scanning=True))],
        SourcePhase.READING: [read(store_state(7, published=False), more=True)],
        SourcePhase.WAITING: [],
        SourcePhase.OFFLINE: [SourceFailed(NAME, "gone")],
    }
    play.hears(*ways[phase])
    assert play.source.phase is phase
    return play


ALIVE = [phase for phase in SourcePhase if phase is not SourcePhase.OFFLINE]


@pytest.mark.parametrize("phase", ALIVE)
def test_a_source_that_fails_is_offline_and_never_empty(phase: SourcePhase) -> None:
    play = in_phase(phase)
    before = play.source.state
    assert play.hears(SourceFailed(NAME, "the disk is not mounted")) == []
    assert play.source.offline
    assert play.source.reason == "the disk is not mounted"
    assert play.source.state == before
    assert play.source.ready


def test_a_source_that_is_offline_is_tried_again_with_growing_pauses() -> None:
    play = waiting()
    pauses = []
    for _ in range(5):
        play.hears(SourceFailed(NAME, "locked"))
        since = play.now
        while not play.hears(Tick()):
            play.now += 0.25
        pauses.append(play.now - since)
    assert pauses == [1.0, 2.0, 4.0, 5.0, 5.0]


def test_the_pauses_begin_small_again_after_the_source_was_read() -> None:
    play = waiting()
    for _ in range(3):
        play.hears(SourceFailed(NAME, "locked"))
        play.now += 10.0
        assert play.hears(Tick()) == [OpenSource(NAME)]
    play.hears(opened(store_state(7)), read(store_state(7)))
    assert play.source.reason == ""
    play.hears(SourceFailed(NAME, "locked"))
    assert play.source.retry_at == play.now + 1.0


def test_time_alone_changes_nothing_while_a_source_works() -> None:
    for phase in ALIVE:
        play = in_phase(phase)
        before = play.source
        assert play.hears(Tick()) == []
        assert play.source == before


# ---------------------------------------------------------------- what devices may be sent


def test_nothing_is_sent_before_the_first_import_is_whole() -> None:
    play = Play()
    assert not play.source.ready
    play.hears(opened(EMPTY))
    assert not play.source.ready
    assert not play.source.sendable


@pytest.mark.parametrize("phase", [SourcePhase.SCANNING, SourcePhase.SWEEPING])
def test_nothing_is_sent_while_a_comparison_runs(phase: SourcePhase) -> None:
    play = in_phase(phase)
    assert play.source.ready
    assert not play.source.sendable


def test_what_was_published_is_sent_on_while_the_source_is_offline() -> None:
    assert in_phase(SourcePhase.OFFLINE).source.sendable


def test_a_comparison_that_failed_midway_lets_nothing_out() -> None:
    play = in_phase(SourcePhase.SCANNING)
    play.hears(SourceFailed(NAME, "locked"))
    assert not play.source.sendable


@pytest.mark.parametrize("phase", list(SourcePhase))
def test_a_store_that_was_pruned_changes_its_horizon_only(phase: SourcePhase) -> None:
    play = in_phase(phase)
    before = play.source.state
    assert before is not None
    moved = store_state(99, epoch="epoch-2", horizon=5, types=(CITY,))
    assert play.hears(StoreMoved(moved)) == []
    after = play.source.state
    assert after is not None
    assert (after.epoch, after.horizon) == (before.epoch, 5)
    assert (after.head, after.types) == (before.head, before.types)


def test_a_store_that_moves_before_it_was_opened_is_none_of_ours() -> None:
    play = Play()
    assert play.hears(StoreMoved(store_state(3))) == []
    assert play.source.state is None


@pytest.mark.parametrize(
    ("phase", "event"),
    [
        (SourcePhase.OPENING, read(store_state(7))),
        (SourcePhase.SCANNING, read(store_state(7))),
        (SourcePhase.SWEEPING, Scanned(NAME, 0, None, store_state(7))),
        (SourcePhase.READING, Swept(NAME, 0, store_state(7))),
        (SourcePhase.WAITING, opened(store_state(7))),
        (SourcePhase.OFFLINE, read(store_state(7))),
        (SourcePhase.OFFLINE, SourceFailed(NAME, "twice")),
    ],
)
def test_a_missing_pair_of_phase_and_event_is_an_error(phase: SourcePhase, event: Event) -> None:
    play = in_phase(phase)
    with pytest.raises(InvariantBroken, match=f"phase {phase.value} got {type(event).__name__}"):
        play.hears(event)


def test_what_was_imported_once_is_sent_although_the_application_is_gone_at_the_start() -> None:
    play = Play()
    assert play.hears(SourceFailed(NAME, "the disk is not mounted", store_state(7))) == []
    assert play.source.sendable


# ---------------------------------------------------------------- guard (R13)


@pytest.mark.parametrize(
    ("gone", "objects", "held"),
    [(0, 0, False), (0, 10, False), (9, 40, False), (10, 51, False), (10, 50, True), (1, 1, True), (9, 9, True)],
)
def test_a_fifth_and_ten_objects_or_all_of_them_are_much(gone: int, objects: int, held: bool) -> None:
    assert guard_of_comparisons(LIMITS).holds(gone, 0, objects) is held
