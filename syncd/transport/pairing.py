"""Pairing: what is told of it, and the auxiliary's end of both exchanges (DESIGN §7).

By token, the auxiliary checks the primary's certificate before it sends anything. By code, it believes nobody before it
has checked the primary's confirmation, which only the primary that shows the code can make, and only for the
certificate that this device saw. A code is tried once: until this device has said its own confirmation, what answers
learns nothing of the code but its number, and another place may be tried; from then on it can compare one guess of the
words, and whatever becomes of the exchange ends the pairing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from websockets.asyncio.client import ClientConnection

from syncd.core.errors import REFUSALS, FrameError, LinkLost, PeerError, Refused, SyncdError, UserError
from syncd.core.model import Role, device_id
from syncd.core.settings import Limits
from syncd.transport import pairing_message as message
from syncd.transport.address import format_address, kept, parse_address
from syncd.transport.certificate import check_certificate, fingerprint
from syncd.transport.code import Code
from syncd.transport.link import Link, peer_certificate
from syncd.transport.pairing_message import Talk
from syncd.transport.pake import Ends, Pake, aside, confirm
from syncd.transport.tls import stranger_context
from syncd.transport.token import Token, prove
from syncd.transport.websocket import PAIR_PATH, Call, open_websocket

_ELSEWHERE = frozenset(("code-other", "unknown-device"))  # what answers there is another primary, or another device
_NO_PLACE = "give the address that `syncd pair` on the primary shows: `syncd pair CODE --address HOST:PORT`"


@dataclass(frozen=True, slots=True)
class PairedInfo:
    """What the primary tells a device that it has accepted: its own name, the user, the port of its main listener."""

    name: str
    user: str
    port: int


@dataclass(frozen=True, slots=True)
class Stranger:
    """A device that has proven a code or token. ``user``: for whom that was opened. ``address``: where it came from."""

    certificate: bytes = field(repr=False)
    name: str
    user: str
    device: str
    address: str


def _anyone(device: str) -> None:
    """Any primary will do."""


@dataclass(frozen=True, slots=True)
class Own:
    """This device. ``may`` raises UserError for a primary (its id) that it must not pair with: before anything of the
    code or token is spent."""

    certificate: bytes = field(repr=False)
    name: str
    may: Callable[[str], None] = _anyone


@dataclass(frozen=True, slots=True)
class Paired:
    """What the auxiliary keeps: whom it pinned, and where to dial, the place that answered first."""

    primary_certificate: bytes = field(repr=False)
    device: str
    name: str
    user: str
    addresses: tuple[str, ...]


class Spent(Refused):
    """A code was tried and came to nothing: it must not be tried again, here or elsewhere."""


async def pair_by_code(own: Own, code: Code, places: Sequence[str], limits: Limits) -> Paired:
    """Pairs this device with the primary that shows the code, at whichever of the places that is.

    Raises Refused (Spent where the code was tried), LinkLost, FrameError, or UserError where there is no place.
    """

    async def meet(talk: Talk, primary: bytes) -> dict[str, str]:
        ends = Ends(fingerprint(own.certificate), check_certificate(primary))
        pake = await aside(lambda: Pake(Role.AUXILIARY, code.secret, ends))
        offered = message.put_bytes(pake.message)
        await talk.say({"number": code.number} | _presented(own) | {"pake": offered})
        answer = await _hear(talk)
        shown = message.get_bytes(answer, "pake")
        key = await aside(lambda: pake.key(shown))
        return await _confirmed(talk, key, ends)

    return await _pair(places, _Way(lambda shown: shown is not None, own.may, meet), limits)


async def _confirmed(talk: Talk, key: bytes, ends: Ends) -> dict[str, str]:
    """What the primary says last, once both have proven that they have the code. Raises Spent for anything else."""
    try:
        await talk.say({"confirm": message.put_bytes(confirm(key, Role.AUXILIARY, ends, talk.frames))})
        expected = confirm(key, Role.PRIMARY, ends, talk.frames)
        answer = await _hear(talk)
        shown = message.get_bytes(answer, "confirm")
    except LinkLost as error:
        raise Spent(f"the exchange with {talk.link.address} broke off", REFUSALS["code-wrong"], error.code) from error
    except PeerError as error:
        raise Spent(error.text, error.advice or REFUSALS["code-wrong"], error.code) from error
    if not hmac.compare_digest(shown, expected):
        text = f"what answers at {talk.link.address} did not prove that it shows this code"
        raise Spent(text, "another device may stand between: pair with another code", "code-wrong")
    return answer


async def pair_by_token(own: Own, token: Token, limits: Limits) -> Paired:
    """The same with the primary that made the token, at whichever of its addresses that answers."""

    def is_right(shown: bytes | None) -> bool:
        return shown is not None and hmac.compare_digest(fingerprint(shown), token.fingerprint)

    async def meet(talk: Talk, primary: bytes) -> dict[str, str]:
        auxiliary = fingerprint(own.certificate)
        proof = prove(token.secret, "auxiliary", token.fingerprint, auxiliary)
        await talk.say(_presented(own) | {"proof": message.put_bytes(proof)})
        answer = await _hear(talk)
        expected = prove(token.secret, "primary", token.fingerprint, auxiliary)
        if not hmac.compare_digest(message.get_bytes(answer, "proof"), expected):
            raise FrameError(f"the primary at {talk.link.address} did not prove that it made the token")
        return answer

    return await _pair(token.addresses, _Way(is_right, own.may, meet), limits)


def _presented(own: Own) -> dict[str, str]:
    return {"name": own.name, "certificate": message.put_bytes(own.certificate)}


# ---------------------------------------------------------------- at whichever place


class _Way(NamedTuple):
    """``is_right``: whether a certificate may be the primary's. ``may``: see ``Own``. ``meet`` carries the exchange
    out, and returns what the primary told once it has proven itself."""

    is_right: Callable[[bytes | None], bool]
    may: Callable[[str], None]
    meet: Callable[[Talk, bytes], Awaitable[dict[str, str]]]


async def _pair(places: Sequence[str], way: _Way, limits: Limits) -> Paired:
    """Tries each place, whatever went wrong at the others: one of them may be held by somebody else. Raises the failure
    that says most."""
    failures: list[tuple[int, SyncdError]] = []
    elsewhere: set[str] = set()
    async with contextlib.aclosing(_opened(places, way, limits)) as opened:
        async for place, websocket in opened:
            try:
                if isinstance(websocket, SyncdError):
                    raise websocket
                return await _meet(place, websocket, way, limits, [one for one in places if one not in elsewhere])
            except Spent:
                raise
            except (PeerError, UserError) as error:
                failures.append((_says(error, isinstance(websocket, SyncdError)), error))
                if error.code in _ELSEWHERE:
                    elsewhere.add(place)
    if not failures:
        raise UserError("no address is known where pairing is open", _NO_PLACE)
    raise max(failures, key=lambda failure: failure[0])[1]


def _says(error: SyncdError, unopened: bool) -> int:
    """How much a failure says about why no place paired."""
    if error.code in _ELSEWHERE:
        return 2
    if not unopened:
        return 3
    return 1 if error.code == "pairing-closed" else 0


async def _opened(
    places: Sequence[str], way: _Way, limits: Limits
) -> AsyncGenerator[tuple[str, ClientConnection | SyncdError]]:
    """A websocket to each place, or why there is none, as they come; a place that has not answered for a while gets
    company by the next. Those that were not taken are closed."""
    waiting, calls = list(places), dict[asyncio.Task[ClientConnection | SyncdError], str]()
    try:
        while waiting or calls:
            if waiting:
                place = waiting.pop(0)
                calls[asyncio.create_task(_call(place, way, limits), name=f"pair at {place}")] = place
            pause_s = limits.dial_next_s if waiting else None
            done, _ = await asyncio.wait(calls, timeout=pause_s, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                yield calls.pop(task), task.result()
    finally:
        for task in calls:
            task.cancel()
        for late in await asyncio.gather(*calls, return_exceptions=True):
            if isinstance(late, ClientConnection):
                late.transport.abort()


async def _call(place: str, way: _Way, limits: Limits) -> ClientConnection | SyncdError:
    try:
        return await open_websocket(Call(place, PAIR_PATH, stranger_context(), way.is_right), limits)
    except (PeerError, UserError) as error:
        return error


async def _meet(place: str, websocket: ClientConnection, way: _Way, limits: Limits, places: Sequence[str]) -> Paired:
    link = Link(websocket, "", limits)
    try:
        primary = peer_certificate(websocket) or b""
        device = device_id(fingerprint(primary))
        way.may(device)
        told = await way.meet(Talk(link, limits), primary)
        name, user = message.get_name(told, "name"), message.get_name(told, "user")
        addresses = _main(place, places, message.get_port(told, "port"))
        return Paired(primary, device, name, user, addresses)
    except LinkLost as error:
        raise LinkLost(f"the exchange with {place} broke off", "pair again, with another code or token") from error
    finally:
        await link.close()


def _main(answered: str, places: Sequence[str], port: int) -> tuple[str, ...]:
    """Where the primary's main listener is, by the places of the pairing listener."""
    hosts = []
    for place in places:
        with contextlib.suppress(UserError):  # what is written there is no address
            hosts.append(parse_address(place)[0])
    return kept(format_address(parse_address(answered)[0], port), [format_address(host, port) for host in hosts])


async def _hear(talk: Talk) -> dict[str, str]:
    """The primary's next message. Raises Refused where it refuses."""
    answer = await talk.hear()
    if "refused" in answer:
        code = answer["refused"] if answer["refused"] in REFUSALS else "bad-frame"
        raise Refused(f"the primary at {talk.link.address} refused to pair ({code})", REFUSALS[code], code)
    return answer
