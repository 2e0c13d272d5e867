"""The twin of discovery in memory: an ``Air`` that machines share, without sockets and without waiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Self

from syncd.core.found import Found
from syncd.discovery.record import id8_of

_COPIED = "another machine on the network advertises this device's identity"


def _nothing() -> None:
    pass


class Air:
    """A network: who is on it sees who advertises on it."""

    def __init__(self) -> None:
        self._on_it: list[MemoryDiscovery] = []

    def join(self, discovery: MemoryDiscovery) -> None:
        self._on_it.append(discovery)
        self.changed()

    def leave(self, discovery: MemoryDiscovery) -> None:
        if discovery in self._on_it:
            self._on_it.remove(discovery)
        self.changed()

    def changed(self) -> None:
        said = [each.said for each in self._on_it if each.said is not None]
        for each in list(self._on_it):
            each.hear(said)


class MemoryDiscovery:
    """``hosts``: the addresses of this machine, the best first. ``move`` gives it others, on another network or none:
    as if it was carried there."""

    def __init__(
        self,
        air: Air | None,
        on_change: Callable[[], None] = _nothing,
        on_network: Callable[[], None] = _nothing,
        hosts: Sequence[str] = ("127.0.0.1",),
    ) -> None:
        self._air = air
        self._on_change = on_change
        self._on_network = on_network
        self._hosts = tuple(hosts)
        self._open = False
        self._wanted: tuple[str, int, int, str] | None = None
        self._found: tuple[Found, ...] = ()
        self._copied = False

    async def __aenter__(self) -> Self:
        self._open = True
        self._join()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        if self._air is not None:
            self._air.leave(self)

    @property
    def problem(self) -> str:
        if self._air is None:
            return "no network interface that discovery may use is up"
        return _COPIED if self._copied else ""

    @property
    def said(self) -> Found | None:
        """What the others see of this machine."""
        if self._wanted is None:
            return None
        id8, port, pairing_port, host = self._wanted
        hosts = [each for each in self._hosts if host in ("", "0.0.0.0", "::", each)]  # noqa: S104 (compared with)
        return Found(id8, _at(hosts, port), _at(hosts, pairing_port) if pairing_port else ()) if hosts else None

    async def advertise(self, device_id: str, port: int, pairing_port: int = 0, host: str = "") -> None:
        self._wanted = (id8_of(device_id), port, pairing_port, host)
        self._say()

    async def withdraw(self) -> None:
        self._wanted = None
        self._say()

    def found(self) -> tuple[Found, ...]:
        return self._found

    def want(self, device_ids: Iterable[str]) -> None:
        """Nobody is passed over here."""

    def ask(self) -> None:
        """Everything is known here."""

    def move(self, air: Air | None, hosts: Sequence[str]) -> None:
        if self._air is not None:
            self._air.leave(self)
        self._air, self._hosts = air, tuple(hosts)
        self.hear([])
        self._join()
        self._on_network()

    def hear(self, said: Sequence[Found]) -> None:
        """All that is said on the network."""
        own = self._wanted[0] if self._wanted else ""
        self._copied = sum(each.id8 == own for each in said) > 1
        found = tuple(sorted({each.id8: each for each in said if each.id8 != own}.values(), key=lambda each: each.id8))
        if found != self._found:
            self._found = found
            self._on_change()

    def _join(self) -> None:
        if self._air is not None and self._open:
            self._air.join(self)

    def _say(self) -> None:
        if self._air is not None and self._open:
            self._air.changed()


def _at(hosts: Sequence[str], port: int) -> tuple[str, ...]:
    return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)
