"""The tree of errors: each class says whose fault it is.

Every error that reaches a person carries two sentences: what happened, to which object (``str(error)``), and what
to do about it (``advice``, may be empty). ``code`` is stable and goes into JSON, refusals and logs.
"""

from __future__ import annotations


class SyncdError(Exception):
    """The root. ``text`` says what happened, ``advice`` what to do."""

    code = "error"

    def __init__(self, text: str, advice: str = "", code: str = "") -> None:
        super().__init__(text)
        self.text = text
        self.advice = advice
        if code:
            self.code = code

    def line(self) -> str:
        """One line for a person: what happened and what to do."""
        return f"{self.text}: {self.advice}" if self.advice else self.text


class InvariantBroken(SyncdError):
    """Ours: the program contradicts itself. Never caught except to stop."""

    code = "invariant"


class UserError(SyncdError):
    """The person's: a verb, a setting or an address that cannot be followed as it is."""

    code = "usage"


class ExpressionError(UserError):
    """A selection that cannot be taken as it is written: ``start`` and ``end`` are the mistake in ``source``.

    ``text`` and the first line of ``advice`` are sentences; the advice ends in two lines that show the source and a
    caret under each character of the mistake.
    """

    code = "expression"

    def __init__(self, text: str, advice: str, source: str, start: int, end: int) -> None:
        super().__init__(_cut(text), _cut(advice) + _caret(source, start, end))
        self.start = start
        self.end = end


def _cut(text: str) -> str:
    """What a hostile source can make long."""
    return text if len(text) <= 300 else text[:300] + "…"


def _caret(source: str, start: int, end: int) -> str:
    """Two lines: at most 72 characters of the source around the mistake, and what marks it."""
    begin = max(0, min(start - 24, len(source) - 72))
    shown = "".join(letter if letter.isprintable() else " " for letter in source[begin : begin + 72])
    width = max(1, min(end, begin + 72) - start)
    left, right = "…" if begin else "", "…" if begin + 72 < len(source) else ""
    return f"\n  {left}{shown}{right}\n  {' ' * (len(left) + start - begin)}{'^' * width}"


class HomeError(UserError):
    """The home directory: missing, locked by another daemon, unreadable, written by a newer version."""

    code = "home"


class PeerError(SyncdError):
    """The peer's fault: root of what closes a link."""

    code = "peer"


class FrameError(PeerError):
    """A frame that is no message: truncated, oversized, wrong type, unknown kind, too deep, duplicate keys."""

    code = "bad-frame"


class OrderError(PeerError):
    """A message that the conversation does not allow in its state."""

    code = "bad-order"


class Refused(PeerError):
    """One end refuses the other, with a code of ``REFUSALS``. Travels as a ``Refusal`` message."""

    code = "refused"


class LinkLost(PeerError):
    """The link broke: closed, reset, timed out."""

    code = "link-lost"


class ApplicationError(SyncdError):
    """The application's side: root of what takes a collection offline or parks a group."""

    code = "application"


class ApplicationOffline(ApplicationError):
    """The application's data cannot be reached or is not what was configured (R13). Tried again later."""

    code = "offline"


class ApplicationBusy(ApplicationOffline):
    """Another program holds the lock longer than ``busy_s_max``."""

    code = "busy"


class EditsUnread(ApplicationBusy):
    """The application changed objects just now that are about to be written: its changes are read first."""

    code = "unread"


class TargetHeld(ApplicationError):
    """The target holds objects of its own; a person decides (R13)."""

    code = "held"


class DiskError(SyncdError):
    """The disk's fault: root."""

    code = "disk"


class DiskFull(DiskError):
    """No room. What was being written was rolled back; tried again later."""

    code = "disk-full"


class StoreBroken(DiskError):
    """A database of ours is damaged or unreadable. Its files are kept; nothing is recreated in silence."""

    code = "store-broken"


class SchemaTooNew(DiskError):
    """A database of ours was written by a newer syncd."""

    code = "schema-too-new"


# Code of a refusal -> what the person at the refused end can do.
REFUSALS: dict[str, str] = {
    "version": "install the same syncd version on both machines",
    "role": "an auxiliary talks to a primary only; see `syncd status` on both",
    "unknown-device": "pair this device first: `syncd pair` on the primary, `syncd pair CODE` here",
    "adapter": "set an adapter in config.toml that the primary knows (msgpack or json)",
    "bad-frame": "the peer sent what is no message; if it happens again, report it with both versions",
    "bad-order": "the peer broke the order of the protocol; if it happens again, report it with both versions",
    "too-large": "the peer sent a frame over the limit; check the versions of both",
    "token-wrong": "copy the whole line that `syncd pair --token` printed on the primary",
    "token-used": "run `syncd pair --token` on the primary again: a token works once",
    "token-expired": "run `syncd pair --token` on the primary again: a token works for five minutes",
    "code-wrong": "the words are not those of the code; run `syncd pair` on the primary again and type the code that "
    "it shows: each code can be tried once",
    "code-other": "check the number at its beginning; if it is right, run `syncd pair` on the primary again: a code "
    "can be tried once, for five minutes",
    "pairing-closed": "run `syncd pair` on the primary: what it shows works for five minutes",
    "duplicate": "a newer link of the same device took over; if this home was copied from another machine, make one of "
    "them anew with `syncd init`",
    "revoked": "a person at the primary cut this device off; to link it again: `syncd pair` there, then here "
    "`syncd pair CODE`",
    "copied": "two machines use the identity of this device: set one of them up anew in another home with "
    "`syncd init`, then `syncd devices allow NAME` on the primary",
    "stopping": "the peer is shutting down; this device tries again",
    "disk": "the peer cannot store anything; see its `syncd status`",
}
