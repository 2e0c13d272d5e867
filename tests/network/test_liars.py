"""Somebody on the network who says that it is the primary: it costs nothing but a connection (DESIGN §7)."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import shop, trust
from tests.e2e.harness import set_up
from tests.network.lan import Host, Lan
from tests.network.liar import CALLED, READY, Came
from tests.network.machines import Machine, finder, found
from tests.pace import slower
from tests.wait import eventually_blocking

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.alone]

REACHED_S_MAX = 5.0


class Liar:
    """``came``: what came of it, after its end."""

    def __init__(self, log: Path) -> None:
        self._log = log

    @property
    def was_called(self) -> bool:
        return CALLED in self._log.read_text()

    @property
    def came(self) -> Came:
        return Came(**json.loads(self._log.read_text().splitlines()[-1]))


@contextlib.contextmanager
def lying(host: Host, primary: Machine, directory: Path, mode: str) -> Iterator[Liar]:
    """The host says that it is the primary."""
    log = directory / f"{host.name}.log"
    command = (sys.executable, "-m", "tests.network.liar", trust.device_id(primary)[:8], host.address, mode)
    with host.running(*command, log=log):
        eventually_blocking(lambda: READY in log.read_text(), what=f"{host.name} lies: {log.read_text()}")
        yield Liar(log)


@pytest.mark.parametrize("mode", ["stall", "tls"])
def test_the_primary_is_reached_although_somebody_says_to_be_it(lan: Lan, tmp_path: Path, mode: str) -> None:
    with found(lan, tmp_path) as (primary, (auxiliary,)):
        source = shop.make(tmp_path / "shop.db", 10)
        primary.share("shop", source)
        auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        with lying(lan.host("mallory"), primary, tmp_path, mode) as liar:
            primary.stop()
            shop.execute(source, "UPDATE goods SET stock = 5")
            eventually_blocking(lambda: liar.was_called, what="the auxiliary tries where the liar is")
            begin = time.monotonic()
            primary.start()
            auxiliary.wait_identical("shop")
            took = time.monotonic() - begin
        print(f"identical {took:.2f} s after the start of the primary; {liar.came}")
        assert took <= REACHED_S_MAX * slower()
        assert liar.came.said == 0
        auxiliary.stop()  # without a traceback in its log


def test_a_liar_may_keep_a_code_from_being_used_and_does_not_get_it(lan: Lan, tmp_path: Path) -> None:
    """Who says on the network to be the primary may hide it; the address that the primary shows leads to it."""
    with finder(lan, tmp_path, "primary") as primary, finder(lan, tmp_path, "auxiliary") as auxiliary:
        set_up(primary, auxiliary)
        with lying(lan.host("mallory"), primary, tmp_path, "tls") as liar:
            shown = trust.show_code(primary)
            tries = auxiliary.begin("pair", shown.code)
            said, _ = tries.communicate(timeout=120.0)
            if tries.returncode:
                print(said.strip())
                assert "--address HOST:PORT" in said
                assert trust.no_trace(primary)
                assert trust.no_trace(auxiliary)
                auxiliary.cli("pair", shown.code, "--address", shown.place)
            assert [one["id"] for one in trust.devices(auxiliary)] == [trust.device_id(primary)]
            assert auxiliary.linked
        print(liar.came)
        assert liar.came.said < 300, "a request, and no message of an exchange"
