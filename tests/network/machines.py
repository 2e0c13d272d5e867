"""Devices on the hosts of a local network: ``tests/e2e/harness.py`` with the daemon and the verbs in a namespace."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.e2e import harness, trust
from tests.network.lan import Host, Lan

RUN: tuple[str, ...] = (sys.executable, "-m", "syncd")


class Machine(harness.Machine):
    """One device, on a host. A primary listens at all addresses of its host."""

    listen = "0.0.0.0:0"

    def __init__(self, directory: Path, host: Host) -> None:
        super().__init__(directory, (*host.prefix, *RUN))
        self.host = host

    @property
    def address(self) -> str:
        """Where others reach its daemon."""
        return f"{self.host.address}:{self.port}"

    @property
    def port(self) -> int:
        return int(str(self.status()["address"]).rpartition(":")[2])

    @property
    def linked(self) -> bool:
        """Of an auxiliary: whether it has a link to its primary."""
        devices = (self.try_status() or {}).get("devices")
        return isinstance(devices, list) and any(one.get("connected") for one in devices)


def machine(lan: Lan, directory: Path, name: str) -> Machine:
    """A device on a host of its own."""
    return Machine(directory / name, lan.host(name))


def finder(lan: Lan, directory: Path, name: str) -> Machine:
    """A device that finds others, and is found, by mDNS alone."""
    made = machine(lan, directory, name)
    made.discovers = True
    return made


def pair_by_code(auxiliary: Machine, primary: Machine) -> float:
    """Without any address. Returns how much longer `syncd pair CODE` took than a verb that just asks: to start Python
    takes as long as the machine makes it."""
    code = str(primary.cli_json("pair")["code"])
    begin = time.monotonic()
    auxiliary.cli("status")
    between = time.monotonic()
    auxiliary.cli("pair", code)
    end = time.monotonic()
    auxiliary.primary = primary
    return (end - between) - (between - begin)


@contextmanager
def found(lan: Lan, directory: Path, auxiliaries: int = 1) -> Iterator[tuple[Machine, list[Machine]]]:
    """A primary and auxiliaries that found it by mDNS and were paired with it by code; whatever still runs is killed in
    the end."""

    def pair(auxiliary: Machine, primary: Machine) -> None:
        print(f"{auxiliary.name}: `syncd pair CODE` took {pair_by_code(auxiliary, primary):.2f} s")

    with _together(lan, directory, auxiliaries, finder, pair) as made:
        yield made


@contextmanager
def paired(lan: Lan, directory: Path, auxiliaries: int = 1) -> Iterator[tuple[Machine, list[Machine]]]:
    """A primary and auxiliaries that were paired with it at one address, and know no other; whatever still runs is
    killed in the end."""

    def pair(auxiliary: Machine, primary: Machine) -> None:
        trust.pair_by_code(auxiliary, primary)
        assert auxiliary.status()["address"] == primary.address

    with _together(lan, directory, auxiliaries, machine, pair) as made:
        yield made


@contextmanager
def _together(
    lan: Lan,
    directory: Path,
    auxiliaries: int,
    make: Callable[[Lan, Path, str], Machine],
    pair: Callable[[Machine, Machine], None],
) -> Iterator[tuple[Machine, list[Machine]]]:
    with ExitStack() as stack:
        primary = stack.enter_context(make(lan, directory, "primary"))
        others = [stack.enter_context(make(lan, directory, f"auxiliary-{n + 1}")) for n in range(auxiliaries)]
        harness.set_up(primary, *others)
        for auxiliary in others:
            pair(auxiliary, primary)
        yield primary, others
