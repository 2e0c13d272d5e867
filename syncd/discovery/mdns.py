"""Discovery by mDNS: advertises this primary, finds others, follows the network.

One task keeps what is open and said equal to what is wanted; advertising and finding never wait for it. No fault of
the network ends it: ``problem`` says what is wrong, and it is tried again when the network changes, and now and then.
All that is heard is a hint (DESIGN §7).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Self

from zeroconf import Error, NonUniqueNameException

from syncd.core.found import Found
from syncd.core.settings import Limits
from syncd.discovery.interfaces import Address, Interface, outward
from syncd.discovery.network import Network
from syncd.discovery.record import id8_of
from syncd.discovery.seen import Heard, Kind, Seen
from syncd.discovery.station import Advertisement, Silent, Station

_log = logging.getLogger(__name__)
_ASK_FIRST_S = (0.02, 0.12)  # by chance: machines that wake together do not speak together (RFC 6762, 5.2)
_ASK_S_FIRST = 1.0
_ASK_S_MAX = 40.0  # addresses are told for 120 s: two answers may be lost
_ASK_ABOUT_MAX = 16  # primaries each second
_DOUBT_S = 5.0  # after a change of the network, for who was found to be heard again
_COPIED_RETRY_S = 30.0
_REFRESH_S = 0.1  # between two looks at what was heard
_RIVAL_S = 100.0  # another machine with our identity answers in this time if it is there
_EVERYWHERE = frozenset(("", "0.0.0.0", "::"))  # noqa: S104 (compared with, not bound)
_COPIED = (
    "another machine on the network advertises this device's identity: was the home directory copied? "
    "stop the other one and give it an identity of its own with `syncd init`"
)
_NO_INTERFACE = (
    "no network interface that discovery may use is up: connect one, or name another in `interfaces` of config.toml"
)
_NO_ADDRESS = (
    "the address that the daemon listens at is on no network that discovery may use: change `listen` in config.toml "
    "(`[::]:PORT` is all addresses, IPv6 as well), or `interfaces`"
)


def _nothing() -> None:
    pass


class MdnsDiscovery:
    """Works while the context is open. ``on_change``: what is found changed. ``on_network``: this machine's
    interfaces or addresses did, or it slept."""

    def __init__(
        self,
        on_change: Callable[[], None] = _nothing,
        on_network: Callable[[], None] = _nothing,
        interfaces: Sequence[str] = (),
        exclude: Sequence[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self._on_change = on_change
        self._on_network = on_network
        self._limits = limits or Limits()
        self._named, self._excluded = tuple(interfaces), tuple(exclude)
        self._seen = Seen(self._limits.found_max, self._limits.found_addresses_max)
        self._found: tuple[Found, ...] = ()
        self._wanted: tuple[str, int, int, str] | None = None  # what is to be advertised
        self._network: Network | None = None
        self._station: Station | None = None
        self._renew = True
        self._probed = False
        self._fault = ""
        self._said_hosts: set[str] = set()  # of ours, at any time: who says another one under our name is a copy
        self._rival_s = float("-inf")
        self._woken = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._asking: asyncio.TimerHandle | None = None
        self._ask_s = _ASK_S_FIRST
        self._refreshing: asyncio.TimerHandle | None = None
        self._refreshed_s = float("-inf")

    async def __aenter__(self) -> Self:
        self._network = Network(self._named, self._excluded, self._network_changed, self._limits)
        self._network.on_tick = self._tick
        self._network.start()
        self._keeper = asyncio.create_task(self._keep(), name="discovery")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._network is not None:
            self._network.stop()
        self._stop_asking()
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self._station is not None:
            await self._station.close(goodbye=True)
            self._station = None
        self._stop_refreshing()
        self._network = self._keeper = None

    @property
    def problem(self) -> str:
        if self._network is not None and self._network.problem:
            return self._network.problem
        rivaled = self._wanted is not None and self._rival_s > _now() - _RIVAL_S
        return self._fault or (_COPIED if rivaled else "")

    async def advertise(self, device_id: str, port: int, pairing_port: int = 0, host: str = "") -> None:
        self._wanted = (id8_of(device_id), port, pairing_port, host)
        self._seen.own = self._wanted[0]
        self._woken.set()
        self._refresh()

    async def withdraw(self) -> None:
        self._wanted = None
        self._woken.set()

    def found(self) -> tuple[Found, ...]:
        return self._found

    def want(self, device_ids: Iterable[str]) -> None:
        """These primaries are remembered whatever number of others is found."""
        self._seen.wanted = frozenset(id8_of(each) for each in device_ids)

    def ask(self) -> None:
        """Asks the network at once who is there, and then ever more rarely."""
        self._ask_s = _ASK_S_FIRST
        self._schedule_ask(random.uniform(*_ASK_FIRST_S))  # noqa: S311 (no secret)

    # ---------------------------------------------------------------- keeping what is wanted

    async def _keep(self) -> None:
        while True:
            self._woken.clear()
            pause_s = await self._bring_up()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()

    async def _bring_up(self) -> float | None:
        """Opens and says what is wanted. Returns when to try again; None: when something changes."""
        try:
            if self._renew or self._station is None:
                await self._open()
            self._fault = await self._say()
        except NonUniqueNameException:
            self._fault, self._renew, self._probed = _COPIED, True, False  # opened again: its cache remembers the other
            return _COPIED_RETRY_S
        except (OSError, Error, TimeoutError) as error:
            self._fault, self._renew = _words(error), True
            return self._limits.network_poll_s
        except Exception as error:
            _log.exception("discovery failed")
            self._fault, self._renew = f"discovery failed ({error!r}): see the daemon's log", True
            return self._limits.network_poll_s
        return None

    async def _open(self) -> None:
        assert self._network is not None
        if self._station is not None:
            await self._station.close(goodbye=False)
            self._station = None
        self._stop_asking()
        self._renew = False
        chosen = self._network.chosen
        if not chosen:
            raise Silent(_NO_INTERFACE)
        self._station = Station(chosen, self._hear, any(interface.loopback for interface in chosen))
        await self._station.start()
        self.ask()

    async def _say(self) -> str:
        """Returns why what is wanted cannot be said."""
        assert self._station is not None
        assert self._network is not None
        if self._wanted is None:
            await self._station.withdraw()
            return ""
        id8, port, pairing_port, host = self._wanted
        addresses = _advertised(self._network.chosen, host, self._limits.found_addresses_max)
        if not addresses:
            await self._station.withdraw()
            return _NO_ADDRESS
        advertisement = Advertisement(id8, port, pairing_port, addresses)
        if self._station.said != advertisement:
            self._said_hosts |= {str(address.ip) for address in addresses}
            await self._station.announce(advertisement, probe=not self._probed)
            self._probed = True
        return ""

    def _network_changed(self, renew: bool) -> None:
        if renew:
            self._renew = True
            self._seen.doubt(_now(), _DOUBT_S)
        self._woken.set()
        self._refresh()
        _call(self._on_network)

    # ---------------------------------------------------------------- asking and hearing

    def _schedule_ask(self, after_s: float) -> None:
        self._stop_asking()
        self._asking = asyncio.get_running_loop().call_later(after_s, self._ask)

    def _stop_asking(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None

    def _ask(self) -> None:
        if self._station is not None:
            self._station.ask_all(at_once=self._ask_s == _ASK_S_FIRST)
        self._schedule_ask(self._ask_s)
        self._ask_s = min(2 * self._ask_s, _ASK_S_MAX)

    def _hear(self, records: list[Heard]) -> None:
        now_s = _now()
        self._seen.hear(records, now_s)
        if self._wanted is not None and any(self._is_rival(record) for record in records):
            self._rival_s = now_s
        if self._refreshing is None:  # at once, unless packets come in a row
            after_s = max(0.0, self._refreshed_s + _REFRESH_S - now_s)
            self._refreshing = asyncio.get_running_loop().call_later(after_s, self._refresh)

    def _is_rival(self, record: Heard) -> bool:
        ours = record.id8 == self._seen.own and record.kind is Kind.ADDRESS and record.ttl_s > 0
        return ours and str(record.value).partition("%")[0] not in self._said_hosts

    def _tick(self) -> None:
        now_s = _now()
        self._seen.expire(now_s)
        if self._station is not None:
            self._station.ask_about(self._seen.incomplete(now_s)[:_ASK_ABOUT_MAX])
        self._refresh()

    def _refresh(self) -> None:
        self._stop_refreshing()
        self._refreshed_s = _now()
        near = tuple(each for interface in self._known() for each in interface.addresses)
        found = self._seen.found(self._refreshed_s, near)
        if found != self._found:
            self._found = found
            _call(self._on_change)

    def _stop_refreshing(self) -> None:
        if self._refreshing is not None:
            self._refreshing.cancel()
            self._refreshing = None

    def _known(self) -> tuple[Interface, ...]:
        return self._network.known if self._network is not None else ()


def _call(told: Callable[[], None]) -> None:
    """In the loop's next round: whoever is told may do what it likes, and its faults are its own."""
    asyncio.get_running_loop().call_soon(told)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _advertised(chosen: Iterable[Interface], host: str, at_most: int) -> tuple[Address, ...]:
    """The addresses to tell of a listener that is bound to ``host``: those towards far networks first, as a machine may
    have any number of networks that nobody else is on; then IPv4, link-local last."""
    addresses = {address for interface in chosen for address in interface.addresses}
    if host == "0.0.0.0":  # noqa: S104 (compared with, not bound)
        addresses = {address for address in addresses if address.version == 4}
    elif host not in _EVERYWHERE:
        with contextlib.suppress(ValueError):  # a name: it may be any of them
            bound = ip_address(host.partition("%")[0])
            addresses = {address for address in addresses if address.ip == bound}
    far = outward()
    ordered = sorted(addresses, key=lambda one: (one.ip not in far, one.version, one.is_link_local, int(one.ip)))
    return tuple(ordered[:at_most])


def _words(error: Exception) -> str:
    """What is wrong, and what to do."""
    if isinstance(error, Silent):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return (
            "UDP port 5353 is held by a program that does not share it: stop it or let it share the port (avahi: "
            "disallow-other-stacks=no), or tell the addresses by hand"
        )
    return (
        f"multicast cannot be used ({str(error) or type(error).__name__}): check the firewall and the service's sandbox"
    )
