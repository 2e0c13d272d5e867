"""The primary's end of one pairing exchange, by code or by token (DESIGN §7).

Nobody is accepted before it has proven the code or the token for its own certificate and for this primary's. What was
sent that is no message costs the sender nothing but its connection; a wrong proof, and an exchange by code that does
not come to its end, count as failed.
"""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from syncd.core.errors import REFUSALS, FrameError, InvariantBroken, Refused, SyncdError
from syncd.core.model import Role, device_id, show_device
from syncd.core.settings import Limits
from syncd.transport import pairing_message as message
from syncd.transport.certificate import check_certificate, fingerprint
from syncd.transport.link import Link
from syncd.transport.pairing import PairedInfo, Stranger
from syncd.transport.pairing_message import Talk
from syncd.transport.pairing_window import Ticket, Window, refused
from syncd.transport.pake import Ends, Pake, aside, confirm
from syncd.transport.token import prove

log = logging.getLogger("syncd.transport")
_TEXT_CHARS_MAX = 500  # of a refusal: whatever it quotes, the answer stays a pairing message


@dataclass(frozen=True)
class Exchange:
    """``accept`` keeps a device that has proven itself. ``begun`` is told which link gets its answer, whatever becomes
    of pairing meanwhile; ``moved`` that the window changed; ``used`` whose ticket is used up."""

    primary: bytes  # fingerprint
    window: Window
    limits: Limits
    now: Callable[[], float]
    accept: Callable[[Stranger], Awaitable[PairedInfo]]
    begun: Callable[[Link], None]
    moved: Callable[[], None]
    used: Callable[[Ticket, Stranger], None]

    async def serve(self, link: Link) -> None:
        """Answers one stranger. Raises what is not the stranger's fault, and LinkLost."""
        try:
            await self._answer(Talk(link, self.limits))
        except (FrameError, Refused) as error:
            if isinstance(error, Refused) and error.code != "code-other":  # what costs nothing fills no log
                log.warning("%s tried to pair: %s", link.address, error.text)
            code = error.code if error.code in REFUSALS else "bad-frame"
            await link.send(message.encode({"refused": code, "text": error.text[:_TEXT_CHARS_MAX]}))

    async def _answer(self, talk: Talk) -> None:
        asked = await talk.hear()
        name = message.get_name(asked, "name")
        certificate = message.get_bytes(asked, "certificate")
        check_certificate(certificate)
        device = device_id(fingerprint(certificate))
        stranger = Stranger(certificate, name, "", device, talk.link.address)
        if "number" in asked:
            await self._by_code(talk, asked, stranger)
        else:
            await self._by_token(talk, asked, stranger)

    # ------------------------------------------------------------ by code

    async def _by_code(self, talk: Talk, asked: dict[str, str], stranger: Stranger) -> None:
        offered = message.get_bytes(asked, "pake")
        ends = Ends(fingerprint(stranger.certificate), self.primary)
        ticket = self.window.take_code(message.get(asked, "number"), self.now())
        self._begin(talk.link)
        proven = False
        try:
            key = await self._agree(talk, ticket, ends, offered)
            if not ticket.taken:
                raise refused("pairing was closed meanwhile", "pairing-closed")
            proven = True
        finally:
            if not proven:
                self._failed(talk.link, ticket)
        info = await self._accept(ticket, stranger)
        proof = confirm(key, Role.PRIMARY, ends, talk.frames)
        await talk.say({"confirm": message.put_bytes(proof)} | _told(info))

    async def _agree(self, talk: Talk, ticket: Ticket, ends: Ends, offered: bytes) -> bytes:
        """The key, once the auxiliary has shown that it has the same."""
        pake, key = await aside(lambda: _meet(ticket.secret, ends, offered))
        await talk.say({"pake": message.put_bytes(pake)})
        expected = confirm(key, Role.AUXILIARY, ends, talk.frames)
        answer = await talk.hear()
        if not hmac.compare_digest(message.get_bytes(answer, "confirm"), expected):
            raise refused(f"the code {ticket.number} was guessed or typed wrongly", "code-wrong")
        return key

    # ------------------------------------------------------------ by token

    async def _by_token(self, talk: Talk, asked: dict[str, str], stranger: Stranger) -> None:
        auxiliary = fingerprint(stranger.certificate)

        def expected(secret: bytes) -> bytes:
            return prove(secret, "auxiliary", self.primary, auxiliary)

        proof = message.get_bytes(asked, "proof")
        try:
            ticket = self.window.take_token(proof, expected, auxiliary, self.now())
        except Refused as error:
            if error.code == "token-wrong":
                self._failed(talk.link)
            raise
        self._begin(talk.link)
        info = await self._accept(ticket, stranger)
        proof = prove(ticket.secret, "primary", self.primary, auxiliary)
        await talk.say({"proof": message.put_bytes(proof)} | _told(info))

    # ------------------------------------------------------------ both

    def _begin(self, link: Link) -> None:
        self.begun(link)
        self.moved()

    def _failed(self, link: Link, ticket: Ticket | None = None) -> None:
        if ticket is not None and not ticket.taken:
            return  # pairing was closed meanwhile: by a person, or by others who failed
        closed = self.window.failed(link.address, ticket)
        tried, most = self.window.tried, self.limits.pairing_tries_max
        log.warning("an exchange with %s failed (%d of %d)", link.address, len(tried), most)
        if closed:
            who = ", ".join(dict.fromkeys(tried))
            log.warning("pairing is closed after %d failed exchanges, with %s: `syncd pair` opens it", most, who)
        self._begin(link)

    async def _accept(self, ticket: Ticket, stranger: Stranger) -> PairedInfo:
        known = Stranger(stranger.certificate, stranger.name, ticket.user, stranger.device, stranger.address)
        try:
            info = await self.accept(known)
        except InvariantBroken:
            raise
        except SyncdError as error:
            raise Refused(error.text, error.advice, error.code if error.code in REFUSALS else "disk") from error
        else:
            self.window.use(ticket)
            self.used(ticket, known)
        finally:
            self.window.give_back(ticket)
            self.moved()
        log.info("paired with %s (%s), which came from %s", known.name, show_device(known.device), known.address)
        return info


def _meet(secret: bytes, ends: Ends, offered: bytes) -> tuple[bytes, bytes]:
    """The message for the auxiliary, and the key."""
    pake = Pake(Role.PRIMARY, secret, ends)
    return pake.message, pake.key(offered)


def _told(info: PairedInfo) -> dict[str, str]:
    return {"name": info.name, "user": info.user, "port": str(info.port)}
