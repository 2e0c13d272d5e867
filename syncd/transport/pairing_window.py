"""The pairing window: which tokens may still be used, and for how long. Pure: it is told the time.

A token works once and for ``pairing_s_max``. Too many wrong proofs close the window. Tokens that are over are
remembered for an hour, only to tell a person what became of theirs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from syncd.core.errors import REFUSALS, Refused
from syncd.core.settings import Limits

_REMEMBER_S = 3600.0
_TICKETS_MAX = 16  # then the oldest is forgotten


class _State(Enum):
    OPEN = auto()
    TAKEN = auto()  # an exchange is completing with it
    USED = auto()
    VOID = auto()


@dataclass(eq=False, slots=True)
class Ticket:
    """One token. ``holder``: fingerprint of the device that took it."""

    secret: bytes = field(repr=False)
    expires_s: float
    state: _State = _State.OPEN
    holder: bytes = b""


class Window:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tickets: list[Ticket] = []
        self._wrong = 0

    @property
    def wrong(self) -> int:
        """Wrong proofs since the window was opened."""
        return self._wrong

    def open(self, secret: bytes, now_s: float) -> None:
        if not self.is_open(now_s):
            self._wrong = 0
        self._tickets = [*self._remembered(now_s), Ticket(secret, now_s + self._limits.pairing_s_max)][-_TICKETS_MAX:]

    def is_open(self, now_s: float) -> bool:
        return any(ticket.state is _State.OPEN and now_s < ticket.expires_s for ticket in self._tickets)

    def answers(self, now_s: float) -> bool:
        """Whether the exchange is reachable: while a token works, and for as long again to say what became of it."""
        return any(
            ticket.state is not _State.VOID and now_s < ticket.expires_s + self._limits.pairing_s_max
            for ticket in self._tickets
        )

    def close(self) -> None:
        """No token works any longer."""
        for ticket in self._tickets:
            if ticket.state is _State.OPEN:
                ticket.state = _State.VOID

    def shut(self) -> None:
        """No token works any longer, and none is answered."""
        for ticket in self._tickets:
            ticket.state = _State.VOID

    def take(self, proof: bytes, expected: Callable[[bytes], bytes], holder: bytes, now_s: float) -> Ticket:
        """The ticket that the proof shows knowledge of; no one else can take it. Raises Refused.

        The holder may take its ticket again: the answer to its first try may have been lost.
        """
        found = None
        for ticket in self._remembered(now_s):
            if hmac.compare_digest(proof, expected(ticket.secret)):
                found = ticket
        if found is None:
            self._wrong += 1
            if self._wrong >= self._limits.pairing_tries_max:
                self.shut()
            raise _refused("no open token fits", "token-wrong")
        if found.state is _State.USED and hmac.compare_digest(found.holder, holder):
            return found
        if found.state in (_State.TAKEN, _State.USED):
            raise _refused("the token was used", "token-used")
        if found.state is _State.VOID or now_s >= found.expires_s:
            raise _refused("the token has expired", "token-expired")
        found.state, found.holder = _State.TAKEN, holder
        return found

    def use(self, ticket: Ticket) -> None:
        """The device is paired: the token is used up."""
        ticket.state = _State.USED

    def give_back(self, ticket: Ticket) -> None:
        """The exchange failed on this side: the token still works."""
        if ticket.state is _State.TAKEN:
            ticket.state, ticket.holder = _State.OPEN, b""

    def _remembered(self, now_s: float) -> list[Ticket]:
        return [ticket for ticket in self._tickets if now_s < ticket.expires_s + _REMEMBER_S]


def _refused(text: str, code: str) -> Refused:
    return Refused(text, REFUSALS[code], code)
