"""The link breaks at any byte: what was staged stays, and both ends agree in the end (R3, R6)."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from syncd.core.settings import Limits
from tests.e2e import shop
from tests.e2e.harness import Machine, start
from tests.e2e.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROUNDS = 4
ROWS = 24_000
BODY = "x" * 700


@contextmanager
def two_machines(directory: Path, source: Path) -> Iterator[tuple[Machine, Machine, Proxy]]:
    with Machine(directory / "primary") as primary, Machine(directory / "auxiliary") as auxiliary:
        primary.init("primary")
        primary.share("shop", source)
        auxiliary.init("auxiliary")
        start(primary, auxiliary)
        primary.wait_state("shop", "identical")
        with Proxy(str(primary.status()["address"])) as proxy:
            auxiliary.pair(primary, proxy.address)
            yield primary, auxiliary, proxy


def large(path: Path) -> Path:
    """A database of which a bootstrap is some megabytes."""
    with closing(sqlite3.connect(shop.make(path))) as connection, connection:
        rows = ((number, f"{BODY} {number}", number) for number in range(ROWS))
        connection.executemany("INSERT INTO goods VALUES (?, ?, ?)", rows)
    return path


def worked(till: shop.Till) -> bool:
    """The application has done something more."""
    till.work(10)
    return True


def test_links_that_are_cut_at_any_byte_while_the_application_works(tmp_path: Path, seed: int) -> None:
    rand = random.Random(seed)
    # In the handshake and long after it by turns: three breaks in a row in the handshake count as a refusal.
    spans = ((1, 4_000), (4_000, 80_000), (1, 4_000), (4_000, 80_000))
    rounds = [[rand.randrange(*span) for span in spans] for _ in range(ROUNDS)]
    source = shop.make(tmp_path / "shop.db", 3_000)
    with two_machines(tmp_path, source) as (primary, auxiliary, proxy):
        target = auxiliary.accept("shop")
        till = shop.Till(source, random.Random(rand.random()))
        with shop.Reader([target]) as reader:
            for _ in range(ROUNDS):
                auxiliary.kill()  # its pauses between links begin anew
                proxy.cuts = rounds.pop()
                auxiliary.start()
                auxiliary.wait(lambda: worked(till) and not proxy.cuts, "has its last link")
        auxiliary.wait_identical("shop")
        assert reader.seen == []
        primary.stop()  # without a traceback in its log
        auxiliary.stop()


@pytest.mark.parametrize("how", ["cut", "auxiliary killed", "primary killed"])
def test_a_bootstrap_that_was_broken_off_goes_on_where_it_was(tmp_path: Path, how: str) -> None:
    whole = ROWS * len(BODY)
    with two_machines(tmp_path, large(tmp_path / "shop.db")) as (primary, auxiliary, proxy):
        reached = 0

        def pause(passed: int) -> None:  # from the proxy's thread: holds the link for as long as it takes
            nonlocal reached
            if passed > whole * 3 // 4 and not reached:
                reached = passed
                auxiliary.wait(staged, "has staged what it got")
                if how == "auxiliary killed":
                    auxiliary.kill()
                elif how == "primary killed":
                    primary.kill()
                raise OSError

        def staged() -> bool:
            progress = auxiliary.collection("shop").get("progress")
            return isinstance(progress, dict) and progress["done"] > ROWS * 2 // 3

        proxy.watch = pause
        auxiliary.accept("shop")
        auxiliary.wait(
            lambda: bool(reached) and (how == "cut" or not (primary.running and auxiliary.running)), "was cut"
        )
        for machine in (primary, auxiliary):
            if not machine.running:
                machine.start()
        auxiliary.wait_identical("shop")
        once_more = Limits().window_bytes_max  # what was under way, not yet staged
        assert whole < proxy.passed < whole * 1.1 + once_more < whole * 1.75
