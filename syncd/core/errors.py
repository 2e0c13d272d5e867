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
    "unknown-device": "pair this device first: `syncd pair --token` on the primary, `syncd pair TOKEN` here",
    "adapter": "set an adapter in config.toml that the primary knows (msgpack or json)",
    "bad-frame": "the peer sent what is no message; if it happens again, report it with both versions",
    "bad-order": "the peer broke the order of the protocol; if it happens again, report it with both versions",
    "too-large": "the peer sent a frame over the limit; check the versions of both",
    "token-wrong": "copy the whole line that `syncd pair --token` printed on the primary",
    "token-used": "run `syncd pair --token` on the primary again: a token works once",
    "token-expired": "run `syncd pair --token` on the primary again: a token works for ten minutes",
    "pairing-closed": "run `syncd pair --token` on the primary first",
    "duplicate": "a newer link of the same device took over; if this home was copied from another machine, make one of "
    "them anew with `syncd init`",
    "stopping": "the peer is shutting down; this device tries again",
    "disk": "the peer cannot store anything; see its `syncd status`",
}
