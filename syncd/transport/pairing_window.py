"""The pairing window: which codes and tokens may still be used, and for how long. Pure: it is told the time.

A code or token works once and for ``pairing_s_max``. A code is burnt by the first exchange that names it, whatever
becomes of that; ``pairing_tries_max`` failed exchanges void all that is open. What is over is remembered for an hour,
only to tell a person what became of it.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto

from syncd.core.errors import REFUSALS, Refused
from syncd.core.settings import Limits

_REMEMBER_S = 3600.0
_TICKETS_MAX = 16  # then the oldest is void, and forgotten


class _State(Enum):
    OPEN = auto()
    TAKEN = auto()  # an exchange is under way with it
    USED = auto()
    VOID = auto()


class Over(StrEnum):
    """Why a code or token works no more."""

    USED = "used"
    EXPIRED = "expired"
    CLOSED = "closed"  # by a person, by the end of the daemon, or because too many exchanges failed
    WRONG = "wrong"  # a code only: an exchange with it failed
    FAILED = "failed"  # a code only: the device proved it, and could not be accepted


@dataclass(eq=False, slots=True)
class Ticket:
    """One code or token. ``user``: for whom it was opened. ``number``: of a code; a token has none. ``holder``:
    fingerprint of the device that took it."""

    secret: bytes = field(repr=False)
    user: str
    expires_s: float
    number: str = ""
    state: _State = _State.OPEN
    holder: bytes = b""
    over: Over | None = None

    @property
    def taken(self) -> bool:
        return self.state is _State.TAKEN

    def void(self, why: Over) -> None:
        if self.state in (_State.OPEN, _State.TAKEN):
            self.state, self.over = _State.VOID, why


class Window:
    """``tried``: who failed since pairing was opened."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._tickets: list[Ticket] = []
        self.tried: list[str] = []

    def open(self, secret: bytes, user: str, now_s: float, number: str = "") -> Ticket:
        if not self.is_open(now_s):
            self.tried = []
        ticket = Ticket(secret, user, now_s + self._limits.pairing_s_max, number)
        tickets = [*self._remembered(now_s), ticket]
        for forgotten in tickets[:-_TICKETS_MAX]:
            forgotten.void(Over.CLOSED)
        self._tickets = tickets[-_TICKETS_MAX:]
        return ticket

    def knows(self, number: str) -> bool:
        """Whether this was the number of a code not long ago."""
        return any(ticket.number == number for ticket in self._tickets)

    def is_open(self, now_s: float) -> bool:
        """Whether somebody may begin an exchange. A token that is taken may come back."""
        return any(
            (ticket.state is _State.OPEN and now_s < ticket.expires_s) or (ticket.taken and not ticket.number)
            for ticket in self._tickets
        )

    def expire(self, now_s: float) -> None:
        for ticket in self._tickets:
            if ticket.state is _State.OPEN and now_s >= ticket.expires_s:
                ticket.void(Over.EXPIRED)

    def expires_s(self) -> float | None:
        """When the next code or token expires."""
        return min((ticket.expires_s for ticket in self._tickets if ticket.state is _State.OPEN), default=None)

    def close(self) -> None:
        """No code or token works any longer."""
        for ticket in self._tickets:
            ticket.void(Over.CLOSED)

    def take_code(self, number: str, now_s: float) -> Ticket:
        """The open code of this number, which nobody can take from here on. Raises Refused, which costs no try."""
        self.expire(now_s)
        for ticket in self._tickets:
            if ticket.state is _State.OPEN and ticket.number and ticket.number == number:
                ticket.state = _State.TAKEN
                return ticket
        raise refused("no open code has this number", "code-other")

    def take_token(self, proof: bytes, expected: Callable[[bytes], bytes], holder: bytes, now_s: float) -> Ticket:
        """The token that the proof shows knowledge of; no one else can take it. Raises Refused.

        The holder may take its token again: the answer to its first try may have been lost.
        """
        self.expire(now_s)
        found = None
        for ticket in self._remembered(now_s):
            if not ticket.number and hmac.compare_digest(proof, expected(ticket.secret)):
                found = ticket
        if found is None:
            raise refused("no open token fits", "token-wrong")
        if found.state is _State.USED and hmac.compare_digest(found.holder, holder):
            return found
        if found.state in (_State.TAKEN, _State.USED):
            raise refused("the token was used", "token-used")
        if found.state is _State.VOID:
            raise refused("the token has expired", "token-expired")
        found.state, found.holder = _State.TAKEN, holder
        return found

    def use(self, ticket: Ticket) -> None:
        """The device is accepted: its code or token is used up."""
        ticket.state, ticket.over = _State.USED, Over.USED

    def give_back(self, ticket: Ticket) -> None:
        """The device proved it, and could not be accepted: a token still works, a code does not."""
        if ticket.number:
            ticket.void(Over.FAILED)
        elif ticket.taken:
            ticket.state, ticket.holder = _State.OPEN, b""

    def failed(self, who: str, ticket: Ticket | None = None) -> bool:
        """An exchange failed, with this code or with no token. Returns whether that closed pairing."""
        if ticket is not None:
            ticket.void(Over.WRONG)
        self.tried.append(who)
        if len(self.tried) < self._limits.pairing_tries_max:
            return False
        self.close()
        return True

    def _remembered(self, now_s: float) -> list[Ticket]:
        return [ticket for ticket in self._tickets if now_s < ticket.expires_s + _REMEMBER_S]


def refused(text: str, code: str) -> Refused:
    return Refused(text, REFUSALS[code], code)
