"""Who knows whom, as the daemons tell it and as their sync databases hold it, and `syncd pair` as a person runs it."""

from __future__ import annotations

import contextlib
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from syncd.home.config import split_address
from tests.e2e import shop
from tests.e2e.harness import Json, Machine
from tests.wait import eventually_blocking

END_S_MAX = 60.0
_CODE = re.compile(r"syncd pair ([0-9]{4}-[a-z]+-[a-z]+)")
_TABLES = ("devices", "user_devices", "reports", "followed")
_PASSING = ("uptime_s", "last_seen")


# ---------------------------------------------------------------- who knows whom


def devices(machine: Machine) -> list[Json]:
    """What `syncd devices` lists."""
    return _list(machine.ask("devices"), "devices")


def device(machine: Machine, name: str) -> Json:
    """The device that the machine calls so; empty if there is none, or no daemon answers."""
    if machine.try_status() is None:
        return {}
    return next((one for one in devices(machine) if one["name"] == name), {})


def knows(machine: Machine, other: Machine) -> bool:
    return any(one["own_name"] == other.name for one in devices(machine))


def linked(machine: Machine, name: str = "") -> bool:
    """Whether it has a link to the device of this name; of an auxiliary: to its primary."""
    lines = _list(machine.try_status() or {}, "devices")
    return any(one["connected"] is True for one in lines if not name or one["name"] == name)


def reason(machine: Machine) -> str:
    """Why an auxiliary has no link to its primary."""
    lines = _list(machine.try_status() or {}, "devices")
    return str(lines[0]["reason"]) if lines else ""


def device_id(machine: Machine) -> str:
    own = machine.status()["device"]
    assert isinstance(own, dict)
    return str(own["id"])


def no_trace(machine: Machine) -> bool:
    """It lists no device, and its sync database never heard of one."""
    kept = [shop.ask(machine.home / "sync.db", f"SELECT count(*) FROM {table}")[0][0] for table in _TABLES]
    return kept == [0] * len(_TABLES) and devices(machine) == []


def wait_known(primary: Machine, state: Json) -> None:
    """Until the primary tells again what it told then: that a link has ended, it may know a moment later."""
    primary.wait(lambda: known_state(primary) == state, f"tells {state}")


def known_state(primary: Machine) -> Json:
    """All that the primary tells of users, devices and collections, without what only passes."""
    told = {"users": primary.ask("users"), "devices": primary.ask("devices"), "status": primary.status()}
    settled = _without_times(told)
    assert isinstance(settled, dict)
    return settled


def _without_times(told: object) -> object:
    if isinstance(told, dict):
        return {key: _without_times(value) for key, value in told.items() if key not in _PASSING}
    return [_without_times(one) for one in told] if isinstance(told, list) else told


def _list(told: Json, key: str) -> list[Json]:
    found = told.get(key)
    assert isinstance(found, list) or not told, told
    return found if isinstance(found, list) else []


# ---------------------------------------------------------------- pairing


@dataclass(frozen=True, slots=True)
class Shown:
    """What the primary shows. ``place``: where its pairing listener is reached."""

    code: str
    place: str


def show_code(primary: Machine, *options: str) -> Shown:
    """`syncd pair` for a script: it does not wait."""
    told = primary.cli_json("pair", *options)
    places = told["addresses"]
    assert isinstance(places, list)
    return Shown(str(told["code"]), str(places[0]))


def pair_by_code(auxiliary: Machine, primary: Machine, *options: str) -> Json:
    """Both are on this machine, without discovery."""
    shown = show_code(primary, *options)
    told = auxiliary.cli_json("pair", shown.code, "--address", shown.place)
    auxiliary.primary = primary
    return told


class Waiting:
    """`syncd pair` at the primary that shows a code and waits; ``end`` gives what it printed after that."""

    def __init__(self, primary: Machine, *options: str) -> None:
        self.process = primary.begin("pair", *options)
        assert self.process.stdout is not None
        self.printed = ""
        while "waiting for it" not in self.printed:
            line = self.process.stdout.readline()
            assert line, f"`syncd pair` ended: {self.printed}"
            self.printed += line
        found = _CODE.search(self.printed)
        assert found, self.printed
        self.code = found[1]
        address = re.search(r"--address (\S+)", self.printed)
        self.place = address[1] if address else ""

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, code: int = 0) -> str:
        said, _ = self.process.communicate(timeout=END_S_MAX)
        assert self.process.returncode == code, f"{self.process.returncode}: {self.printed}{said}"
        return said


@contextlib.contextmanager
def waiting(primary: Machine, *options: str) -> Iterator[Waiting]:
    """It is killed in the end if it still waits."""
    shown = Waiting(primary, *options)
    try:
        yield shown
    finally:
        if shown.process.poll() is None:
            shown.process.kill()
            shown.process.communicate()


def other_word(code: str) -> str:
    """The same number, and another last word."""
    number, first, last = code.split("-")
    return "-".join((number, first, "otter" if last != "otter" else "lamp"))


def other_number(code: str) -> str:
    number, words = code.split("-", 1)
    return f"{1000 + (int(number) + 1) % 9000}-{words}"


# ---------------------------------------------------------------- addresses


def is_open(address: str) -> bool:
    """Whether somebody listens there."""
    try:
        socket.create_connection(split_address(address), timeout=30.0).close()
    except ConnectionRefusedError:
        return False
    return True


def wait_closed(address: str) -> None:
    """Until nobody listens there any more: whoever waited for a code is told a moment before."""
    eventually_blocking(lambda: not is_open(address), what=f"nobody listens at {address}")


def is_dialed(address: str, within_s: float) -> bool:
    """Listens in the place of a primary that is stopped: whether anybody comes."""
    with socket.create_server(split_address(address)) as listening:
        listening.settimeout(within_s)
        try:
            listening.accept()[0].close()
        except TimeoutError:
            return False
    return True


def refused(machine: Machine, *verb: str) -> str:
    """The one line that the command line says."""
    said = machine.cli(*verb, code=1)
    (line,) = said.splitlines()
    assert line.startswith("syncd: "), said
    return line


def set_config(machine: Machine, key: str, value: str) -> None:
    """Another value in config.toml, as a person writes it; the daemon reads it at its start."""
    path: Path = machine.home / "config.toml"
    text, count = re.subn(rf"(?m)^{key} = .*$", f'{key} = "{value}"', path.read_text())
    assert count == 1, f"{key} is not in {path}"
    path.write_text(text)
