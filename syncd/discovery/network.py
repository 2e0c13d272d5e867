"""Watches this machine's network: interfaces and addresses that come and go, and sleep.

The kernel tells of changes (rtnetlink); where it cannot be asked, and in any case now and then, the interfaces are
read and compared. Changes in a row are one; a network that flaps is reported ever more rarely. After sleep it may be
any other network, whatever the interfaces say. Owns its socket and its timers; has no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence

from syncd.core.settings import Limits, back_off
from syncd.discovery.interfaces import Interface, choose, read

_log = logging.getLogger(__name__)
_GROUPS = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NEWLINK, _DELLINK, _DELADDR = 16, 17, 21
_RUNNING = 0x40
_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BBHiI")  # of ifinfomsg: family, -, type, index, flags
_ADDRESS = struct.Struct("=BBBBI")  # of ifaddrmsg: family, prefix, flags, scope, index
_READ_BYTES = 65536
_READS_MAX = 64  # in a row; the rest is read in the loop's next round
_TICK_S = 1.0
_SLEPT_S_MIN = 1.0
_FLAPPING_S_MAX = 3.0  # between two changes that are reported


def slept_s() -> float:
    """How long this machine has slept since it started."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class Network:
    """``chosen``: the interfaces to multicast on; ``known``: all that are not excluded. ``on_change(renew)`` is called
    when ``known`` changed, with True if what was opened on ``chosen`` is to be opened again. ``on_tick`` is called
    each second. ``problem``: why the interfaces cannot be read."""

    def __init__(
        self, named: Sequence[str], excluded: Sequence[str], on_change: Callable[[bool], None], limits: Limits
    ) -> None:
        self._named = tuple(named)
        self._excluded = tuple(excluded)
        self._on_change = on_change
        self._limits = limits
        self.on_tick: Callable[[], None] = lambda: None
        self.slept_s = slept_s
        self.known: tuple[Interface, ...] = ()
        self.chosen: tuple[Interface, ...] = ()
        self.problem = ""
        self._loop = asyncio.get_running_loop()
        self._netlink: socket.socket | None = None
        self._settling: asyncio.TimerHandle | None = None
        self._ticking: asyncio.TimerHandle | None = None
        self._asleep_s = 0.0
        self._flapped = False
        self._reported_s = float("-inf")
        self._in_row = 0
        self._looked_s = 0.0

    def start(self) -> None:
        self._asleep_s = self.slept_s()
        self._netlink = _open_netlink()
        if self._netlink is not None:
            self._loop.add_reader(self._netlink, self._read_netlink)
        self._read()
        self._ticking = self._loop.call_later(_TICK_S, self._tick)

    def stop(self) -> None:
        for timer in (self._settling, self._ticking):
            if timer is not None:
                timer.cancel()
        self._close_netlink()

    def _tick(self) -> None:
        self._ticking = self._loop.call_later(_TICK_S, self._tick)
        asleep_s = self.slept_s()
        if asleep_s - self._asleep_s > _SLEPT_S_MIN:
            self._flapped = True
            self._settle()
        elif self._loop.time() - self._looked_s >= self._limits.network_poll_s:
            self._settle()
        self._asleep_s = asleep_s
        self.on_tick()

    def _read_netlink(self) -> None:
        """The kernel told of something. What it is tells only whether a link was away for a moment."""
        for _ in range(_READS_MAX):
            try:
                raw = self._netlink.recv(_READ_BYTES) if self._netlink else b""
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:  # ENOBUFS: some of it was lost; anything else will not get better
                if self._netlink is not None and error.errno != errno.ENOBUFS:
                    _log.warning("the kernel does not tell of network changes any more: %s", error)
                    self._close_netlink()
                break
            lost = set(_lost(raw))
            self._flapped |= any(interface.index in lost for interface in self.chosen)
        self._settle()

    def _settle(self) -> None:
        """Looks at the interfaces in a moment, with all that comes until then; later if it changed just before."""
        if self._settling is None:
            since_s = self._loop.time() - self._reported_s
            if since_s > self._limits.network_poll_s:
                self._in_row = 0
            pause_s = back_off(self._in_row, self._limits.network_settle_s, _FLAPPING_S_MAX) - since_s
            self._settling = self._loop.call_later(max(pause_s, self._limits.network_settle_s), self._look)

    def _look(self) -> None:
        self._settling = None
        known, chosen, problem = self.known, self.chosen, self.problem
        self._read()
        renew = self._flapped or self.chosen != chosen
        if renew or self.known != known or self.problem != problem:
            self._flapped = False
            self._reported_s = self._loop.time()
            self._in_row += 1
            self._on_change(renew)

    def _read(self) -> None:
        self._looked_s = self._loop.time()
        try:
            all_up = read()
            self.problem = ""
        except (OSError, ValueError, AssertionError) as error:  # the last two: ifaddr, of an address it cannot read
            all_up = ()
            self.problem = f"the network interfaces cannot be read ({error}): a service needs AF_NETLINK for it"
        self.known = choose(all_up, ("*",), self._excluded)
        self.chosen = choose(all_up, self._named, self._excluded)

    def _close_netlink(self) -> None:
        if self._netlink is not None:
            self._loop.remove_reader(self._netlink)
            self._netlink.close()
            self._netlink = None


@contextlib.contextmanager
def watched(on_change: Callable[[], None], limits: Limits) -> Iterator[None]:
    """Tells of changes of the network whoever looks for nobody on it."""
    network = Network((), (), lambda renew: on_change(), limits)
    network.start()
    try:
        yield
    finally:
        network.stop()


def _open_netlink() -> socket.socket | None:
    """A socket on which the kernel tells of changes, or None where there is no such thing."""
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        return None
    netlink = None
    try:
        netlink = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        netlink.bind((0, _GROUPS))
    except OSError as error:
        if netlink is not None:
            netlink.close()
        _log.info("the kernel does not tell of network changes, the interfaces are read now and then: %s", error)
        return None
    return netlink


def _lost(raw: bytes) -> Iterator[int]:
    """The indexes of interfaces that lost their carrier or an address, by the kernel's messages."""
    at = 0
    while at + _HEADER.size <= len(raw):
        length, kind, *_ = _HEADER.unpack_from(raw, at)
        body = at + _HEADER.size
        with contextlib.suppress(struct.error):
            if kind in (_NEWLINK, _DELLINK):
                _, _, _, index, flags = _LINK.unpack_from(raw, body)
                if kind == _DELLINK or not flags & _RUNNING:
                    yield index
            elif kind == _DELADDR:
                yield _ADDRESS.unpack_from(raw, body)[4]
        at += max(_HEADER.size, (length + 3) & ~3)
