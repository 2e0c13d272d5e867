"""A group that closes is sealed with what is read, where nothing before it holds it up (R10)."""

from __future__ import annotations

from dataclasses import replace

from syncd.core import uplink as uplinks
from syncd.core.effects import Send, SendFrame
from syncd.core.messages import Offer
from syncd.core.upward_effects import HoldUploads, TakeUploads, WaitLocal
from syncd.core.upward_events import LocalRead, UploadsTaken
from tests.core.kit import NAME
from tests.core.target_play import PRIMARY
from tests.core.uplink_play import BOTH, FRAME, OUT, ROOM, answered, held, read


def test_what_is_closed_while_nothing_else_waits_is_sealed_at_once() -> None:
    play = answered()
    assert play.hears(read(held(0))) == [WaitLocal(NAME, TakeUploads(NAME, 0, "msgpack", ROOM), 1)]
    sends = play.hears(LocalRead(NAME, held(1), more=False, taken=UploadsTaken(NAME, 0, 1, (b"frame",))))
    assert sends == [SendFrame(PRIMARY, b"frame", NAME), WaitLocal(NAME, TakeUploads(NAME, 1, "msgpack", ROOM - 5), 1)]


def test_what_is_closed_while_frames_of_those_before_it_are_taken_is_sealed_at_once_as_well() -> None:
    play = answered(last=1)
    assert play.hears(read(held(1))) == [WaitLocal(NAME, TakeUploads(NAME, 1, "msgpack", ROOM), 1)]
    assert play.hears(UploadsTaken(NAME, 0, 1, (FRAME,))) == [SendFrame(PRIMARY, FRAME, NAME)]
    sends = play.hears(LocalRead(NAME, held(2), more=False, taken=UploadsTaken(NAME, 1, 2, (b"frame",))))
    assert sends[0] == SendFrame(PRIMARY, b"frame", NAME)
    busy = answered(last=1)
    assert busy.hears(read(held(2))) == [WaitLocal(NAME, link=1)], "one of those before it is not being taken yet"


def test_what_was_taken_after_frames_that_are_not_there_yet_does_not_leave_before_them() -> None:
    play = answered(last=1)
    play.hears(read(held(1)))
    early = play.hears(LocalRead(NAME, held(2), more=False, taken=UploadsTaken(NAME, 1, 2, (b"frame",))))
    assert not [one for one in early if isinstance(one, SendFrame)]
    later = play.hears(UploadsTaken(NAME, 0, 1, (FRAME,)))
    assert later == [SendFrame(PRIMARY, FRAME, NAME), TakeUploads(NAME, 1, "msgpack", ROOM - 60)]


def test_what_was_taken_beyond_the_window_is_taken_again_by_what_is_left_of_it() -> None:
    play = answered(last=1)
    play.hears(read(held(1)), UploadsTaken(NAME, 0, 1, (FRAME,)))
    effects = play.hears(LocalRead(NAME, held(3), more=False, taken=UploadsTaken(NAME, 1, 3, (FRAME,))))
    assert (play.uplink.sent, play.uplink.sealed) == (1, 3)
    assert effects[0] == TakeUploads(NAME, 1, "msgpack", ROOM - 60)


def test_what_was_taken_for_a_link_that_is_over_does_not_leave() -> None:
    play = answered()
    play.uplink = uplinks.link_down(play.uplink)
    taken = UploadsTaken(NAME, 0, 1, (b"frame",))
    assert play.hears(LocalRead(NAME, held(1), more=False, taken=taken)) == [WaitLocal(NAME, link=2)]
    assert play.uplink.sealed == 1


def test_what_was_to_be_taken_with_the_next_edit_stays_where_the_primary_says_that_nothing_may_leave() -> None:
    play = answered()
    play.uplink = replace(play.uplink, keep_edits=True)
    play.hears(read(held(0)))
    assert play.says(OUT) == [HoldUploads(NAME, 2)], "it is not taken, unless it was by then"
    effects = play.hears(LocalRead(NAME, held(1), more=False, taken=UploadsTaken(NAME, 0, 1, (b"frame",))))
    assert effects == [WaitLocal(NAME, link=2)]
    assert play.says(BOTH) == [Send(PRIMARY, Offer(NAME, "box", 1, 1))], "all that waits is offered"
