"""A local network of network namespaces on this machine: a switch, and hosts with cables to it.

    with Lan() as lan:
        one, two = lan.host("one"), lan.host("two")
        one.run("ping", "-c", "1", two.address)
        lan.partition({one}, {two})

It needs root and ``ip``; ``why_not`` says what is missing. Multicast reaches everybody on the switch; nothing reaches
the machine's own network, or is reached from it. A namespace carries the process's id and start in its name, so runs
at a time do not meet, and one that was killed leaves what the next one finds and removes.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
_PREFIX = "syncd-test"
_NAME = re.compile(rf"{_PREFIX}-(?P<pid>\d+)-(?P<started>\d+)-")
_NAMESPACES = Path("/run/netns")
_COMMAND_S_MAX = 60.0
_END_S_MAX = 30.0
_numbers = itertools.count(1)

# In every namespace. IPv6 addresses may be used at once, without asking whether another host has them; an interface
# without carrier is no way to anywhere, as those who manage the network of a real machine see to.
_BEGIN = """
for name in all default; do
    echo 0 >/proc/sys/net/ipv6/conf/$name/accept_dad
    echo 1 >/proc/sys/net/ipv6/conf/$name/ignore_routes_with_linkdown
    echo 1 >/proc/sys/net/ipv4/conf/$name/ignore_routes_with_linkdown
done
ip link set lo up
"""
_REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), float(sys.argv[2])).close()
except ConnectionRefusedError:
    pass
except OSError:
    sys.exit(print("no"))
print("yes")
"""


class Lan:
    """A switch and its hosts; ``network`` is the beginning of their IPv4 addresses. All of it is gone after exit."""

    def __init__(self) -> None:
        number = next(_numbers)
        self.network = f"10.77.{number}"
        self.network6 = f"fd77:{number}::"
        self.hosts: dict[str, Host] = {}
        self._name = f"{_PREFIX}-{os.getpid()}-{_started(os.getpid())}-{number}"
        self._stack = contextlib.ExitStack()
        self._addresses = itertools.count(1)
        self._ports = itertools.count(1)
        self._bridges = 0
        self.switch = self.namespace("switch")

    def __enter__(self) -> Self:
        sweep()
        with self._stack:
            self.open(self.switch)
            self.bridge(0)
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def host(self, name: str) -> Host:
        """One more machine, with a cable to the switch."""
        assert name not in self.hosts, f"there is a host {name}"
        host = Host(self, name)
        self.open(host.namespace)
        host.attach()
        self.hosts[name] = host
        return host

    def partition(self, *sides: Collection[Host]) -> None:
        """Hosts reach those of their own side only, and no cable tells it: frames between sides are lost. A host that
        is not named stays on the first side."""
        ways = [f"ip link set {cable.port} master br0" for host in self.hosts.values() for cable in host.cables]
        for number, side in enumerate(sides):
            self.bridge(number)
            ways += [f"ip link set {cable.port} master br{number}" for host in side for cable in host.cables]
        self.shell(self.switch, "\n".join(ways))

    def heal(self) -> None:
        """All reach all again."""
        self.partition(())

    def block_multicast(self) -> None:
        """The switch passes multicast to nobody, as many wireless ones do."""
        ports = [cable.port for host in self.hosts.values() for cable in host.cables]
        self.shell(self.switch, "\n".join(f"echo 0 >/sys/class/net/{port}/brport/multicast_flood" for port in ports))

    # ------------------------------------------------------------ for hosts

    def namespace(self, name: str) -> str:
        return f"{self._name}-{name}"

    def open(self, namespace: str) -> None:
        self._stack.callback(_remove, namespace)
        _ip("netns", "add", namespace)
        self.shell(namespace, _BEGIN)

    def shell(self, namespace: str, script: str) -> None:
        """Lines of shell in a namespace; each must do."""
        _ip("netns", "exec", namespace, "sh", "-euc", script)

    def bridge(self, number: int) -> None:
        """Makes the bridge of one side, if it is not there."""
        if number < self._bridges:
            return
        self._bridges = number + 1
        self.shell(
            self.switch,
            f"ip link add br{number} type bridge mcast_snooping 0 forward_delay 0\nip link set br{number} up",
        )

    def next_address(self) -> tuple[str, str]:
        """Of IPv4 and IPv6; no two hosts ever had the same."""
        number = next(self._addresses)
        return f"{self.network}.{number}", f"{self.network6}{number}"

    def next_port(self) -> str:
        return f"port{next(self._ports)}"


class Cable:
    """A network interface of a host and the cable from it to a switch; ``port`` is the other end."""

    def __init__(self, lan: Lan, namespace: str, interface: str) -> None:
        self.interface = interface
        self.port = lan.next_port()
        self._lan = lan
        self._namespace = namespace
        ends = f"name {interface} netns {namespace} type veth peer name {self.port} netns {lan.switch}"
        _ip("link", "add", *ends.split())
        lan.shell(namespace, f"ip link set {interface} up")
        lan.shell(lan.switch, f"ip link set {self.port} master br0 up")
        self.address, self.address6 = lan.next_address()
        lan.shell(namespace, self._addressing("add"))

    def unplug(self) -> None:
        """The interface has no carrier; it keeps its addresses."""
        self._lan.shell(self._lan.switch, f"ip link set {self.port} down")

    def plug(self) -> None:
        self._lan.shell(self._lan.switch, f"ip link set {self.port} up")

    def readdress(self, address: str = "") -> str:
        """The addresses go and others come, as on another lease: ``address``, else one that nobody had."""
        self._lan.shell(self._namespace, self._addressing("del"))
        self.address, self.address6 = self._lan.next_address()
        self.address = address or self.address
        self._lan.shell(self._namespace, self._addressing("add"))
        return self.address

    def _addressing(self, verb: str) -> str:
        lines = [
            f"ip address {verb} {self.address}/24 dev {self.interface}",
            f"ip address {verb} {self.address6}/64 dev {self.interface}" + (" nodad" if verb == "add" else ""),
        ]
        if verb == "add":  # the way to far networks, as everywhere; nobody answers there
            metric = 100 + int(self.interface.removeprefix("eth"))
            lines.append(f"ip route add default via {self._lan.network}.254 dev {self.interface} metric {metric}")
        return "\n".join(lines)


class Host:
    """A machine on the network. ``prefix``: what a command line begins with to be run on it."""

    def __init__(self, lan: Lan, name: str) -> None:
        self.name = name
        self.lan = lan
        self.namespace = lan.namespace(name)
        self.prefix = ("ip", "netns", "exec", self.namespace)
        self.cables: list[Cable] = []

    def __repr__(self) -> str:
        return f"Host({self.name})"

    @property
    def address(self) -> str:
        """The IPv4 address of the first interface."""
        return self.cables[0].address

    @property
    def address6(self) -> str:
        """Its IPv6 address that is valid on the whole network; it has a link-local one besides."""
        return self.cables[0].address6

    def run(self, *command: str, timeout_s: float = _COMMAND_S_MAX, check: bool = True) -> str:
        """Runs a command here and returns what it printed; it must end with 0 (``check``)."""
        return _run([*self.prefix, *command], timeout_s, check)

    @contextlib.contextmanager
    def running(
        self, *command: str, log: Path, environment: dict[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A program that runs here inside the ``with``, ended by SIGTERM; what it prints goes to ``log``. Its process
        id is the program's own."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*self.prefix, *command],
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | (environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_END_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def reaches(self, other: Host | str, timeout_s: float = 10.0) -> bool:
        """Whether a TCP connection to the other (or to this address) comes to be, or is refused by the other itself."""
        address = other if isinstance(other, str) else other.address
        return self.run(sys.executable, "-ISc", _REACH, address, str(timeout_s)).strip() == "yes"

    def attach(self, lan: Lan | None = None) -> Cable:
        """One more interface, on this network or on another one."""
        cable = Cable(lan or self.lan, self.namespace, f"eth{len(self.cables)}")
        self.cables.append(cable)
        return cable

    def more_addresses(self, count: int) -> list[str]:
        """The first interface gets so many more, IPv4, as if there were as many hosts behind it."""
        found = [self.lan.next_address()[0] for _ in range(count)]
        self.lan.shell(self.namespace, "\n".join(f"ip address add {one}/24 dev eth0" for one in found))
        return found

    def unplug(self) -> None:
        self.cables[0].unplug()

    def plug(self) -> None:
        self.cables[0].plug()

    def readdress(self, address: str = "") -> str:
        return self.cables[0].readdress(address)


# ---------------------------------------------------------------- whether it can be done, and what was left


@functools.cache
def why_not() -> str:
    """Why no network can be made here; empty if one can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no `ip` (install iproute2)"
    try:
        with Lan() as lan:
            lan.host("probe")
    except (OSError, AssertionError, subprocess.SubprocessError) as error:
        return "no network namespaces here: " + " ".join(str(error).split())
    return ""


def sweep() -> None:
    """Removes what runs left that were killed."""
    for name in sorted(os.listdir(_NAMESPACES)) if _NAMESPACES.is_dir() else ():
        made = _NAME.match(name)
        if made and _started(int(made["pid"])) != made["started"]:
            _remove(name)


def _remove(namespace: str) -> None:
    """Ends what runs in the namespace, and removes it. Somebody else may do the same at the same time."""
    inside = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    for pid in inside.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", namespace], capture_output=True, check=False)


def _started(pid: int) -> str:
    """When a process began, in ticks since the machine did; empty if there is none. A process id comes again."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _ip(*args: str) -> None:
    _run(["ip", *args], _COMMAND_S_MAX, check=True)


def _run(command: Sequence[str], timeout_s: float, check: bool) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0 or not check, f"`{' '.join(command)}` ended with {done.returncode}: {done.stdout}"
    return done.stdout
