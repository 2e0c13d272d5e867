"""One peer's conversation as a table: which message may come in which phase (protocol order, R15).

A pair of phase and message that is not in the table is the peer's fault and closes the link (``OrderError``).
"""

from __future__ import annotations

from enum import Enum

from syncd.core.errors import OrderError, Refused
from syncd.core.messages import (
    PROTOCOL_VERSIONS,
    Begin,
    Credit,
    Follow,
    Hello,
    Objects,
    Offer,
    Pace,
    Refusal,
    Report,
    Taken,
    Terms,
    Types,
    Upload,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.model import Role


class Phase(Enum):
    GREETING = "greeting"
    OPEN = "open"
    CLOSED = "closed"


# (our role, phase, message that comes) -> next phase
TABLE: dict[tuple[Role, Phase, type[Wire]], Phase] = {
    (Role.PRIMARY, Phase.GREETING, Hello): Phase.OPEN,
    (Role.PRIMARY, Phase.GREETING, Refusal): Phase.CLOSED,
    (Role.PRIMARY, Phase.OPEN, Follow): Phase.OPEN,
    (Role.PRIMARY, Phase.OPEN, Credit): Phase.OPEN,
    (Role.PRIMARY, Phase.OPEN, Report): Phase.OPEN,
    (Role.PRIMARY, Phase.OPEN, Offer): Phase.OPEN,
    (Role.PRIMARY, Phase.OPEN, Upload): Phase.OPEN,
    (Role.PRIMARY, Phase.OPEN, Pace): Phase.OPEN,
    (Role.PRIMARY, Phase.OPEN, Refusal): Phase.CLOSED,
    (Role.AUXILIARY, Phase.GREETING, Welcome): Phase.OPEN,
    (Role.AUXILIARY, Phase.GREETING, Refusal): Phase.CLOSED,
    (Role.AUXILIARY, Phase.OPEN, Types): Phase.OPEN,
    (Role.AUXILIARY, Phase.OPEN, Begin): Phase.OPEN,
    (Role.AUXILIARY, Phase.OPEN, Objects): Phase.OPEN,
    (Role.AUXILIARY, Phase.OPEN, Terms): Phase.OPEN,
    (Role.AUXILIARY, Phase.OPEN, Taken): Phase.OPEN,
    (Role.AUXILIARY, Phase.OPEN, Verdicts): Phase.OPEN,
    (Role.AUXILIARY, Phase.OPEN, Pace): Phase.OPEN,
    (Role.AUXILIARY, Phase.OPEN, Refusal): Phase.CLOSED,
}


def advance(role: Role, phase: Phase, message: Wire) -> Phase:
    """The phase after ``message`` came. Raises OrderError where the table has no such pair."""
    try:
        return TABLE[role, phase, type(message)]
    except KeyError:
        name = type(message).__name__
        raise OrderError(f"the peer sent {name} to a {role} in phase {phase.value}") from None


def choose_version(offered: tuple[int, ...]) -> int:
    """The highest protocol version that both ends speak. Raises Refused."""
    common = sorted(set(offered) & set(PROTOCOL_VERSIONS))
    if not common:
        ours = ", ".join(map(str, PROTOCOL_VERSIONS))
        theirs = ", ".join(map(str, offered)) or "none"
        raise Refused(f"this device speaks protocol version {ours}, the peer {theirs}", code="version")
    return common[-1]
