"""Users do not see each other's objects (R9): tried with every message of the protocol, and while links change.

Two primaries are told the same: on one the collection that a device asks for is another user's, on the other nobody
shares it. What they order must be equal, so that a device cannot even tell that there is such a collection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import get_args

import pytest

from syncd.core.edits import Direction, Policy
from syncd.core.effects import CloseLink, Effect, SaveName, SendFrame
from syncd.core.events import (
    AdapterSaved,
    ChunkFailed,
    ChunkRead,
    EpochFailed,
    EpochMoved,
    Event,
    LinkDown,
    LinkUp,
    NameSaved,
    Received,
    SourceOpened,
    SourceRead,
    StoreMoved,
    Tick,
)
from syncd.core.messages import (
    Begin,
    Credit,
    Hello,
    Offer,
    Pace,
    Refusal,
    Rest,
    Taken,
    Terms,
    Types,
    Upload,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.ports import CollectionState, SourceState
from syncd.core.status import DeviceLine, primary_devices
from tests.core.kit import CITY, EPOCH, NAME, chunk, frame, of_kind, store_state
from tests.core.primary_play import OTHER, A, B, C, Play, asked, hello, reported, sent_to

SECRET = "secret"  # bob's collection


class House(Play):
    """Ada shares things and others, bob a secret. A is ada's device, B is linked with both, C is bob's."""

    def __init__(self, shared: Sequence[str] = (SECRET,)) -> None:
        super().__init__()
        self.engine.users = {A: ("ada",), B: ("bob", "ada"), C: ("bob",)}
        self.engine.share(OTHER, "ada")
        self.store(replace(store_state(20), name=OTHER), OTHER)
        for name in shared:
            self.engine.share(name, "bob")
            self.store(replace(store_state(20), name=name), name)


def of_secret(event: ChunkRead) -> ChunkRead:
    return replace(event, request=replace(event.request, collection=SECRET))


def secret(position: int = 10, **changes: object) -> Wire:
    return asked(position, collection=SECRET, **changes)


# ---------------------------------------------------------------- every message


MESSAGES: dict[str, Wire] = {
    "a first follow": secret(0, epoch=""),
    "a follow of changes": secret(10),
    "a follow at the head": secret(20),
    "a follow of an unfinished transfer": secret(10, snapshot=True, base=0, floor=20, cursor=15),
    "a follow of another epoch": secret(10, epoch="older"),
    "a follow ahead of the store": secret(99),
    "a follow that asks for everything": secret(10, again=True),
    "a report": reported(10, collection=SECRET),
    "a report ahead of the store": reported(99, collection=SECRET),
    "a credit": Credit(SECRET, 10),
    "a greeting": hello(),
    "a welcome": Welcome(1, "desk", "bob", "msgpack", 1, (SECRET,)),
    "types": Types(SECRET, (CITY,)),
    "a begin": Begin(SECRET, EPOCH, True, 0, 20, 0, 20),
    "objects": frame(10, 20, collection=SECRET),
    "a refusal": Refusal("stopping", SECRET),
    "terms": Terms(SECRET, Direction.BOTH, Policy.PRIMARY),
    "a pace": Pace((Rest(SECRET, "", 0),)),
    "an offer": Offer(SECRET, "outbox", 1, 1),
    "an upload": Upload(SECRET, "outbox", 0, (), b"", [], [], [], []),
    "taken": Taken(SECRET, "outbox", 1, 0),
    "verdicts": Verdicts(SECRET, "outbox", ()),
}


def kept(head: int, **changes: object) -> CollectionState:
    return replace(store_state(head), name=SECRET, **changes)  # type: ignore[arg-type]


# In this order they may also follow each other.
LATER: dict[str, tuple[Event, ...]] = {
    "time": (Tick(),),
    "a commit": (SourceRead(SECRET, kept(30), False, False, False),),
    "forgotten tombstones": (StoreMoved(kept(30, horizon=15)),),
    "a chunk": (of_secret(chunk(10, 20, base=10)),),
    "a snapshot": (of_secret(chunk(0, 20, base=0, floor=20)),),
    "a chunk that cannot be read": (ChunkFailed(of_secret(chunk(10, 20, base=10)).request, "msgpack", "no room"),),
    "an epoch that cannot be written": (EpochFailed(SECRET, "no room"),),
    "other types": (
        SourceRead(SECRET, kept(30), False, False, True),
        SourceOpened(SECRET, SourceState("the application", (), ()), kept(30, types=(CITY,)), True),
    ),
}


def test_every_message_of_the_protocol_is_tried() -> None:
    assert {type(message) for message in MESSAGES.values()} == set(get_args(Wire))


def seen_by(device: str, effects: Sequence[Effect]) -> list[Effect]:
    """What of the effects reaches the device, or is kept of it."""
    return [effect for effect in effects if getattr(effect, "device", "") == device]


@pytest.mark.parametrize("before", [(), (secret(),), (reported(20), Credit(NAME, 0))], ids=["first", "asked", "own"])
@pytest.mark.parametrize("case", MESSAGES)
def test_what_is_said_of_anothers_collection_is_answered_as_if_it_were_not_shared(
    case: str, before: tuple[Wire, ...]
) -> None:
    told: list[list[Effect]] = []
    for shared in ((SECRET,), ()):
        house = House(shared)
        house.follows(A)
        house.follows(C, 20, collection=SECRET)
        effects = house.says(A, *before) + house.says(A, MESSAGES[case])
        for events in LATER.values():
            for event in events:
                effects += seen_by(A, house.hears(event))
        effects += house.says(A, Credit(SECRET, 1), reported(20), secret(20))
        told.append(effects)
    assert told[0] == told[1]


@pytest.mark.parametrize("later", LATER)
def test_nothing_that_happens_to_anothers_collection_reaches_a_device_that_asked_for_it(later: str) -> None:
    house = House()
    house.follows(A)
    house.says(A, secret(10))
    house.follows(C, 10, collection=SECRET)
    for event in LATER[later]:
        assert seen_by(A, house.hears(event)) == []


def test_a_devices_collections_end_at_the_same_bound_whosever_they_are() -> None:
    for shared in ((SECRET,), ()):
        house = House(shared)
        house.follows(A)
        names = (SECRET, OTHER, "made-up")
        assert not any(of_kind(house.says(A, asked(20, collection=name)), CloseLink) for name in names)
        (close,) = of_kind(house.says(A, asked(20, collection="one-more")), CloseLink)
        assert close.code == "too-large"


def test_a_device_cannot_make_the_store_begin_a_new_epoch_by_anothers_collection() -> None:
    house = House()
    house.greets(A)
    assert house.says(A, secret(99)) == []
    assert house.engine.renewing == ""


# ---------------------------------------------------------------- who gets what


def welcome(house: House, device: str) -> Welcome:
    (found,) = of_kind(sent_to(device, house.greets(device)), Welcome)
    return found


def test_each_device_is_welcomed_with_the_collections_of_its_users() -> None:
    house = House()
    told = [(one.user, one.collections) for one in (welcome(house, device) for device in (A, B, C))]
    assert told == [
        ("ada", (OTHER, NAME)),
        ("bob", (OTHER, SECRET, NAME)),
        ("bob", (SECRET,)),
    ]


def test_a_device_without_a_user_is_welcomed_with_nothing_and_gets_nothing() -> None:
    house = House()
    house.engine.users = {}
    assert (welcome(house, A).user, welcome(house, A).collections) == ("ada", ())
    assert house.says(A, asked(10), secret(10), reported(10)) == []


def test_a_collection_that_names_no_user_is_the_engines() -> None:
    assert House().engine.owners == {NAME: "ada", OTHER: "ada", SECRET: "bob"}


def test_each_device_gets_what_is_committed_for_its_users() -> None:
    house = House()
    house.follows(A)
    house.follows(C, 10, collection=SECRET)
    house.follows(B)
    house.says(B, secret(10))
    read = of_secret(chunk(10, 20, base=10))
    assert house.hears(read) == [SendFrame(device, read.frame, SECRET) for device in (B, C)]
    frames = of_kind(house.hears(chunk(10, 20, base=10)), SendFrame)
    assert [one.device for one in frames] == [A, B]


# ---------------------------------------------------------------- links change


def linked_with_both() -> House:
    """B follows both users' collections; a read of each is under way."""
    house = House()
    house.follows(B)
    house.says(B, secret(10))
    house.says(B, reported(10), reported(10, collection=SECRET))
    return house


def test_a_device_whose_users_changed_comes_again_without_a_fault_and_at_once() -> None:
    (close,) = of_kind(linked_with_both().engine.relink(B, ["ada"]), CloseLink)
    assert close == CloseLink(B, "", close.text, at_once=True)
    assert close.text


@pytest.mark.parametrize("later", LATER)
def test_from_then_on_nothing_of_a_user_who_was_taken_away_leaves(later: str) -> None:
    house = linked_with_both()
    house.engine.relink(B, ["ada"])
    effects = [effect for event in LATER[later] for effect in house.hears(event)]
    effects += house.says(B, Credit(SECRET, 5), secret(10), reported(20, collection=SECRET))
    effects += house.hears(EpochMoved("epoch-2"))
    assert seen_by(B, effects) == []


@pytest.mark.parametrize("later", LATER)
def test_what_the_sync_database_no_longer_says_ends_although_the_link_stays(later: str) -> None:
    """The links are looked up with each step, whatever was begun before."""
    house = linked_with_both()
    house.engine.users[B] = ("ada",)
    effects = [effect for event in LATER[later] for effect in house.hears(event)]
    assert seen_by(B, effects) == []


def test_a_read_that_waits_for_others_too_goes_to_them_only() -> None:
    house = linked_with_both()
    house.follows(C, 10, collection=SECRET)
    house.engine.relink(B, ["ada"])
    read = of_secret(chunk(10, 20, base=10))
    assert house.hears(read) == [SendFrame(C, read.frame, SECRET)]


def test_a_device_that_comes_again_while_its_old_read_is_under_way_does_not_get_it() -> None:
    house = linked_with_both()
    house.engine.relink(B, ["ada"])
    house.hears(LinkDown(B, "closed"))
    assert welcome(house, B).collections == (OTHER, NAME)
    assert house.says(B, secret(10)) == []
    assert house.hears(of_secret(chunk(10, 20, base=10))) == []


def test_a_user_who_is_added_brings_the_collections_with_the_next_link() -> None:
    house = House()
    house.follows(A)
    house.says(A, secret(10))
    assert len(house.engine.relink(A, ["ada", "bob"])) == 1
    assert house.says(A, secret(10)) == [], "the link is about to close"
    house.hears(LinkDown(A, "closed"))
    assert welcome(house, A).collections == (OTHER, SECRET, NAME)
    assert [type(message) for message in sent_to(A, house.says(A, secret(10)))] == [Types, Begin]


def test_links_that_are_as_they_were_close_nothing() -> None:
    house = linked_with_both()
    assert house.engine.relink(B, ["bob", "ada"]) == []
    assert of_kind(house.hears(chunk(10, 20, base=10)), SendFrame)


@pytest.mark.parametrize("adapter", ["msgpack", "json"])
def test_a_device_that_was_not_welcomed_yet_is_welcomed_as_it_is_linked_then(adapter: str) -> None:
    house = House()
    house.hears(LinkUp(B))
    if adapter == "json":  # its adapter is being written
        house.says(B, hello("json"))
    assert house.engine.relink(B, ["bob"]) == []
    effects = house.hears(AdapterSaved(B, "json")) if adapter == "json" else house.says(B, hello())
    (found,) = of_kind(sent_to(B, effects), Welcome)
    assert (found.user, found.collections) == ("bob", (SECRET,))


def test_a_device_that_is_away_is_relinked_in_silence() -> None:
    house = House()
    assert house.engine.relink(B, []) == []
    assert welcome(house, B).collections == ()


def test_a_collection_that_another_user_gets_is_taken_from_the_devices_of_the_first() -> None:
    house = linked_with_both()
    house.follows(A, 20)
    effects = house.engine.share(NAME, "bob")
    assert [close.device for close in of_kind(effects, CloseLink)] == [A, B]
    house.hears(LinkDown(A, ""), LinkDown(B, ""))
    assert (welcome(house, A).collections, welcome(house, B).collections) == ((OTHER,), (OTHER, SECRET, NAME))


def test_a_user_with_another_name_keeps_devices_and_collections() -> None:
    house = linked_with_both()
    house.engine.rename_user("bob", "eve")
    house.engine.rename_user("ada", "grace")
    assert of_kind(house.hears(of_secret(chunk(10, 20, base=10))), SendFrame), "no link is closed"
    assert (house.engine.user, house.engine.users[B]) == ("grace", ("eve", "grace"))
    assert (welcome(house, A).user, welcome(house, C).collections) == ("grace", (SECRET,))
    house.engine.share("more")
    assert house.engine.owners["more"] == "grace"


# ---------------------------------------------------------------- what people see


def shown(house: House, device: str) -> list[object]:
    (line,) = primary_devices(house.engine, [DeviceLine(device, "till", True, "")], house.now, lambda key: "")
    collections = line["collections"]
    assert isinstance(collections, list)
    return [collection["name"] for collection in collections]


def test_the_status_of_a_device_tells_of_its_users_collections_only() -> None:
    house = linked_with_both()
    house.greets(A)
    house.says(A, reported(10), reported(10, collection=SECRET))
    assert shown(house, A) == [NAME]
    assert shown(house, B) == [SECRET, NAME]
    house.engine.relink(B, ["ada"])
    assert shown(house, B) == [NAME]
    house.engine.relink(B, ["ada", "bob"])
    assert shown(house, B) == [NAME], "it says anew where it stands"


def test_a_device_that_is_not_let_in_says_why() -> None:
    house = House()
    lines = [
        DeviceLine(A, "till", False, "", users=("ada",)),
        DeviceLine(B, "desk", False, "", revoked="2026-01-01T00:00:00+00:00"),
        DeviceLine(C, "laptop", False, "", copied="2026-01-01T00:00:00+00:00"),
    ]
    told = primary_devices(house.engine, lines, house.now, lambda key: "")
    assert [one["users"] for one in told] == [["ada"], [], []]
    assert [str(one["reason"])[:12] for one in told] == ["", "it is cut of", "two machines"]


# ---------------------------------------------------------------- names of devices


def test_a_device_that_calls_itself_something_else_is_known_by_that_name() -> None:
    play = Play()
    renamed: Hello = replace(hello(), name="tablet")
    effects = play.hears(LinkUp(A), Received(A, renamed, b""))
    assert of_kind(effects, SaveName) == [SaveName(A, "tablet")]
    assert of_kind(sent_to(A, effects), Welcome), "it need not wait"
    assert play.hears(NameSaved(A, "tablet")) == []
    play.hears(LinkDown(A, ""))
    assert of_kind(play.hears(LinkUp(A), Received(A, renamed, b"")), SaveName) == []


def test_a_name_that_could_not_be_written_is_ordered_with_the_next_greeting() -> None:
    play = Play()
    for _ in range(2):
        effects = play.hears(LinkUp(A), Received(A, replace(hello("json"), name="tablet"), b""))
        assert of_kind(effects, SaveName) == [SaveName(A, "tablet")]
        play.hears(LinkDown(A, ""))


def test_a_device_that_is_refused_gets_no_other_name() -> None:
    play = Play()
    effects = play.hears(LinkUp(A), Received(A, replace(hello("pigeon"), name="tablet"), b""))
    assert of_kind(effects, SaveName) == []
