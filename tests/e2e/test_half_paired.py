"""A pairing that is broken off at any point, by the network or by the end of either daemon, is whole or leaves nothing:
afterwards both know each other, or neither has a trace of the other (DESIGN §7)."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from syncd.home.config import split_address
from tests.e2e import shop, trust
from tests.e2e.harness import VERB_S_MAX, Machine, limited
from tests.e2e.proxy import Proxy
from tests.wait import eventually_blocking

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

BETWEEN = "127.0.0.2"  # where the proxies stand, at the ports of the primary
POINTS_MAX = 60
STRIDE = 4  # between points that are tried in one run


class Broken(OSError):
    """What breaks a connection off in the proxy."""


class Point:
    """Calls ``act`` once, at the n-th piece of all that passes in both directions over all connections."""

    def __init__(self, number: int, act: Callable[[], None]) -> None:
        self.reached = False
        self._number = number
        self._act = act
        self._pieces = 0
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            self._pieces += 1
            if self._pieces != self._number:
                return
        try:
            self._act()
        finally:
            self.reached = True


@contextmanager
def between(primary: Machine, place: str, point: Point) -> Iterator[str]:
    """All that passes between the primary and a device that pairs with it. Yields where that is to be done."""
    with ExitStack() as stack:
        for address in (place, str(primary.status()["address"])):
            proxy = Proxy(address, at=(BETWEEN, split_address(address)[1]))
            proxy.step = point.step
            stack.enter_context(proxy)
        yield f"{BETWEEN}:{split_address(place)[1]}"


def is_whole(primary: Machine, auxiliary: Machine) -> bool:
    return trust.linked(auxiliary, primary.name) and trust.linked(primary, auxiliary.name)


def is_nothing(primary: Machine, auxiliary: Machine) -> bool:
    if primary.try_status() is None or auxiliary.try_status() is None:
        return False
    kept = shop.ask(primary.home / "sync.db", "SELECT 1 FROM devices WHERE name = ?", (auxiliary.name,))
    return not kept and not trust.knows(primary, auxiliary) and trust.no_trace(auxiliary)


def broken_at(primary: Machine, auxiliary: Machine, point: Point, victim: Machine | None) -> str:
    """Pairs them, with what happens at the point; the victim is started again at once. What came of it."""
    shown = trust.show_code(primary)
    with between(primary, shown.place, point) as place:
        tries = auxiliary.begin("pair", shown.code, "--address", place)
        eventually_blocking(lambda: point.reached or tries.poll() is not None, VERB_S_MAX, "it has begun")
        if victim is not None and point.reached:
            victim.start()
        said, _ = tries.communicate(timeout=VERB_S_MAX)
        assert "Traceback" not in said
        if not tries.returncode:
            assert f"paired with {primary.name}" in said
        settled = ""

        def is_settled() -> bool:
            nonlocal settled
            if is_whole(primary, auxiliary):
                settled = "whole"
            elif is_nothing(primary, auxiliary):
                settled = "nothing"
            return bool(settled)

        auxiliary.wait(is_settled, f"has settled the pairing: {said}")
        if settled == "nothing":
            assert tries.returncode == 1 or "not linked yet" in said, said
    primary.ask("pair_close")
    return settled


@pytest.mark.parametrize("who", ["the network", "the primary", "the auxiliary"])
def test_a_pairing_is_whole_or_nothing_wherever_it_is_broken_off(tmp_path: Path, seed: int, who: str) -> None:
    outcomes: list[str] = []
    with Machine(tmp_path / "desk") as primary, ExitStack() as machines:
        primary.init("primary")
        primary.start()
        auxiliary = fresh(machines, tmp_path, 0)
        for number in itertools.count(random.Random(seed).randint(1, STRIDE), STRIDE):
            assert number < POINTS_MAX
            victim = {"the primary": primary, "the auxiliary": auxiliary}.get(who)
            point = Point(number, lambda v=victim: end(v))  # type: ignore[misc]
            outcomes.append(broken_at(primary, auxiliary, point, victim))
            if not point.reached:
                break
            if outcomes[-1] == "whole":
                auxiliary.stop()
                auxiliary = fresh(machines, tmp_path, number)
        for machine in (auxiliary, primary):
            machine.stop()  # without a traceback in its log
    print(f"broken off by {who}: {', '.join(outcomes)}")
    assert outcomes[0] == "nothing"
    assert outcomes[-1] == "whole"


def fresh(machines: ExitStack, tmp_path: Path, number: int) -> Machine:
    """A device that was never paired, running."""
    made = machines.enter_context(Machine(tmp_path / f"laptop-{number}", limited(retry_s_max=0.5)))
    made.init("auxiliary")
    made.start()
    return made


def end(victim: Machine | None) -> None:
    """``kill -9``, or the network breaks the connection."""
    if victim is None:
        raise Broken
    victim.kill()
