"""Devices that are found on the network: the value, and the port of discovery.

A hint about where to dial, never about whom to believe (DESIGN §7): whoever answers there still has to show the
certificate that was paired.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

ID_CHARS = 8  # of a device id are told to the network


@dataclass(frozen=True, slots=True)
class Found:
    """A primary that advertises itself.

    ``id8``: the first characters of its device id, upper case as device ids are. ``addresses``: HOST:PORT of its
    listener (IPv6 in brackets, link-local with %scope), the best first, bounded. ``pairing``: the same hosts with the
    port where it pairs, empty unless pairing is open there.
    """

    id8: str
    addresses: tuple[str, ...]
    pairing: tuple[str, ...]


class Discovery(Protocol):
    """Discovery. Nothing in it waits for the network, and no fault of the network ends it: ``problem`` tells."""

    @property
    def problem(self) -> str:
        """Why discovery does not work, in words for people, with what to do; empty when it works."""
        ...

    async def advertise(self, device_id: str, port: int, pairing_port: int = 0, host: str = "") -> None:
        """This device is a primary that listens at the port, and pairs at the other unless that is 0. Told again with
        other values, the advertisement changes at once. ``host``: what the listener is bound to ("": everything)."""
        ...

    async def withdraw(self) -> None:
        """This device is no primary any more. Others are told."""
        ...

    def found(self) -> tuple[Found, ...]:
        """The primaries that are seen at this moment, by id. This device is not among them."""
        ...

    def want(self, device_ids: Iterable[str]) -> None:
        """These primaries are remembered whatever number of others is found."""
        ...

    def ask(self) -> None:
        """Asks the network at once who is there. Not for a loop: it is not damped."""
        ...
