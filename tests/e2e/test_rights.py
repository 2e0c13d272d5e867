"""A daemon that is not root loses its rights on the application's database: the collection is offline and says what to
do, nothing is deleted anywhere, and all goes on by itself when the rights are back (R13)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.harness import ROOT, Machine, set_up

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
GOODS = 300
Pair = tuple[Machine, Machine]


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory of the other user's; root's temporary directories are closed to it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can start a daemon as another user, with setpriv")
    python = [*AS_NOBODY, sys.executable, "-c", "import syncd.daemon"]
    done = subprocess.run(python, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"another user cannot run syncd from here: {done.stderr.strip().splitlines()[-1]}")
    with tempfile.TemporaryDirectory(prefix="syncd-nobody-") as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


@pytest.fixture(scope="module")
def shared(place: Path) -> Iterator[Pair]:
    """A primary and an auxiliary, both as the other user; each test leaves them identical."""
    with ExitStack() as stack:
        machines = []
        for name in ("primary", "auxiliary"):
            machine = Machine(place / name, launcher=(*AS_NOBODY, sys.executable, "-m", "syncd"))
            machines.append(stack.enter_context(machine))
            disk = machine.directory / "disk" / "below"
            disk.mkdir(parents=True)
            for path in (machine.directory, disk.parent, disk):
                os.chown(path, NOBODY, NOBODY)
        primary, auxiliary = machines
        set_up(primary, auxiliary)
        source = shop.make(primary.directory / "disk" / "below" / "shop.db", GOODS)
        os.chown(source, NOBODY, NOBODY)
        primary.share("shop", source)
        auxiliary.pair(primary)
        auxiliary.accept("shop", auxiliary.directory / "disk" / "below" / "shop.db")
        auxiliary.wait_identical("shop")
        yield primary, auxiliary


@pytest.fixture
def machines(shared: Pair) -> Pair:
    for machine in shared:
        if not machine.running:
            machine.start()
    shared[1].wait_identical("shop")
    return shared


@contextmanager
def closed(path: Path) -> Iterator[None]:
    """Nobody but root may use the file or directory."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def goods(machine: Machine) -> list[shop.Row]:
    return shop.ask(machine.databases["shop"], "SELECT * FROM goods ORDER BY id")


def change(primary: Machine) -> None:
    shop.execute(primary.databases["shop"], "UPDATE goods SET stock = stock + 1", "DELETE FROM goods WHERE id = 1")
    shop.execute(primary.databases["shop"], "INSERT INTO goods VALUES (1, 'again', 0)")


SAYS = {
    "database": "cannot be read (unable to open database file): check the disk and the rights of the file",
    "directory": "cannot be reached (Permission denied): give syncd the right to enter its directories",
    "directory above": "cannot be reached (Permission denied): give syncd the right to enter its directories",
}


@pytest.mark.parametrize("role", ["primary", "auxiliary"])
@pytest.mark.parametrize(
    ("what", "at_start"),
    [
        ("database", True),  # a daemon that has it open goes on, as its application does
        ("directory", False),
        ("directory above", True),
    ],
)
def test_a_database_that_may_not_be_used_is_offline_and_goes_on_by_itself(
    machines: Pair, role: str, what: str, at_start: bool
) -> None:
    primary, auxiliary = machines
    machine = primary if role == "primary" else auxiliary
    database = machine.databases["shop"]
    path = {"database": database, "directory": database.parent, "directory above": database.parent.parent}[what]
    before = goods(auxiliary)
    if at_start:
        machine.stop()
    with closed(path):
        if at_start:
            machine.start()
        elif role == "auxiliary":
            change(primary)
        machine.wait_state("shop", "offline", SAYS[what])
        change(primary)
        assert goods(auxiliary) == before
        if role == "auxiliary":
            primary.wait_state("shop", "identical")
    auxiliary.wait_identical("shop")
    assert goods(auxiliary) != before


@pytest.mark.parametrize("what", ["database", "directory above"])
def test_what_may_not_be_used_is_neither_shared_nor_accepted(machines: Pair, what: str) -> None:
    for machine, verb, option in zip(machines, ("share", "accept"), ("--from", "--into"), strict=True):
        other = machine.directory / "other" / "below" / "other.db"
        other.parent.mkdir(parents=True, exist_ok=True)
        shop.make(other, 3)
        for path in (other, other.parent, other.parent.parent):
            os.chown(path, NOBODY, NOBODY)
        path = {"database": other, "directory": other.parent, "directory above": other.parent.parent}[what]
        with closed(path):
            (line,) = machine.cli(verb, "other", option, f"sqlite:{other}", code=1).splitlines()
        unwritable = verb == "accept" and what == "database"
        assert ("cannot be written: give syncd the right to write it" if unwritable else SAYS[what]) in line
        shutil.rmtree(other.parent.parent)
