"""The avahi daemon on a host of a local network, with a message bus of its own, and what it sees there.

Debian's packages: avahi-daemon, avahi-utils (``scripts/network-tools``). Its fixed directory below /run and its
services below /etc are covered for it alone, so that several run at a time and none meets the machine's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.network.lan import Host
from tests.wait import eventually_blocking

_NEEDED = ("avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon")
_SBIN = "/usr/sbin:/sbin"
_START_S_MAX = 60.0

_AVAHI = """
[server]
host-name={name}
use-ipv4=yes
use-ipv6=yes
[wide-area]
enable-wide-area=no
[rlimits]
"""
_BUS = """
<busconfig>
  <type>system</type>
  <listen>unix:path={directory}/bus</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/><allow user="*"/>
  </policy>
</busconfig>
"""
# `ip netns exec` gave this shell mounts of its own.
_RUN = """
mkdir -p /run/avahi-daemon
mount -t tmpfs tmpfs /run/avahi-daemon
mount -t tmpfs tmpfs /etc/avahi/services
exec avahi-daemon --file {directory}/avahi.conf --no-drop-root --no-chroot --no-proc-title
"""


def why_no_avahi() -> str:
    """What is missing; empty if avahi can be run."""
    missing = [name for name in _NEEDED if shutil.which(name, path=f"{os.environ.get('PATH', '')}:{_SBIN}") is None]
    return f"there is no {', '.join(missing)} (scripts/network-tools installs avahi)" if missing else ""


@dataclass(frozen=True, slots=True)
class Service:
    """One that avahi resolved. ``text``: the TXT record as avahi-browse prints it."""

    name: str
    host: str
    address: str
    port: int
    text: str


class Avahi:
    """Runs from entry to exit; its configuration and log are in ``directory``."""

    def __init__(self, host: Host, directory: Path) -> None:
        self.host = host
        self.log = directory / "avahi.log"
        self._directory = directory
        self._environment = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={directory}/bus"}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        directory = self._directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "avahi.conf").write_text(_AVAHI.format(name=self.host.name))
        (directory / "bus.conf").write_text(_BUS.format(directory=directory))
        with contextlib.ExitStack() as stack:
            self._stack = stack
            self._begin("dbus-daemon", "--nofork", "--nopidfile", f"--config-file={directory}/bus.conf")
            eventually_blocking((directory / "bus").exists, _START_S_MAX, "the message bus is there")
            self._begin("sh", "-euc", _RUN.format(directory=directory))
            eventually_blocking(self._runs, _START_S_MAX, f"avahi runs: {self.log}")
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def publish(self, name: str, kind: str, port: int, *text: str) -> None:
        """Announces a service from here until exit."""
        self._begin("avahi-publish", "-s", name, kind, str(port), *text)

    def services(self, kind: str) -> list[Service]:
        """What avahi knows of this kind of service at this moment, with the addresses."""
        said = self._call("avahi-browse", "--resolve", "--parsable", "--terminate", kind)
        found = []
        for line in said.splitlines():
            if line.startswith("="):
                _, _, _, name, _, _, host, address, port, text = line.split(";", 9)
                found.append(Service(name, host, address, int(port), text))
        return found

    def _runs(self) -> bool:
        return "Server startup complete" in self.log.read_text(errors="replace")

    def _call(self, *command: str) -> str:
        environment = [f"{name}={value}" for name, value in self._environment.items()]
        return self.host.run("env", *environment, *command)

    def _begin(self, *command: str) -> None:
        environment = self._environment | {"PATH": f"{os.environ.get('PATH', '')}:{_SBIN}"}
        self._stack.enter_context(self.host.running(*command, log=self.log, environment=environment))
