"""An auxiliary's way to its primary: finding it, pairing with it, dialing it, and knowing when it is over (DESIGN §7).

Owns which primary this device follows, the dialer and what is heard by mDNS. What is heard is a hint about where to
dial; the certificate that was paired says who answers. A pairing that the primary has forgotten leaves no trace here.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

from syncd.core.devices import Device
from syncd.core.errors import REFUSALS, DiskError, LinkLost, PeerError, Refused, SyncdError, UserError
from syncd.core.found import Discovery, Found
from syncd.core.model import Role, show_device
from syncd.rooms import Rooms, log
from syncd.transport.code import Code
from syncd.transport.code import parse as parse_code
from syncd.transport.dialer import Dialer, dial
from syncd.transport.link import Link
from syncd.transport.pairing import Own, Paired, Spent, pair_by_code, pair_by_token
from syncd.transport.token import looks_like_token
from syncd.transport.token import parse as parse_token

FIND_S_MAX = 10.0  # for a primary that pairs to be heard
FIND_MORE_S_MAX = 2.0  # for another one, where that which was heard was not it
FIRST_LINK_S_MAX = 5.0  # after pairing; then it is told that it is still to come
SETTLE_S = 1.0  # between two looks at a link because the network or what is heard on it changed
ADDRESSES_MAX = 8  # of the primary that are kept
_PASSED_OVER = frozenset(("code-other", "pairing-closed", "unknown-device"))  # another primary may be the one


class PrimaryLink:
    """``open`` recalls the primary, ``run`` keeps a link to it until it is cancelled. ``carry`` holds a link for as
    long as it lives and says why it ended."""

    def __init__(self, rooms: Rooms, carry: Callable[[Link], Awaitable[str]]) -> None:
        self.primary: Device | None = None
        self.dialer = Dialer(self._dial, self.addresses, rooms.limits, random.Random(), settle=self._settle)  # noqa: S311 (jitter)
        self.discovery: Discovery | None = None
        self._rooms = rooms
        self._carry = carry
        self._link: Link | None = None
        self._known = asyncio.Event()
        self._heard = asyncio.Event()  # what is found changed
        self._moved = asyncio.Event()  # so did the network, or where the primary is found
        self._changed = asyncio.Event()  # linked, unlinked, or another primary
        self._where: tuple[Found, ...] = ()
        self._deciding = asyncio.Lock()  # which primary is followed, and whether it still is

    async def open(self, stack: AsyncExitStack) -> None:
        await self._know()
        if self.primary is not None and self.primary.revoked_us:
            text = f"{self.primary.shown} cut this device off"
            self.dialer.failure = Refused(text, REFUSALS["revoked"], "revoked")
        if self._rooms.discover is not None:
            self.discovery = await stack.enter_async_context(self._rooms.discover(self._on_found, self._moved.set))
            await self._know()
        elif self._rooms.watch is not None:
            stack.enter_context(self._rooms.watch(self._moved.set))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_linked(), name="dialer")
            group.create_task(self._look_when_moved(), name="network")

    async def _know(self) -> None:
        self.primary = await self._rooms.database.primary()
        self._where = self._found()
        if self.primary is not None:
            self._known.set()
            if self.discovery is not None:
                self.discovery.want([self.primary.id])
        self._changed.set()

    # ------------------------------------------------------------ the link

    @property
    def linked(self) -> bool:
        return self._link is not None

    async def _keep_linked(self) -> None:
        await self._known.wait()
        async for link in self.dialer.links():
            if self.primary is None or link.device != self.primary.id:
                continue  # paired with another one meanwhile
            await self._rooms.seen(link.device)
            await self._keep_address(self.primary)
            if link.device != self.primary.id:
                continue
            self._link = link
            self._changed.set()
            name = self.primary.shown
            log.info("linked with %s (%s) at %s", name, link.device[:8], link.address)
            try:
                reason = await self._carry(link)
            finally:
                self._link = None
            log.info("unlinked from %s (%s): %s", name, link.device[:8], reason)
            await self._rooms.seen(link.device)
            await self._know()

    async def _keep_address(self, primary: Device) -> None:
        """The address that answered is the first to be dialed from here on."""
        at = self.dialer.at
        if not at or primary.addresses[:1] == (at,):
            await self._know()
            return
        others = tuple(one for one in primary.addresses if one != at)
        try:
            await self._rooms.database.set_addresses(primary.id, (at, *others)[:ADDRESSES_MAX])
        except DiskError as error:
            log.warning("%s", error.line())
        await self._know()

    async def _settle(self) -> None:
        """There is no link: whether that is final, and whether the primary ever knew this device."""
        async with self._deciding:
            if self.primary is not None and await self._is_over(self.primary):
                await self._know()

    async def _is_over(self, primary: Device) -> bool:
        """Keeps durably what the primary said for good; whether it said such a thing."""
        database = self._rooms.database
        try:
            if self.dialer.over and not primary.revoked_us:
                await database.revoke(primary.id, self._rooms.ports.wall_us())
                log.warning("%s cut this device off: it dials no more", primary.shown)
            elif self.dialer.unknown and not primary.last_seen_us:
                await database.forget(primary.id)
                log.warning("%s forgot the pairing before it was complete: pair again", primary.shown)
            else:
                failure = self.dialer.failure
                if failure is not None and failure.code == "unknown-device" and not primary.last_seen_us:
                    self.dialer.hint()  # it is soon sure, however long nobody answered before
                return False
        except DiskError as error:
            log.warning("%s", error.line())
            return False
        return True

    async def _dial(self, address: str) -> Link:
        primary = self.primary
        if primary is None:
            raise LinkLost("this device is paired with no primary", "`syncd pair` there, `syncd pair CODE` here")
        return await dial(self._rooms.home.identity, address, primary.certificate, self._rooms.limits)

    def addresses(self) -> tuple[str, ...]:
        """Where the primary is dialed: where it was last, where it is heard, where a person said, where else it was."""
        primary = self.primary
        if primary is None:
            return ()
        heard = [address for one in self._found() for address in one.addresses]
        places = (*primary.addresses[:1], *heard, *self._rooms.config.addresses, *primary.addresses[1:])
        return tuple(dict.fromkeys(places))

    # ------------------------------------------------------------ what is heard

    def _found(self) -> tuple[Found, ...]:
        """What seems to be the primary that is followed."""
        primary = self.primary
        if primary is None or self.discovery is None:
            return ()
        return tuple(one for one in self.discovery.found() if one.id8 and primary.id.startswith(one.id8))

    def _on_found(self) -> None:
        self._heard.set()
        if self._where != (where := self._found()):
            self._where = where
            self._moved.set()

    async def _look_when_moved(self) -> None:
        """A link may be dead without a sign where the network, or the place of the primary, changed."""
        while True:
            await self._moved.wait()
            self._moved.clear()
            link = self._link
            if link is not None and not await link.answers(self._rooms.limits.alive_s_max):
                log.info("the link to %s does not answer any more", link.address)
                link.abort()
            self.dialer.hint()
            await asyncio.sleep(SETTLE_S)

    # ------------------------------------------------------------ pairing

    async def meet(self, shown: str, address: str, may: Callable[[str], None]) -> Paired:
        """The pairing exchange with what the primary showed, a code or a token. ``may`` raises UserError for a primary
        that this device must not pair with. Nothing is kept. Raises UserError or PeerError."""
        rooms, limits = self._rooms, self._rooms.limits
        own = Own(rooms.identity.certificate_der, rooms.config.name, may)
        if looks_like_token(shown) or "@" in shown:  # no code has that
            token = parse_token(shown)
            return await pair_by_token(own, token.at(address) if address else token, limits)
        code = parse_code(shown)
        if address:
            return await pair_by_code(own, code, (address,), limits)
        if self.discovery is None:
            raise UserError("this device looks for nobody (no discovery)", "add --address HOST:PORT, as shown there")
        return await self._search(own, code, self.discovery)

    async def _search(self, own: Own, code: Code, discovery: Discovery) -> Paired:
        """Tries each primary that is heard to pair, until one shows this code. Whoever announces whatever meanwhile,
        it ends in time."""
        tried: set[tuple[str, ...]] = set()
        failure: SyncdError | None = None
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + FIND_S_MAX
        discovery.ask()
        while True:
            self._heard.clear()
            for places in [one.pairing for one in discovery.found() if one.pairing and one.pairing not in tried]:
                tried.add(places)
                try:
                    return await pair_by_code(own, code, places, self._rooms.limits)
                except PeerError as error:
                    if isinstance(error, Spent) or (isinstance(error, Refused) and error.code not in _PASSED_OVER):
                        raise
                    until_s = until_s if failure else now_s() + FIND_MORE_S_MAX
                    failure = failure or error
            if now_s() >= until_s:
                raise failure or self._nobody(discovery)
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until_s):
                    await self._heard.wait()

    def _nobody(self, discovery: Discovery) -> LinkLost:
        why = f" ({discovery.problem})" if discovery.problem else ""
        return LinkLost(
            f"no primary that pairs is heard on this network{why}",
            "run `syncd pair` there and use its code while it is open, or add --address HOST:PORT as shown there",
        )

    async def follow(self, paired: Paired) -> bool:
        """That primary is followed from here on, durably. Whether the first link came; until then the primary knows of
        this device in passing only. Raises Refused where it has forgotten it."""
        rooms = self._rooms
        user = await rooms.database.ensure_user(paired.user)
        record = Device(
            paired.device,
            paired.name,
            Role.PRIMARY.value,
            paired.primary_certificate,
            rooms.config.adapter,
            paired.addresses[:ADDRESSES_MAX],
            rooms.ports.wall_us(),
            0,
        )
        async with self._deciding:
            await rooms.database.link(user, record)
            await self._know()
            if self._link is not None:
                self._link.abort()  # of another primary; or it is welcomed anew, perhaps for another user
            self.dialer.wake()
        log.info("paired with %s (%s), at %s", paired.name, show_device(paired.device), paired.addresses[0])
        return await self._first_link(paired)

    async def _first_link(self, paired: Paired) -> bool:
        try:
            async with asyncio.timeout(FIRST_LINK_S_MAX):
                while not (self._link is not None and self._link.device == paired.device):
                    if self.primary is None or self.primary.id != paired.device:
                        raise Refused(
                            f"{paired.name} forgot the pairing before it was complete",
                            "run `syncd pair` there again, and `syncd pair CODE` here",
                            "unknown-device",
                        )
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True
