"""Two machines that meet: pairing by a code, finding each other by mDNS, and a link that was dropped.

Real daemons; mDNS runs on the loopback of this machine. The collection is empty: what is measured is the way to it.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from statistics import median

from scripts.benchlib.figures import Figure, Measure, Setting
from tests.e2e.harness import Machine
from tests.e2e.proxy import Proxy

COLLECTION = "items"
DEADLINE_S = 30.0
_POLL_S = 0.002


class _Found(Machine):
    """It is found, and finds, on the loopback."""

    discovers = True

    def init(self, role: str, *options: str) -> dict[str, object]:
        return super().init(role, "--interface", "lo", *options)


@contextmanager
def _machines(setting: Setting) -> Iterator[tuple[Machine, Machine]]:
    with _Found(setting.directory / "primary") as primary, _Found(setting.directory / "auxiliary") as auxiliary:
        database = setting.directory / "application.db"
        with closing(sqlite3.connect(database)) as connection:
            connection.execute("CREATE TABLE item (id TEXT PRIMARY KEY, body TEXT) WITHOUT ROWID")
        primary.init("primary")
        primary.share(COLLECTION, database)
        auxiliary.init("auxiliary")
        auxiliary.accept(COLLECTION)
        primary.start()
        auxiliary.start()
        yield primary, auxiliary


def meeting(setting: Setting) -> Figure:
    rounds = 2 if setting.quick else 5
    with _machines(setting) as (primary, auxiliary):
        pairing_s = [_pair(primary, auxiliary) for _ in range(rounds)]
        _until(lambda: _identical(primary, auxiliary))
        start_s = [_start(primary, auxiliary) for _ in range(rounds)]
        reconnect_s = _reconnects(primary, auxiliary, rounds)
    measures = [
        Measure("`syncd pair CODE`", median(pairing_s), "s", 1.0),
        Measure("both start -> identical", median(start_s), "s", 3.0),
        Measure("link dropped -> linked", median(reconnect_s), "s", 1.0),
    ]
    what = "pairing by code, found by mDNS; start of both daemons, the primary at another port; a dropped link"
    return Figure("meeting", what, measures)


def _pair(primary: Machine, auxiliary: Machine) -> float:
    """How long the command takes that a person types, until it has said that both are linked."""
    code = str(primary.ask("pair_open")["code"])
    begin = time.monotonic()
    auxiliary.cli("pair", code)
    took_s = time.monotonic() - begin
    auxiliary.primary = primary
    return took_s


def _start(primary: Machine, auxiliary: Machine) -> float:
    """Both begin anew at once; the auxiliary does not know the primary's port."""
    auxiliary.stop()
    primary.stop()
    config = primary.home / "config.toml"
    with Proxy("127.0.0.1:1") as other:  # a port that is free
        listen = other.address
    config.write_text(re.sub(r'(?m)^listen = "[^"]*"', f'listen = "{listen}"', config.read_text()))
    begin = time.monotonic()
    primary.start(wait=False)
    auxiliary.start(wait=False)
    _until(lambda: _identical(primary, auxiliary))
    return time.monotonic() - begin


def _reconnects(primary: Machine, auxiliary: Machine, rounds: int) -> list[float]:
    """The link goes through a proxy that breaks it off; until the primary has welcomed the device again."""
    took_s = []
    for _ in range(rounds):
        with Proxy(str(primary.status()["address"])) as proxy:
            auxiliary.dials(proxy.address)
            _until(lambda: _connected(auxiliary))
            links = proxy.links
            begin = time.monotonic()
            proxy.cut()
            _until(lambda links=links, proxy=proxy: proxy.links > links and _connected(auxiliary))  # type: ignore[misc]
            took_s.append(time.monotonic() - begin)
    return took_s


def _identical(primary: Machine, auxiliary: Machine) -> bool:
    return _connected(auxiliary) and auxiliary.collection(COLLECTION).get("state") == "identical"


def _connected(auxiliary: Machine) -> bool:
    devices = (auxiliary.try_status() or {}).get("devices")
    return isinstance(devices, list) and any(one["connected"] for one in devices)


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {DEADLINE_S:g} s")
        time.sleep(_POLL_S)
