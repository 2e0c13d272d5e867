"""Each refusal as the command line shows it: one line, with what to do (exit codes 1, 2, 3)."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.home import identity
from syncd.home.paths import Home
from syncd.transport.token import make, parse
from tests.e2e import shop
from tests.e2e.harness import Fleet, Machine, limited

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    directory = tmp_path_factory.mktemp("refusals")
    with Fleet(directory) as fleet:
        fleet.primary.share("shop", shop.make(directory / "shop.db", 100))
        fleet.auxiliary.accept("shop")
        fleet.auxiliary.wait_identical("shop")
        yield fleet


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Machine]:
    """A device that nobody knows, its daemon running."""
    with Machine(tmp_path / "stranger") as machine:
        machine.init("auxiliary")
        machine.start()
        yield machine


def refused(machine: Machine, *verb: str, code: int = 1) -> str:
    """The one line that the command line says."""
    said = machine.cli(*verb, code=code)
    (line,) = said.splitlines()
    assert line.startswith("syncd: ")
    assert "Traceback" not in line
    return line


def token_of(primary: Machine) -> str:
    return primary.cli("pair", "--token").strip()


def test_tokens_that_do_not_work(fleet: Fleet, stranger: Machine) -> None:
    primary = fleet.primary
    assert "a code begins with a number" in refused(stranger, "pair", "hello")
    assert "begin with `syncd1-`" in refused(stranger, "pair", "hello@127.0.0.1:1")
    closed = token_of(primary)
    fingerprint, address = identity.load(Home(primary.home)).fingerprint, parse(closed).addresses[0]
    assert "copy the whole line" in refused(stranger, "pair", closed[:-9])
    mistyped = closed[:10] + ("a" if closed[10] != "a" else "b") + closed[11:]
    assert "mistyped" in refused(stranger, "pair", mistyped)
    wrong = make(fingerprint, secrets.token_bytes(16), (address,))
    line = refused(stranger, "pair", wrong)
    assert "token-wrong" in line
    assert "syncd pair --token" in line
    other = make(secrets.token_bytes(32), secrets.token_bytes(16), (address,))
    assert "not the primary that made the token" in refused(stranger, "pair", other)
    assert stranger.status()["devices"] == []

    with Machine(stranger.directory.with_name("second")) as second:
        second.init("auxiliary")
        second.start()
        second.cli("pair", closed)  # two wrong tries have not closed the window
        open_still = token_of(primary)
        line = refused(stranger, "pair", closed)
        assert "used" in line
        assert "syncd pair --token" in line
        stranger.cli("pair", open_still)
        assert "used" in refused(second, "pair", open_still)


def test_a_token_that_has_expired(tmp_path: Path, stranger: Machine) -> None:
    """The port where it worked is gone with it."""
    with Machine(tmp_path / "primary", limited(pairing_s_max=0.3)) as primary:
        primary.init("primary")
        primary.start()
        token = token_of(primary)
        lines: list[str] = []

        def is_over() -> bool:
            lines.append(refused(stranger, "pair", make_wrong(primary, token)))
            return "pairing is closed" in lines[-1]

        primary.wait(is_over, "has closed its window")
        assert "pairing is closed" in refused(stranger, "pair", token)
        assert "has expired" in lines[-1]
        assert "run `syncd pair` on the primary" in lines[-1]
        assert stranger.status()["devices"] == []


def make_wrong(primary: Machine, token: str) -> str:
    """A token of this primary that it never made."""
    fingerprint = identity.load(Home(primary.home)).fingerprint
    return make(fingerprint, secrets.token_bytes(16), parse(token).addresses)


def test_verbs_of_the_other_role(fleet: Fleet, stranger: Machine, tmp_path: Path) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    place = f"sqlite:{shop.make(tmp_path / 'other.db')}"
    token = token_of(primary)
    for machine, verb in (
        (primary, ("pair", token)),
        (primary, ("accept", "other", "--into", place)),
        (auxiliary, ("share", "other", "--from", place)),
        (auxiliary, ("pair", "--token")),
    ):
        line = refused(machine, *verb)
        assert "primary" in line
        assert "auxiliary" in line
        assert "run" in line
    assert "auxiliaries" in refused(primary, "retry")
    assert "`syncd pair CODE` here" in refused(auxiliary, "pair", "--token")
    for machine in (primary, auxiliary):
        assert "'nobody'" in refused(machine, "transactions", "--device", "nobody")


def test_lines_that_cannot_be_understood(fleet: Fleet) -> None:
    for verb in (("accept", "shop"), ("share", "x", "--from", "nothing"), ("pair", "--address", "host:1"), ("dance",)):
        assert "syncd" in refused(fleet.primary, *verb, code=2)


def test_a_daemon_that_does_not_run(tmp_path: Path) -> None:
    for role in ("primary", "auxiliary"):
        machine = Machine(tmp_path / role)
        assert "syncd init" in refused(machine, "status")
        machine.init(role)
        for verb in (("status",), ("pair", "--token"), ("transactions",), ("retry",)):
            assert "syncd run" in refused(machine, *verb, code=3)
        if role == "primary":  # these work all the same
            machine.share("shop", shop.make(tmp_path / "shop.db"))
        else:
            machine.accept("shop")


def test_two_daemons_of_one_home(fleet: Fleet) -> None:
    assert "runs" in refused(fleet.primary, "run")


def why_apart(machine: Machine, word: str) -> str:
    """The line of `syncd status` that says why the primary is not reached."""

    def lines() -> list[str]:
        return [line for line in machine.cli("status").splitlines() if word in line]

    machine.wait(lambda: bool(lines()), f"says {word!r}")
    (line,) = lines()
    return line


def test_why_the_primary_is_not_reached_is_what_happened_last(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    primary.stop()
    line = why_apart(auxiliary, "Connection refused")
    assert "if its address changed, `syncd pair` there and `syncd pair CODE` here" in line
    for machine, other in ((primary, auxiliary), (auxiliary, primary)):
        assert f"linked with {other.name} (" in machine.log.read_text()
    assert f"unlinked from {primary.name} (" in auxiliary.log.read_text()
    primary.start()
    auxiliary.wait_identical("shop")
    auxiliary.wait(lambda: "Connection refused" not in auxiliary.cli("status"), "tells no failure while linked")


def away(fleet: Fleet, tables: str) -> None:
    """While both daemons rest, the auxiliary goes from these tables of the primary's sync database."""
    device = fleet.auxiliary.status()["device"]
    assert isinstance(device, dict)
    fleet.auxiliary.stop()
    fleet.primary.stop()
    for table in tables.split():
        column = "id" if table == "devices" else "device"
        shop.execute(fleet.primary.home / "sync.db", f"DELETE FROM {table} WHERE {column} = '{device['id']}'")
    fleet.primary.start()
    fleet.auxiliary.start()


def test_a_device_that_is_linked_with_no_user_is_told_of_nothing_and_keeps_what_it_has(fleet: Fleet) -> None:
    auxiliary = fleet.auxiliary
    away(fleet, "user_devices")
    auxiliary.wait(
        lambda: "shares no collection" in str(auxiliary.collection("shop").get("reason")), "is told of nothing"
    )
    assert auxiliary.collection("shop")["objects"]
    devices = fleet.primary.status()["devices"]
    assert isinstance(devices, list)
    assert [(one["users"], one["collections"]) for one in devices if one["connected"]] == [([], [])]
    auxiliary.pair(fleet.primary)
    auxiliary.wait_identical("shop")


def test_a_device_that_was_forgotten(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    away(fleet, "user_devices failed reports devices")
    line = why_apart(auxiliary, "does not know this device")
    assert "`syncd pair` on the primary, `syncd pair CODE` here" in line
    auxiliary.pair(primary)
    auxiliary.wait_identical("shop")


def test_a_primary_that_was_set_up_anew_at_the_same_address(fleet: Fleet, tmp_path: Path) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    address = str(primary.status()["address"])
    primary.stop()
    with Machine(tmp_path / "anew") as anew:
        anew.cli("init", "--role", "primary", "--user", "ada", "--name", "anew", "--listen", address)
        anew.start()
        auxiliary.restart()
        assert "pair again" in why_apart(auxiliary, "not the primary that was paired")
    primary.start()
    auxiliary.restart()
    auxiliary.wait_identical("shop")


def test_a_store_that_was_deleted_begins_another_epoch_and_nothing_is_lost(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source = primary.databases["shop"]
    before = primary.status()["epoch"]
    primary.stop()
    for name in ("store.db", "store.db-wal", "store.db-shm"):
        (primary.home / name).unlink(missing_ok=True)
    shop.execute(source, "DELETE FROM goods WHERE id = 50", "UPDATE goods SET stock = 99 WHERE id = 51")
    primary.start()
    auxiliary.wait_identical("shop")
    assert primary.status()["epoch"] not in ("", before)
    assert auxiliary.status()["epoch"] == primary.status()["epoch"]


def test_a_store_that_was_restored_from_an_older_copy_gives_its_numbers_twice_and_nothing_is_lost(fleet: Fleet) -> None:
    primary, auxiliary = fleet.primary, fleet.auxiliary
    source, copies = primary.databases["shop"], primary.directory / "copies"
    primary.stop()
    copies.mkdir()
    for file in primary.home.glob("store.db*"):
        shutil.copy(file, copies)
    primary.start()
    shop.execute(source, "INSERT INTO goods VALUES (5000, 'after the copy', 1)", "DELETE FROM goods WHERE id = 52")
    auxiliary.wait_identical("shop")
    primary.stop()
    shop.execute(source, "INSERT INTO goods VALUES (4000, 'before', 1), (4001, 'before', 2)")
    for file in primary.home.glob("store.db*"):
        file.unlink()
    for file in copies.iterdir():
        shutil.copy(file, primary.home)
    primary.start()
    auxiliary.wait_identical("shop")
