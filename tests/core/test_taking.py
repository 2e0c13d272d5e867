"""Terms of collections, and whose changes are taken (R9): the primary's engine with its intakes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from syncd.core.edits import Direction, Policy
from syncd.core.effects import CloseLink, ReadChunk, Send
from syncd.core.events import LinkDown, Received, SourceFailed, SourceRead, Tick
from syncd.core.messages import Begin, Made, Offer, Taken, Terms, Types, Upload, Verdict
from syncd.core.model import Span
from syncd.core.upward_effects import ReadVerdicts, StageUpload, WriteNow, WriteUploads
from syncd.core.upward_events import UploadStaged, UploadsWritten, VerdictsRead, WrittenSettled
from tests.core.kit import CITY, COUNTRY, LIMITS, NAME, of_kind, store_state
from tests.core.primary_play import OTHER, A, B, Play, asked, sent_to

OFFER = Offer(NAME, "box", 1, 1)
UPLOAD = Upload(NAME, "box", 0, (Made(1, 0, 1, True, False),), b"\x02", [1], [b"k"], [b"b"], [b"f"])
TWO_WAY = (Direction.BOTH, Policy.NEWEST)


def two_way() -> Play:
    """Changes of the collection travel both ways; nothing waits to be written."""
    play = Play()
    play.engine.set_terms(NAME, *TWO_WAY)
    play.hears(UploadsWritten(NAME, 0, ()))
    return play


def test_a_device_is_told_the_terms_of_all_it_may_have_after_its_welcome() -> None:
    play = two_way()
    play.engine.share(OTHER)
    told = [one for one in sent_to(A, play.greets(A)) if isinstance(one, Terms)]
    assert told == [Terms(OTHER, "out", "primary"), Terms(NAME, "both", "newest")]


def test_terms_that_change_and_collections_that_come_in_are_told_at_once() -> None:
    play = Play()
    play.greets(A)
    assert play.engine.set_terms(NAME, *TWO_WAY) == [Send(A, Terms(NAME, "both", "newest"))]
    assert play.engine.set_terms(NAME, *TWO_WAY) == [], "nothing changed"
    assert Send(A, Terms(OTHER, "out", "primary")) in play.engine.share(OTHER)


def test_a_device_may_have_another_direction_than_all_others() -> None:
    play = two_way()
    play.greets(A)
    play.greets(B)
    told = play.engine.set_terms(NAME, *TWO_WAY, {A: Direction.OUT})
    assert told == [Send(A, Terms(NAME, "out", "newest"))], "the others have what they had"
    (write,) = of_kind(play.hears(UploadStaged(A, NAME, "box", 1, 0)), WriteUploads)
    assert (write.silent, A in write.devices) == (frozenset((A,)), True)
    back = play.engine.set_terms(NAME, Direction.OUT, Policy.NEWEST, {A: Direction.BOTH})
    assert back == [Send(A, Terms(NAME, "both", "newest")), Send(B, Terms(NAME, "out", "newest"))]


def test_a_device_that_only_sends_is_described_to_and_sent_nothing_while_others_are() -> None:
    play = two_way()
    play.engine.set_terms(NAME, *TWO_WAY, {A: Direction.IN})
    assert Types(NAME, (CITY, COUNTRY)) in sent_to(A, play.greets(A))
    play.greets(B)
    assert not of_kind(play.says(A, asked(10)), ReadChunk)
    assert of_kind(play.says(B, asked(10)), ReadChunk)
    answered = sent_to(A, play.engine.set_terms(NAME, *TWO_WAY))
    assert any(isinstance(one, Begin) for one in answered), "it is answered when changes go down to it again"


def test_a_collection_of_another_user_has_no_terms_for_a_device() -> None:
    play = Play()
    play.greets(A)
    assert of_kind(play.engine.share(OTHER, "bob"), Send) == []


def test_what_only_comes_from_devices_is_described_to_them_and_not_sent() -> None:
    play = Play()
    play.engine.set_terms(NAME, Direction.IN, Policy.PRIMARY)
    described = Types(NAME, (CITY, COUNTRY))
    assert described in sent_to(A, play.greets(A))
    assert not of_kind(play.says(A, asked(10)), ReadChunk)
    assert not any(isinstance(one, Begin) for one in sent_to(A, play.grows(30)))
    turned = sent_to(A, play.engine.set_terms(NAME, *TWO_WAY))
    assert any(isinstance(one, Begin) for one in turned), "it is answered when changes go down again"


def test_an_offer_and_what_follows_it_are_passed_to_the_collection() -> None:
    play = two_way()
    play.greets(A)
    assert play.says(A, OFFER) == [ReadVerdicts(A, NAME, "box", 1)]
    assert play.hears(VerdictsRead(A, NAME, "box", 0, ())) == [Send(A, Taken(NAME, "box", 0, 0))]
    assert play.says(A, UPLOAD) == [StageUpload(A, NAME, UPLOAD, b"")]
    effects = play.hears(UploadStaged(A, NAME, "box", 1, 0))
    assert of_kind(effects, WriteUploads) == [
        WriteUploads(NAME, 0, frozenset(), Policy.NEWEST, frozenset((A, B, "C" * 52)))
    ]


def test_what_was_not_offered_closes_the_link() -> None:
    play = two_way()
    play.greets(A)
    assert of_kind(play.says(A, UPLOAD), CloseLink)[0].code == "bad-order"


@pytest.mark.parametrize("message", [OFFER, UPLOAD])
def test_what_a_device_sends_of_a_collection_that_it_may_not_have_is_passed_over(message: Offer | Upload) -> None:
    play = two_way()
    play.engine.users[A] = ("bob",)
    play.greets(A)
    assert play.says(A, message) == []


def test_groups_of_a_device_that_was_taken_away_are_written_for_nobody() -> None:
    play = two_way()
    play.engine.relink(A, ["bob"])
    (write,) = of_kind(play.hears(UploadStaged(A, NAME, "box", 1, 0)), WriteUploads)
    assert A not in write.devices


def test_nothing_is_written_while_the_application_is_away() -> None:
    play = two_way()
    play.hears(SourceFailed(NAME, "it is locked"))
    assert of_kind(play.hears(UploadStaged(A, NAME, "box", 1, 0), Tick()), WriteUploads) == []
    play.now += 60.0
    play.hears(Tick())
    assert of_kind(play.store(store_state(20)), WriteUploads) != []


def test_a_log_that_was_lost_makes_the_application_be_asked_again() -> None:
    play = two_way()
    play.hears(SourceRead(NAME, store_state(20), False, True, False))
    assert play.engine.intakes[NAME].cursor == 0
    assert play.engine.intakes[NAME].more or play.engine.intakes[NAME].phase.value == "writing"


def test_a_device_that_left_must_offer_again() -> None:
    play = two_way()
    play.greets(A)
    play.says(A, OFFER)
    play.hears(LinkDown(A, ""))
    play.greets(A)
    assert of_kind(play.says(A, UPLOAD), CloseLink) != []


def test_a_collection_that_is_shared_again_goes_on_with_what_its_devices_sent() -> None:
    play = two_way()
    play.greets(A)
    play.says(A, OFFER)
    play.hears(VerdictsRead(A, NAME, "box", 0, ()))
    play.says(A, UPLOAD)
    assert of_kind(play.hears(UploadStaged(A, NAME, "box", 1, 0)), WriteUploads)
    play.hears(SourceFailed(NAME, "it was replaced"))
    play.engine.share(NAME)
    assert play.hears(UploadsWritten(NAME, 1, ())) == [], "what came of the former application does not count"
    (write,) = of_kind(play.store(store_state(20)), WriteUploads)
    assert write.after == 0, "from the beginning of the queue"
    second = replace(UPLOAD, runs=(Made(2, 0, 1, True, False),))
    assert of_kind(play.says(A, second), CloseLink) == []


def test_what_waits_of_a_device_in_memory_goes_when_it_is_cut_off() -> None:
    play = two_way()
    play.greets(A)
    play.says(A, OFFER)
    play.hears(VerdictsRead(A, NAME, "box", 4, ()))
    large = replace(UPLOAD, runs=(Made(5, 0, 1, True, False),))
    small = replace(UPLOAD, runs=(Made(6, 0, 1, True, False),))
    play.hears(Received(A, large, b"." * (LIMITS.upload_direct_bytes_max + 1)))
    assert play.says(A, small) == [], "it waits for the large one"
    assert [one.device for one in of_kind(play.engine.cut_off(A), CloseLink)] == [A]
    assert play.says(A, small) == []
    play.hears(UploadStaged(A, NAME, "box", 5, LIMITS.upload_direct_bytes_max + 1))
    assert of_kind(play.hears(UploadsWritten(NAME, 0, ())), WriteNow) == []


def test_what_a_device_made_itself_it_may_hold_before_it_says_so() -> None:
    play = two_way()
    play.greets(A)
    verdict = Verdict(1, "accepted", 9, "", "", b"", 0)
    play.hears(WrittenSettled(NAME, {A: ("box", (verdict,))}))
    epoch = store_state().epoch
    assert play.engine.reaches.spans[A, NAME] == {epoch: Span(0, 9)}
