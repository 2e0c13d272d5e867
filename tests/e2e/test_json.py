"""What real daemons of both roles tell as JSON is what STATUS.md documents: no key more, none less, of its type."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.control.status_page import keys_for, mistakes, told
from tests.e2e import shop
from tests.e2e.harness import VERB_S_MAX, Json, Machine, limited
from tests.e2e.proxy import Proxy

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOODS = 7_000
LONG = "UPDATE goods SET name = name || hex(zeroblob(500))"  # together more than the primary sends ahead
PASSED_BYTES = 1024 * 1024
RULE = "CREATE UNIQUE INDEX own_rule ON goods(name) WHERE name LIKE 'twin%'"


class Page:
    """STATUS.md, with what was told until now; each answer must be as it says."""

    def __init__(self) -> None:
        self._told: dict[tuple[str, str], set[str]] = {}

    def hold(self, heading: str, role: str, answer: Json) -> None:
        assert mistakes(heading, role, answer) == []
        self._told.setdefault((heading, role), set()).update(told(answer))

    def hold_both(self, heading: str, *machines: Machine) -> None:
        """What a verb that shows tells on each of them."""
        for machine in machines:
            self.hold(heading, machine.name, machine.cli_json(heading))

    def untold(self) -> list[str]:
        """The documented keys that were in no answer."""
        return [
            f"{heading} on the {role}: {key}"
            for (heading, role), seen in self._told.items()
            for key in sorted(keys_for(heading, role) - seen)
        ]


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    launcher = limited(park_retry_s_first=600.0)  # groups that failed are tried again just when asked for
    with Machine(tmp_path / "primary", launcher) as primary, Machine(tmp_path / "auxiliary", launcher) as auxiliary:
        yield primary, auxiliary


@contextmanager
def halted(proxy: Proxy) -> Iterator[None]:
    """The link delivers so many bytes, and no more until the block ends."""
    end, before = threading.Event(), proxy.passed

    def watch(passed: int) -> None:
        if passed - before >= PASSED_BYTES:
            end.wait(VERB_S_MAX)

    proxy.watch = watch
    try:
        yield
    finally:
        end.set()


def arranged(page: Page, primary: Machine, auxiliary: Machine, source: Path) -> None:
    """Both daemons run; one database is shared before the daemon runs, another while it does."""
    for machine in (primary, auxiliary):
        page.hold("init", machine.name, machine.init(machine.name))
    page.hold("share", "primary", primary.cli_json("share", "shop", "--from", f"sqlite:{source}"))
    for machine in (primary, auxiliary):
        machine.start()
        page.hold_both("status", machine)
    other = shop.make(source.with_name("other.db"), 3)
    page.hold("share", "primary", primary.cli_json("share", "other", "--from", f"sqlite:{other}"))
    primary.databases["shop"], auxiliary.primary = source, primary


def paired(page: Page, primary: Machine, auxiliary: Machine, address: str) -> None:
    opened = primary.cli_json("pair", "--token")
    page.hold("pair, on the primary", "primary", opened)
    told = auxiliary.cli_json("pair", str(opened["token"]))
    page.hold("pair, on an auxiliary", "auxiliary", told)
    auxiliary.dials(address)
    page.hold("pair, on the primary", "primary", primary.cli_json("pair"))
    people(page, primary, auxiliary)


def people(page: Page, primary: Machine, auxiliary: Machine) -> None:
    """Users and devices, and a third machine that comes and is cut off."""
    for verb in (("users", "add", "grace"), ("users", "rename", "grace", "hopper")):
        page.hold("users add, users rename", "primary", primary.cli_json(*verb))
    for change in ("link", "unlink"):
        told = primary.cli_json("devices", change, "auxiliary", "hopper")
        page.hold("devices link, devices unlink", "primary", told)
    told = primary.cli_json("devices", "rename", "auxiliary", "auxiliary")
    page.hold("devices rename, devices allow", "primary", told)
    page.hold("users", "primary", primary.cli_json("users"))
    settings(page, primary)


def settings(page: Page, primary: Machine) -> None:
    """What was set is as it was at the end."""
    name, device = "other.direction", "auxiliary"
    page.hold(
        "settings set, settings unset", "primary", primary.ask("settings_set", value="out", name=name, device=device)
    )
    page.hold("settings", "primary", primary.cli_json("settings", "other", "--device", "auxiliary"))
    page.hold("settings explain", "primary", primary.ask("settings_explain", name=name, device=device))
    exported = primary.ask("settings_export")
    page.hold("settings export", "primary", exported)
    page.hold("settings set, settings unset", "primary", primary.ask("settings_unset", name=name, device=device))
    page.hold("settings import", "primary", primary.ask("settings_import", toml=exported["toml"]))
    page.hold("settings journal", "primary", primary.ask("settings_journal"))
    primary.ask("settings_unset", name=name, device=device)


def bootstrapped(page: Page, primary: Machine, auxiliary: Machine, proxy: Proxy) -> None:
    """The auxiliary is identical, and was asked in the middle of its bootstrap."""
    target = auxiliary.databases["shop"] = auxiliary.directory / "target.db"
    with halted(proxy):
        page.hold("accept", "auxiliary", auxiliary.cli_json("accept", "shop", "--into", f"sqlite:{target}"))
        auxiliary.wait(lambda: "progress" in auxiliary.collection("shop"), "is in a transfer")
        primary.wait(lambda: "progress" in primary.collection("shop", "auxiliary"), "is in a transfer")
        page.hold_both("status", primary, auxiliary)
    auxiliary.wait_state("shop", "identical")
    page.hold_both("status", primary, auxiliary)


def failed_and_retried(page: Page, primary: Machine, auxiliary: Machine) -> None:
    """A group failed on the auxiliary, failed again, and was applied when its cause was gone."""
    target = auxiliary.databases["shop"]
    shop.execute(target, RULE)
    shop.execute(primary.databases["shop"], "UPDATE goods SET name = 'twin' WHERE id < 2")
    auxiliary.wait_state("shop", "parked")
    primary.wait(lambda: primary.collection("shop", "auxiliary").get("state") == "parked", "knows what is parked")
    page.hold_both("status", primary, auxiliary)
    page.hold_both("transactions", primary, auxiliary)
    failed = auxiliary.ask("retry")
    page.hold("retry", "auxiliary", failed)
    assert failed["applied"] == []
    shop.execute(target, "DROP INDEX own_rule")
    page.hold("retry", "auxiliary", auxiliary.cli_json("retry"))
    auxiliary.wait_state("shop", "identical")


def held(page: Page, primary: Machine) -> None:
    """Settings that would take everything away from the auxiliary are held, and rejected."""
    told = primary.ask("settings_set", name="shop.selection", value="id < 0", device="auxiliary")
    page.hold("settings set, settings unset", "primary", told)
    told = primary.ask("settings_import", toml='[[settings]]\ncollection = "shop"\nselection = "id < 0"\n')
    page.hold("settings import", "primary", told)
    for number in (1, 2):
        primary.ask("reject", group=f"settings-{number}")


def test_each_answer_of_each_role_has_the_documented_keys(machines: tuple[Machine, Machine], tmp_path: Path) -> None:
    (primary, auxiliary), page = machines, Page()
    source = shop.make(tmp_path / "shop.db", GOODS)
    shop.execute(source, LONG, "CREATE TABLE log(line TEXT)")
    arranged(page, primary, auxiliary, source)
    primary.wait_state("shop", "identical")
    with Proxy(str(primary.status()["address"])) as proxy:
        paired(page, primary, auxiliary, proxy.address)
        bootstrapped(page, primary, auxiliary, proxy)
        failed_and_retried(page, primary, auxiliary)
    held(page, primary)
    place = f"sqlite:{auxiliary.databases['shop']}"
    page.hold("accept", "auxiliary", auxiliary.cli_json("accept", "shop", "--into", place, "--replace"))
    page.hold_both("devices", primary, auxiliary)
    page.hold("revoke", "primary", primary.cli_json("revoke", "auxiliary"))
    assert page.untold() == []
