"""The words of the status: which state each collection is in, and why (DESIGN §6)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core import source as sources
from syncd.core import status
from syncd.core.auxiliary_engine import AuxiliaryEngine
from syncd.core.edits import Direction, OutboxState, Policy
from syncd.core.events import (
    LinkUp,
    Received,
    SourceFailed,
    SourceOpened,
    SourceRead,
    Staged,
    TargetFailed,
    Tick,
    WorkDone,
)
from syncd.core.messages import Failed, Follow, Hello, Report, Welcome
from syncd.core.model import ObjectId, Role, State
from syncd.core.ports import Executed, SourceState
from syncd.core.primary_engine import PrimaryEngine
from syncd.core.sending import Standing
from syncd.core.source import Source
from syncd.core.status import DeviceLine
from syncd.core.target_state import Target
from syncd.core.uplink_state import Uplink
from tests.core.kit import (
    EPOCH,
    LIMITS,
    NAME,
    NOTHING_HELD,
    chunk,
    digest_at,
    frame,
    part,
    proof_at,
    store_state,
    target_state,
)
from tests.core.target_play import PRIMARY, Play, begin, catching_up, following, opened, proven, transfer_at

A = "A" * 52


def show(key: bytes) -> str:
    return key.decode()


def read_source(head: int = 20) -> Source:
    """A source of which everything was read."""
    source, _ = sources.start(NAME, LIMITS)
    state = store_state(head)
    source, _ = sources.step(source, SourceOpened(NAME, SourceState("s", (), ()), state, False), 0.0)
    return sources.step(source, SourceRead(NAME, state, False, False, False), 0.0)[0]


# ---------------------------------------------------------------- a collection on the primary


def test_a_source_is_syncing_until_it_was_imported_and_identical_then() -> None:
    assert status.source_state(sources.start(NAME, LIMITS)[0]) is State.SYNCING
    assert status.source_state(read_source()) is State.IDENTICAL
    reading = sources.step(read_source(), SourceRead(NAME, store_state(20), False, False, False), 0.0)[0]
    assert status.source_state(reading) is State.IDENTICAL, "a look at it every second is no news"


def test_a_source_that_is_compared_is_syncing() -> None:
    scanning = sources.step(read_source(), SourceRead(NAME, store_state(20, scanning=True), False, True, False), 0.0)[0]
    assert status.source_state(scanning) is State.SYNCING


def test_a_source_that_fails_is_offline_with_its_reason_and_what_the_store_holds() -> None:
    source = sources.step(read_source(20), SourceFailed(NAME, "the disk is not mounted"), 0.0)[0]
    assert status.source_line(source, "sqlite:/shop.db", "ada") == {
        "name": NAME,
        "user": "ada",
        "application": "sqlite:/shop.db",
        "state": "offline",
        "objects": 20,
        "head": 20,
        "held": "",
        "reason": "the disk is not mounted",
    }


# ---------------------------------------------------------------- a device, as the primary knows it


def report(position: int = 20, **changes: object) -> Report:
    plain = Report(NAME, EPOCH, position, digest_at(position), position, True, 0, "")
    return replace(plain, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("said", "connected", "age_s", "state"),
    [
        (report(20), True, 0, State.IDENTICAL),
        (report(20), False, 0, State.IDENTICAL),
        (report(20, match=False), True, 0, State.SYNCING),
        (report(20, epoch="epoch-0"), True, 0, State.SYNCING),
        (report(15), True, 0, State.SYNCING),
        (report(15), True, 31, State.STALLED),
        (report(20), True, 31, State.IDENTICAL),
        (report(15), False, 31, State.BEHIND),
        (report(20, match=False, parked=1), True, 0, State.PARKED),
        (report(20, match=False, parked=1), False, 0, State.PARKED),
        (report(15, offline="locked"), True, 0, State.OFFLINE),
        (report(15, offline="locked", parked=1), True, 0, State.OFFLINE),
        (report(15, offline="locked"), False, 0, State.BEHIND),
        (report(0, offline="objects of its own", held=True, match=False), True, 0, State.HELD),
    ],
)
def test_the_state_of_a_device(said: Report, connected: bool, age_s: float, state: State) -> None:
    assert status.device_state(Standing(said, 100.0), store_state(20), connected, 100.0 + age_s, LIMITS) is state


def primary(said: Report) -> PrimaryEngine:
    engine = PrimaryEngine("desk", "ada", ("msgpack",), LIMITS)
    engine.speaks[A], engine.users[A] = "msgpack", ("ada",)
    engine.share(NAME)
    state = store_state(20)
    engine.step(SourceOpened(NAME, SourceState("s", (), ()), state, False), 100.0)
    engine.step(SourceRead(NAME, state, False, False, False), 100.0)
    engine.step(LinkUp(A), 100.0)
    engine.step(Received(A, Hello((1,), Role.AUXILIARY, "laptop", "msgpack"), b""), 100.0)
    engine.step(Received(A, said, b""), 100.0)
    return engine


def device_line(engine: PrimaryEngine) -> status.Json:
    lines = status.primary_devices(engine, [DeviceLine(A, "laptop", True, "2026")], 100.0, show)
    (line,) = lines
    collections = line["collections"]
    assert isinstance(collections, list)
    (collection,) = collections
    assert isinstance(collection, dict)
    return collection


def test_a_device_is_shown_with_its_position_and_what_it_lacks() -> None:
    line = device_line(primary(report(15, match=False)))
    assert (line["position"], line["head"], line["behind"], line["digest_match"]) == (15, 20, 5, False)


def test_what_a_device_reported_of_another_epoch_counts_for_nothing() -> None:
    failed = Failed(17, "rolled-back", "CHECK constraint failed", "city", b"key 17")
    line = device_line(primary(report(20, match=True, parked=1, epoch="older", failed=(failed,))))
    assert (line["state"], line["position"], line["behind"], line["failed"]) == ("syncing", 0, 20, [])


def test_a_device_at_the_head_with_another_checksum_is_not_identical_and_says_so() -> None:
    line = device_line(primary(report(20, match=False)))
    assert line["state"] == "syncing"
    assert "checksum" in str(line["reason"])


@pytest.mark.parametrize("position", [15, 20])
def test_a_device_that_is_sent_nothing_lacks_nothing(position: int) -> None:
    engine = primary(report(position, match=False))
    engine.set_terms(NAME, Direction.IN, Policy.PRIMARY)
    line = device_line(engine)
    assert (line["state"], line["behind"], line["reason"]) == ("identical", 0, "")


def test_failed_groups_are_shown_with_cause_and_guilty_object() -> None:
    failed = Failed(17, "rolled-back", "CHECK constraint failed", "city", b"key 17")
    line = device_line(primary(report(20, match=False, parked=1, failed=(failed,))))
    assert line["state"] == "parked"
    assert line["failed"] == [
        {
            "group": f"{NAME}:17",
            "outcome": "rolled-back",
            "cause": "CHECK constraint failed",
            "type": "city",
            "key": "key 17",
        }
    ]


def test_a_long_transfer_shows_how_far_it_is() -> None:
    engine = primary(report(10, match=False))
    engine.step(Received(A, Follow(NAME, EPOCH, 10, False, 10, 0, 10), b""), 100.0)
    assert "progress" not in device_line(engine)
    engine.step(chunk(10, 14, base=10, cut=False), 100.0)
    assert device_line(engine)["progress"] == {"done": 4, "total": 10}


def test_what_a_device_reports_of_a_collection_that_is_not_shared_is_not_shown() -> None:
    engine = primary(report(20, collection="gone"))
    assert status.primary_devices(engine, [DeviceLine(A, "laptop", True, "")], 100.0, show)[0]["collections"] == []


# ---------------------------------------------------------------- a collection on an auxiliary


def with_parked() -> Target:
    play = Play()
    play.hears(opened(target_state(10), transfer_at(10), (part(1, 8, guilty=ObjectId("city", b"key 8")),)))
    return play.target


def at(play: Play) -> Target:
    return play.target


def failed(held: bool) -> Target:
    play = catching_up(12)
    play.hears(TargetFailed(NAME, "locked", held))
    return play.target


def behind_head() -> Target:
    play = proven(10)
    play.unlinked()
    play.linked()
    play.hears(begin(10, head=30))
    return play.target


@pytest.mark.parametrize(
    ("target", "connected", "age_s", "state"),
    [
        (at(proven(10)), True, 0, State.IDENTICAL),
        (at(proven(10)), True, 31, State.IDENTICAL),
        (at(proven(10)), False, 0, State.BEHIND),
        (at(following(10)), True, 0, State.SYNCING),
        (at(following(10)), True, 31, State.STALLED),
        (at(following(10)), False, 0, State.BEHIND),
        (behind_head(), True, 0, State.SYNCING),
        (with_parked(), True, 0, State.PARKED),
        (failed(held=False), True, 0, State.OFFLINE),
        (failed(held=True), True, 0, State.HELD),
        (failed(held=True), False, 0, State.HELD),
    ],
)
def test_the_state_on_this_device(target: Target, connected: bool, age_s: float, state: State) -> None:
    assert status.target_state(target, connected, 100.0 + age_s) is state


def test_a_device_whose_primary_is_away_does_not_know_whether_it_is_identical() -> None:
    engine = auxiliary(welcomed=False)
    engine.targets[NAME] = proven(10).target
    line = own_line(engine, connected=False)
    assert (line["state"], line["reason"]) == ("behind", "not connected: identical when it last was")


def auxiliary(welcomed: bool = True, shared: tuple[str, ...] = (NAME,)) -> AuxiliaryEngine:
    engine = AuxiliaryEngine("laptop", "msgpack", LIMITS)
    engine.accept(NAME, 100.0)
    engine.step(opened(NOTHING_HELD), 100.0)
    if welcomed:
        engine.step(LinkUp(PRIMARY), 100.0)
        engine.step(Received(PRIMARY, Welcome(1, "desk", "ada", "msgpack", 1_000, shared), b""), 100.0)
    return engine


def own_line(engine: AuxiliaryEngine, connected: bool = True) -> status.Json:
    line = status.primary_line(engine, DeviceLine(PRIMARY, "desk", connected, ""), 100.0, show)
    collections = line["collections"]
    assert isinstance(collections, list)
    (collection,) = collections
    assert isinstance(collection, dict)
    return collection


def test_a_collection_that_the_primary_does_not_answer_for_says_what_to_do() -> None:
    unknown = own_line(auxiliary(shared=("goods", "notes")))["reason"]
    assert unknown == (
        "the primary shares no collection of this name (it shares goods, notes): `syncd share` it there, or link this"
        " device with the user whose it is"
    )
    assert own_line(auxiliary())["reason"] == "the primary is reading it from its application for the first time"
    assert own_line(auxiliary(welcomed=False), connected=False)["reason"] == ""


def test_a_collection_that_is_fetched_whole_says_why_until_it_is_there() -> None:
    engine = auxiliary()
    begun = replace(begin(0, snapshot=True, floor=50, head=50), reason="the device holds nothing yet")
    engine.step(Received(PRIMARY, begun, b""), 100.0)
    assert own_line(engine)["reason"] == "everything is fetched, the device holds nothing yet"
    engine.step(Staged(NAME, 1, 50, (proof_at(50),), 100), 100.0)
    engine.step(WorkDone(NAME, proof_at(50), Executed(target_state(50))), 100.0)
    assert own_line(engine)["reason"] == ""


def test_an_application_that_cannot_be_written_says_why() -> None:
    line = status.target_line(failed(held=False), "sqlite:/till.db", (NAME,), 100.0)
    assert (line["state"], line["reason"], line["application"]) == ("offline", "locked", "sqlite:/till.db")


def test_the_bar_of_a_bootstrap_moves_with_what_has_arrived() -> None:
    engine = auxiliary()
    engine.step(Received(PRIMARY, begin(0, snapshot=True, floor=50, head=50), b""), 100.0)
    engine.targets[NAME] = replace(engine.targets[NAME], types=at(proven(10)).types)
    assert "progress" not in own_line(engine)
    engine.step(Received(PRIMARY, frame(0, 20, cut=False), b"..."), 100.0)
    assert own_line(engine)["progress"] == {"done": 20, "total": 50}
    assert own_line(engine)["behind"] == 50


def test_failed_groups_are_listed_on_the_device_where_they_wait() -> None:
    engine = auxiliary()
    engine.targets[NAME] = with_parked()
    engine.step(Tick(), 100.0)
    line = own_line(engine)
    assert (line["state"], line["parked"], line["digest_match"]) == ("parked", 1, False)
    failures = line["failed"]
    assert isinstance(failures, list)
    assert failures[0]["group"] == f"{NAME}:8"
    assert failures[0]["key"] == "key 8"


@pytest.mark.parametrize(
    ("direction", "pending", "keeps", "state"),
    [
        (Direction.BOTH, 0, False, State.IDENTICAL),
        (Direction.BOTH, 1, False, State.SYNCING),
        (Direction.BOTH, 1, True, State.SYNCING),
        (Direction.IN, 1, False, State.SYNCING),
        (Direction.OUT, 1, False, State.SYNCING),
        (Direction.OUT, 1, True, State.IDENTICAL),
    ],
)
def test_nothing_is_identical_that_waits_for_the_primary_but_what_stays_here_by_choice_does_not_wait(
    direction: Direction, pending: int, keeps: bool, state: State
) -> None:
    outbox = OutboxState("box", 1, 1, 1, pending, 0, undo=False)
    uplink = Uplink(NAME, LIMITS, "msgpack", keeps, direction=direction, outbox=outbox, unread=False)
    assert status.local_state(proven(10).target, uplink, True, 100.0) is state


@pytest.mark.parametrize("direction", [None, Direction.IN, Direction.BOTH])
def test_nothing_is_identical_before_what_was_changed_here_was_read(direction: Direction | None) -> None:
    uplink = Uplink(NAME, LIMITS, "msgpack", direction=direction)
    assert status.local_state(proven(10).target, uplink, True, 100.0) is State.SYNCING
