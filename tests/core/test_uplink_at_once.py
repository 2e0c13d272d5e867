"""A group that closes is sealed with what is read, where nothing before it holds it up (R10)."""

from __future__ import annotations

from syncd.core import uplink as uplinks
from syncd.core.effects import SendFrame
from syncd.core.upward_effects import TakeUploads, WaitLocal
from syncd.core.upward_events import LocalRead, UploadsTaken
from tests.core.kit import NAME
from tests.core.target_play import PRIMARY
from tests.core.uplink_play import FRAME, ROOM, answered, held, read


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
