"""A lost laptop: it is cut off within a second, whatever its link is doing, for good, and nobody else notices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.core.errors import Refused
from tests.e2e import shop, trust
from tests.e2e.harness import WAIT_S_MAX, Fleet, Machine, limited
from tests.e2e.scripted import dialed
from tests.pace import slower
from tests.wait import seconds_until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CUT_S_MAX = 1.0
GOODS = 100
MANY = 150_000
QUIET_S = 1.0  # in which a dialer that has not given up dials several times


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Two devices of ada; the first will be lost."""
    with Fleet(tmp_path, auxiliaries=2, launcher=limited(retry_s_max=0.2)) as fleet:
        yield fleet
        for machine in (*fleet.auxiliaries, fleet.primary):
            if machine.running:
                machine.stop()  # without a traceback in its log


def share(fleet: Fleet, tmp_path: Path, goods: int = GOODS) -> Path:
    source = shop.make(tmp_path / "shop.db", goods)
    fleet.primary.share("shop", source)
    for auxiliary in fleet.auxiliaries:
        auxiliary.accept("shop")
        if goods == GOODS:
            auxiliary.wait_identical("shop")
    return source


def cut_s(primary: Machine, lost: Machine) -> float:
    """From the verb until the primary has no link to it."""
    begin = time.monotonic()
    told = primary.ask("revoke", device=lost.name)
    assert told["connected"] is True
    seconds_until(lambda: not trust.linked(primary, lost.name))
    return time.monotonic() - begin


def refusal(lost: Machine, primary: Machine) -> str:
    """What a dial with its identity is told."""

    async def dial() -> str:
        try:
            async with dialed(lost, primary):
                return ""
        except Refused as refused:
            return refused.code

    return asyncio.run(dial())


def test_a_revoked_device_is_cut_off_learns_it_and_stops_dialing(fleet: Fleet, tmp_path: Path) -> None:
    primary, (lost, kept) = fleet.primary, fleet.auxiliaries
    source = share(fleet, tmp_path)
    pid = primary.pid
    said = primary.cli("revoke", lost.name)
    lost.wait(lambda: "cut this device off" in trust.reason(lost), "knows it")
    assert f"{lost.name} is revoked" in said
    assert f"it held {GOODS} objects of shop, as of {GOODS}" in said

    shop.execute(source, "UPDATE goods SET stock = 1234 WHERE id = 7")
    kept.wait_identical("shop")
    assert shop.ask(lost.databases["shop"], "SELECT count(*) FROM goods WHERE stock = 1234") == [(0,)]
    assert refusal(lost, primary) == "revoked"
    assert primary.pid == pid, "nothing was started anew"

    record = trust.device(primary, lost.name)
    assert record["revoked"]
    assert record["users"] == ["ada"], "the record stays as it was"
    assert trust.device(lost, primary.name)["revoked"]
    assert "is revoked" in trust.refused(primary, "devices", "link", lost.name, "ada")
    assert "was revoked on" in trust.refused(primary, "revoke", lost.name)

    address = str(primary.status()["address"])
    primary.stop()
    assert trust.is_dialed(address, WAIT_S_MAX), "the other device looks for its primary"
    kept.stop()
    assert not trust.is_dialed(address, QUIET_S)
    lost.restart()
    assert "cut this device off" in trust.reason(lost)
    assert not trust.is_dialed(address, QUIET_S)

    primary.start()
    assert refusal(lost, primary) == "revoked", "the record stays"
    trust.pair_by_code(lost, primary)
    lost.wait_identical("shop")
    assert not trust.device(primary, lost.name)["revoked"]
    assert trust.device(primary, lost.name)["users"] == ["ada"]


@pytest.mark.alone
def test_a_device_is_cut_off_in_the_midst_of_a_transfer(fleet: Fleet, tmp_path: Path) -> None:
    primary, (lost, kept) = fleet.primary, fleet.auxiliaries
    share(fleet, tmp_path, MANY)
    primary.wait(lambda: "progress" in primary.collection("shop", lost.name), "sends")
    took = cut_s(primary, lost)
    lost.wait(lambda: "cut this device off" in trust.reason(lost), "knows it")
    print(f"cut off {took:.3f} s after the verb, in the midst of a transfer")
    assert took <= CUT_S_MAX * slower()
    kept.wait_identical("shop")
    assert shop.ask(lost.databases["shop"], "SELECT count(*) FROM sqlite_master WHERE name = 'goods'") == [(0,)]


@pytest.mark.alone
def test_a_device_that_reads_nothing_is_cut_off_as_soon(fleet: Fleet, tmp_path: Path) -> None:
    primary, (lost, kept) = fleet.primary, fleet.auxiliaries
    source = share(fleet, tmp_path)
    with lost.frozen():
        shop.execute(source, "UPDATE goods SET name = hex(zeroblob(200000))")  # more than the link's buffers take
        kept.wait_identical("shop")
        took = cut_s(primary, lost)
        print(f"cut off {took:.3f} s after the verb, while it read nothing")
        assert took <= CUT_S_MAX * slower()
        shop.execute(source, "UPDATE goods SET stock = 4321")
        kept.wait_identical("shop")
    lost.wait(lambda: "cut this device off" in trust.reason(lost), "knows it")
    assert shop.ask(lost.databases["shop"], "SELECT count(*) FROM goods WHERE stock = 4321") == [(0,)]


@pytest.mark.alone
def test_devices_of_another_user_do_not_notice(fleet: Fleet, tmp_path: Path) -> None:
    primary, (lost, kept) = fleet.primary, fleet.auxiliaries
    primary.cli("users", "add", "bob")
    theirs = shop.make(tmp_path / "theirs.db", GOODS)
    primary.cli("share", "theirs", "--user", "bob", "--from", f"sqlite:{theirs}")
    primary.databases["theirs"] = theirs
    primary.cli("devices", "link", kept.name, "bob")
    primary.cli("devices", "unlink", kept.name, "ada")
    kept.accept("theirs")
    kept.wait_identical("theirs")
    links = kept.log.read_text().count("linked with primary")
    begin = time.monotonic()
    took = cut_s(primary, lost)
    seconds_until(lambda: "cut this device off" in trust.reason(lost))
    learnt = time.monotonic() - begin
    print(f"cut off {took:.3f} s after the verb; the device knew {learnt:.3f} s after it")
    assert max(took, learnt) <= CUT_S_MAX * slower()
    shop.execute(theirs, "UPDATE goods SET stock = 1 WHERE id = 1")
    kept.wait_identical("theirs")
    assert kept.log.read_text().count("linked with primary") == links, "its link lives"
