"""Pairing by token: the exchange at ``/pair``, both ends (DESIGN §7).

The auxiliary checks the primary's certificate against the token before it sends anything, then proves that it knows
the token's secret for both fingerprints; the primary proves the same in its answer. The primary pins the auxiliary's
certificate only after the proof, and durably before it answers (commit, then send).
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from syncd.core.errors import REFUSALS, FrameError, InvariantBroken, LinkLost, PeerError, Refused, SyncdError, UserError
from syncd.core.model import device_id, show_device
from syncd.core.settings import Limits
from syncd.transport import pairing_message as message
from syncd.transport.certificate import check_certificate, fingerprint
from syncd.transport.link import Link, peer_certificate
from syncd.transport.pairing_window import Ticket, Window
from syncd.transport.tls import stranger_context
from syncd.transport.token import SECRET_BYTES, Token, prove
from syncd.transport.websocket import PAIR_PATH, Call, open_websocket

log = logging.getLogger("syncd.transport")
_TEXT_CHARS_MAX = 500  # of a refusal: whatever it quotes, the answer stays a pairing message

# ---------------------------------------------------------------- primary


@dataclass(frozen=True, slots=True)
class PairedInfo:
    """What the primary tells a device that it has accepted: its own name and the user."""

    name: str
    user: str


class Pairing:
    """The primary's end. ``accept`` keeps a device durably: (certificate, name) -> PairedInfo."""

    def __init__(
        self,
        primary: bytes,
        limits: Limits,
        accept: Callable[[bytes, str], Awaitable[PairedInfo]],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._primary = primary  # fingerprint
        self._limits = limits
        self._accept = accept
        self._now = now
        self._window = Window(limits)

    def open(self) -> bytes:
        """The secret of one more token."""
        secret = secrets.token_bytes(SECRET_BYTES)
        self._window.open(secret, self._now())
        return secret

    def is_open(self) -> bool:
        return self._window.is_open(self._now())

    def answers(self) -> bool:
        """Whether a stranger may reach the exchange, be it to be refused."""
        return self._window.answers(self._now())

    def close(self) -> None:
        """Voids the tokens that were not used."""
        self._window.close()

    async def serve(self, link: Link, admit: Callable[[bytes], object]) -> None:
        """Answers one stranger. ``admit`` lets a certificate pass from the next handshake on."""
        try:
            answer = await self._answer(link, admit)
        except (FrameError, Refused) as error:
            if isinstance(error, Refused):  # whoever sends what is no message fills no log
                self._tell(link.address, error)
            answer = {
                "refused": error.code if error.code in REFUSALS else "bad-frame",
                "text": error.text[:_TEXT_CHARS_MAX],
            }
        await link.send(message.encode(answer))

    def _tell(self, address: str, error: Refused) -> None:
        """The log says who tried what, for the person at the primary."""
        if error.code != "token-wrong":
            log.warning("%s tried to pair: %s", address, error.text)
            return
        tries, most = self._window.wrong, self._limits.pairing_tries_max
        log.warning("a wrong proof from %s (%d of %d)", address, tries, most)
        if tries >= most:
            log.warning("pairing is closed after %d wrong proofs: `syncd pair --token` opens it again", tries)

    async def _answer(self, link: Link, admit: Callable[[bytes], object]) -> dict[str, str]:
        asked = await _receive(link, self._limits)
        name = message.get_name(asked, "name")
        certificate = message.get_bytes(asked, "certificate")
        auxiliary = check_certificate(certificate)
        ticket = self._take(message.get_bytes(asked, "proof"), auxiliary)
        try:
            info = await self._accept(certificate, name)
        except InvariantBroken:
            raise
        except SyncdError as error:
            raise Refused(error.text, error.advice, error.code if error.code in REFUSALS else "disk") from error
        else:
            self._window.use(ticket)
        finally:
            self._window.give_back(ticket)
        admit(certificate)
        log.info("paired with %s (%s), which came from %s", name, show_device(device_id(auxiliary)), link.address)
        proof = prove(ticket.secret, "primary", self._primary, auxiliary)
        return {"name": info.name, "user": info.user, "proof": message.put_bytes(proof)}

    def _take(self, proof: bytes, auxiliary: bytes) -> Ticket:
        def expected(secret: bytes) -> bytes:
            return prove(secret, "auxiliary", self._primary, auxiliary)

        return self._window.take(proof, expected, auxiliary, self._now())


# ---------------------------------------------------------------- auxiliary


@dataclass(frozen=True, slots=True)
class Paired:
    """What the auxiliary keeps: whom it pinned, and where it was reached."""

    primary_certificate: bytes
    device: str
    name: str
    user: str
    address: str


async def pair(certificate: bytes, name: str, token: Token, limits: Limits) -> Paired:
    """Pairs this device (certificate, name) with the primary that made the token, at the first address that answers.

    Raises Refused, LinkLost, FrameError, or UserError where the token holds no address.
    """
    failure: PeerError | None = None
    for address in token.addresses:
        try:
            return await _pair_at(address, certificate, name, token, limits)
        except LinkLost as error:
            failure = failure or error
        except Refused as error:
            if error.code != "unknown-device":  # what answers there is another device; the primary may be elsewhere
                raise
            failure = error
    raise failure or UserError("the token holds no address", "give one: `syncd pair TOKEN --address HOST:PORT`")


async def _pair_at(address: str, certificate: bytes, name: str, token: Token, limits: Limits) -> Paired:
    def is_right(shown: bytes | None) -> bool:
        return shown is not None and hmac.compare_digest(fingerprint(shown), token.fingerprint)

    websocket = await open_websocket(Call(address, PAIR_PATH, stranger_context(), is_right), limits)
    primary = peer_certificate(websocket) or b""
    link = Link(websocket, device_id(token.fingerprint), limits)
    try:
        auxiliary = fingerprint(certificate)
        proof = prove(token.secret, "auxiliary", token.fingerprint, auxiliary)
        asked = {"name": name, "certificate": message.put_bytes(certificate), "proof": message.put_bytes(proof)}
        await link.send(message.encode(asked))
        answer = await _receive(link, limits)
        _check_answer(answer, address, prove(token.secret, "primary", token.fingerprint, auxiliary))
        return Paired(primary, link.device, message.get_name(answer, "name"), message.get_name(answer, "user"), address)
    finally:
        await link.close()


def _check_answer(answer: dict[str, str], address: str, expected: bytes) -> None:
    if "refused" in answer:
        code = answer["refused"] if answer["refused"] in REFUSALS else "bad-frame"
        raise Refused(f"the primary at {address} refused to pair ({code})", REFUSALS[code], code)
    if not hmac.compare_digest(message.get_bytes(answer, "proof"), expected):
        raise FrameError(f"the primary at {address} did not prove that it made the token")


async def _receive(link: Link, limits: Limits) -> dict[str, str]:
    try:
        async with asyncio.timeout(limits.hello_s_max):
            return message.decode(await link.receive())
    except TimeoutError as error:
        raise LinkLost(f"{link.address} said nothing for {limits.hello_s_max:g} s") from error
