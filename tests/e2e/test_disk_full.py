"""A disk is full: the reason is shown, nothing is lost, and all goes on when room is made."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from syncd.control.protocol import DaemonNotRunning
from syncd.core.errors import SyncdError
from tests.e2e import shop
from tests.e2e.compare import count
from tests.e2e.harness import STOP_S_MAX, Fleet, Machine, set_up
from tests.wait import eventually_blocking

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SIZE_MIB = 24
ROWS = 6_000
BODY = "x" * 500


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(place)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@contextlib.contextmanager
def full(disk: Path) -> Iterator[None]:
    """There is no room left on the disk during the block."""
    filler = disk / "filler"

    def is_full() -> bool:
        """A daemon may give room back meanwhile."""
        with filler.open("ab", buffering=0) as file:
            for piece in (1024 * 1024, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        file.write(bytes(piece))
        return os.statvfs(disk).f_bavail == 0

    eventually_blocking(is_full, what="the disk is full")
    try:
        yield
    finally:
        filler.unlink()


def grow(source: Path, first: int) -> None:
    """Some megabytes in some transactions."""
    with closing(sqlite3.connect(source, timeout=20.0)) as connection:
        for start in range(first, first + ROWS, 1_000):
            with connection:
                rows = ((number, f"{BODY} {number}", number) for number in range(start, start + 1_000))
                connection.executemany("INSERT INTO goods VALUES (?, ?, ?)", rows)


@contextlib.contextmanager
def begun_without_room(machine: Machine, disk: Path, how: signal.Signals) -> Iterator[None]:
    """The disk is full when the daemon begins. It tells so to whoever asks, and goes on by itself after the block."""
    machine.end(how, STOP_S_MAX)
    with full(disk):
        machine.start(wait=False)
        machine.wait(lambda: "no room to write" in refusal(machine), "says why it does not work")
        yield
        assert machine.running
    machine.wait_started()
    assert "Traceback" not in machine.log.read_text()


def refusal(machine: Machine) -> str:
    """Why the daemon refuses to tell its status; empty when it does not, or nobody answers."""
    try:
        machine.status()
    except DaemonNotRunning:
        return ""
    except SyncdError as error:
        return error.line()
    return ""


@contextlib.contextmanager
def fleet_with(tmp_path: Path, home_on: dict[str, Path]) -> Iterator[tuple[Machine, Machine, Path]]:
    """A primary and an auxiliary that is identical; the homes of those named are elsewhere."""
    with Machine(tmp_path / "primary") as primary, Machine(tmp_path / "auxiliary") as auxiliary:
        for machine in (primary, auxiliary):
            machine.home = home_on.get(machine.name, machine.home)
        set_up(primary, auxiliary)
        source = shop.make(tmp_path / "shop.db", 50)
        primary.share("shop", source)
        auxiliary.pair(primary)
        yield primary, auxiliary, source


def test_the_disk_of_the_primary_s_home_is_full(tmp_path: Path, disk: Path) -> None:
    with fleet_with(tmp_path, {"primary": disk / "home"}) as (primary, auxiliary, source):
        target = auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        before = shop.ask(target, "SELECT count(*) FROM goods")
        with full(disk):
            grow(source, 1_000)
            primary.wait_state("shop", "offline", "no room")
            assert shop.ask(target, "SELECT count(*) FROM goods") >= before
        auxiliary.wait_identical("shop")
        held = count(target, "goods")
        for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
            with begun_without_room(primary, disk, how):
                shop.execute(source, f"DELETE FROM goods WHERE id = {number}")
                assert count(target, "goods") == held - number
            auxiliary.wait_identical("shop")


def test_the_disk_of_the_auxiliary_s_home_is_full(tmp_path: Path, disk: Path) -> None:
    with fleet_with(tmp_path, {"auxiliary": disk / "home"}) as (primary, auxiliary, source):
        with full(disk):
            target = auxiliary.directory / "target.db"
            assert "room" in auxiliary.cli("accept", "shop", "--into", f"sqlite:{target}", code=1)
        auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        with full(disk):
            grow(source, 1_000)
            auxiliary.wait_state("shop", "offline", "no room")
            primary.wait_state("shop", "identical")
            primary.wait(
                lambda: "no room" in str(primary.collection("shop", "auxiliary").get("reason")), "knows why it waits"
            )
        auxiliary.wait_identical("shop")
        for number, how in enumerate((signal.SIGKILL, signal.SIGTERM)):
            with begun_without_room(auxiliary, disk, how):
                shop.execute(source, f"DELETE FROM goods WHERE id = {number}")
            auxiliary.wait_identical("shop")


def test_the_disk_of_the_auxiliary_s_application_is_full(tmp_path: Path, disk: Path) -> None:
    with fleet_with(tmp_path, {}) as (_, auxiliary, source):
        with full(disk):
            auxiliary.accept("shop", disk / "target.db")
            auxiliary.wait_state("shop", "offline", "no room")
        auxiliary.wait_identical("shop")
        with full(disk):
            grow(source, 1_000)
            auxiliary.wait_state("shop", "offline", "no room")
            assert shop.half_orders(disk / "target.db") == []
        auxiliary.wait_identical("shop")


def test_the_disk_of_the_primary_s_application_is_full(tmp_path: Path, disk: Path) -> None:
    with Fleet(tmp_path) as fleet:
        source = shop.make(disk / "shop.db", 500)
        with full(disk):
            assert "no room" in fleet.primary.cli("share", "shop", "--from", f"sqlite:{source}", code=1)
        with closing(sqlite3.connect(source)) as application:  # keeps what a reader needs in place
            application.execute("SELECT count(*) FROM goods").fetchone()
            with full(disk):
                fleet.primary.share("shop", source)
                fleet.primary.wait_state("shop", "offline", "no room")
        fleet.auxiliary.accept("shop")
        fleet.auxiliary.wait_identical("shop")
        with full(disk):
            with pytest.raises(sqlite3.OperationalError, match="full"):
                grow(source, 1_000)
            fleet.primary.wait(lambda: fleet.primary.collection("shop").get("objects") == 500, "has what there was")
        shop.execute(source, "UPDATE goods SET stock = stock + 1")
        fleet.auxiliary.wait_identical("shop")
