"""Two users on one primary: each device gets what is its users', and cannot tell the rest from what is not there
(R9)."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.core.errors import PeerError
from syncd.core.messages import Begin, Credit, Cut, Follow, Objects, Refusal, Report, Run, Types, Welcome, Wire
from tests.e2e import shop, trust
from tests.e2e.harness import Json, Machine, set_up
from tests.e2e.scripted import HELLO, dialed, hear, say

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

HERS, HIS, NOBODYS = "hers", "thesis", "thebis"  # the last two are as long as each other
GOODS = 20


class House:
    """A primary of ada and bob with a collection of each; devices of ada, of bob and of both, paired and running."""

    def __init__(self, directory: Path) -> None:
        self.primary = Machine(directory / "desk")
        self.ada, self.bob, self.both = (Machine(directory / name) for name in ("ada", "bob", "both"))
        self.hers, self.his = (shop.make(directory / f"{name}.db", GOODS) for name in (HERS, HIS))

    @property
    def machines(self) -> tuple[Machine, ...]:
        return self.primary, self.ada, self.bob, self.both

    def set_up(self) -> None:
        primary = self.primary
        set_up(*self.machines)
        primary.cli("users", "add", "bob")
        for name, user, source in ((HERS, "ada", self.hers), (HIS, "bob", self.his)):
            primary.cli("share", name, "--user", user, "--from", f"sqlite:{source}")
            primary.databases[name] = source
        for machine, user in ((self.ada, "ada"), (self.bob, "bob"), (self.both, "ada")):
            trust.pair_by_code(machine, primary, "--user", user)
        primary.cli("devices", "link", self.both.name, "bob")
        for machine in self.machines[1:]:
            for name in (HERS, HIS):
                machine.accept(name)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("house"))
    with made.primary, made.ada, made.bob, made.both:
        made.set_up()
        yield made
        for machine in reversed(made.machines):
            machine.stop()  # without a traceback in its log


def stock(machine: Machine, collection: str) -> int:
    """That of the first of the goods; -1 if they are not there."""
    database = machine.databases[collection]
    if not database.exists() or not shop.ask(database, "SELECT 1 FROM sqlite_master WHERE name = 'goods'"):
        return -1
    found = shop.ask(database, "SELECT stock FROM goods WHERE id = 1")
    return int(str(found[0][0])) if found else -1


def change(source: Path, number: int) -> None:
    shop.execute(source, f"UPDATE goods SET stock = {number}")


def listed(primary: Machine) -> dict[str, Json]:
    users = primary.cli_json("users")["users"]
    assert isinstance(users, list)
    return {one["name"]: one for one in users}


def test_each_device_gets_what_is_its_users_and_nothing_else(house: House) -> None:
    house.ada.wait_identical(HERS)
    house.bob.wait_identical(HIS)
    for name in (HERS, HIS):
        house.both.wait_identical(name)
    assert stock(house.ada, HIS) == stock(house.bob, HERS) == -1
    users = listed(house.primary)
    for user, name, device in (("ada", HERS, "ada"), ("bob", HIS, "bob")):
        assert users[user]["collections"] == [name]
        devices = users[user]["devices"]
        assert isinstance(devices, list)
        assert {one["name"] for one in devices} == {device, "both"}
    assert trust.device(house.primary, "both")["users"] == ["ada", "bob"]
    assert HIS not in json.dumps(house.primary.collection(HERS, "ada"))
    line = house.ada.collection(HIS)
    assert line["state"] != "identical"
    assert "shares no collection of this name (it shares hers)" in str(line["reason"])


def test_devices_are_linked_and_unlinked_while_they_run(house: House) -> None:
    primary, ada = house.primary, house.ada
    house.both.wait_identical(HIS)
    pids = [machine.pid for machine in house.machines]
    assert "ada is linked with ada, bob" in primary.cli("devices", "link", "ada", "bob")
    ada.wait_identical(HIS)
    change(house.his, 100)
    ada.wait_identical(HIS)
    assert "ada is linked with ada" in primary.cli("devices", "unlink", "ada", "bob")
    change(house.his, 200)
    change(house.hers, 300)
    house.both.wait_identical(HIS)
    ada.wait_identical(HERS)  # said after it, so that nothing more is under way
    assert stock(ada, HIS) == 100, "it keeps what it has, and gets no more"
    assert [machine.pid for machine in house.machines] == pids

    ada.restart()
    change(house.his, 201)
    change(house.hers, 301)
    house.both.wait_identical(HIS)
    ada.wait_identical(HERS)
    assert stock(ada, HIS) == 100
    primary.cli("devices", "link", "ada", "bob")
    ada.wait_identical(HIS)
    primary.cli("devices", "unlink", "ada", "bob")


def test_a_user_with_another_name_has_the_same_devices_and_collections(house: House) -> None:
    primary = house.primary
    primary.cli("users", "rename", "bob", "robert")
    change(house.his, 400)
    house.bob.wait_identical(HIS)
    primary.restart()
    assert set(listed(primary)) == {"ada", "robert"}
    assert listed(primary)["robert"]["collections"] == [HIS]
    change(house.his, 401)
    house.bob.wait_identical(HIS)
    primary.cli("users", "rename", "robert", "bob")
    house.bob.wait_identical(HIS)


def attempts(name: str, epoch: str) -> dict[str, tuple[Wire, ...]]:
    """What a device may say to get a collection that is not its user's: each message of the protocol with its name."""
    follow = Follow(name, "", 0, False, 0, 0, 0)
    report = Report(name, epoch, 5, bytes(16), GOODS, True, 0, "")
    objects = Objects(
        name, 0, 5, (Run(1, False, 1),), b"\1", [1], [b"\x91\x01"], [b"\x91\x01"], (), Cut(5, bytes(16), 1)
    )
    return {
        "follow": (follow,),
        "follow of what it holds": (dataclasses.replace(follow, epoch=epoch, position=5, cursor=5),),
        "follow once more, and a snapshot": (follow, dataclasses.replace(follow, again=True)),
        "follow in the midst of a transfer": (dataclasses.replace(follow, epoch=epoch, snapshot=True, cursor=3),),
        "credit": (Credit(name, 1_000_000),),
        "follow and credit": (follow, Credit(name, 1_000_000)),
        "report": (report,),
        "report that it is ahead": (dataclasses.replace(report, position=10**9),),
        "follow and report": (follow, report, dataclasses.replace(report, held=True)),
        "types": (Types(name, ()),),
        "begin": (Begin(name, epoch, True, 0, 0, 0, 5),),
        "objects": (objects,),
        "refusal": (follow, Refusal("stopping", name)),
    }


def test_what_is_another_users_answers_like_what_does_not_exist(house: House) -> None:
    primary, ada = house.primary, house.ada
    for machine, name in ((ada, HERS), (house.bob, HIS), (house.both, HERS), (house.both, HIS)):
        machine.wait_identical(name)  # so that the primary hears nothing more of them
    epoch = str(primary.status()["epoch"])
    ada.stop()  # its part is played here
    primary.wait(lambda: not trust.linked(primary, "ada"), "knows that it is gone")
    before = trust.known_state(primary)
    theirs, nobodys = attempts(HIS, epoch), attempts(NOBODYS, epoch)
    for what in theirs:
        heard, expected = asyncio.run(answers(house, *theirs[what])), asyncio.run(answers(house, *nobodys[what]))
        told = repr(heard).replace(HIS, "?")
        assert told == repr(expected).replace(NOBODYS, "?"), what
        print(f"{what}: {heard}")
        assert not any(isinstance(one, Begin | Types | Objects) for one in heard), what
    primary.wait(lambda: not trust.linked(primary, "ada"), "knows that it is gone")
    trust.wait_known(primary, before)
    ada.start()
    change(house.hers, 500)
    ada.wait_identical(HERS)
    head = int(str(primary.collection(HERS)["head"]))
    primary.wait(lambda: ("ada", HERS, head) in {one[:3] for one in reports(primary)}, "has kept what it was told")
    assert not any(digest == bytes(16) for *_, digest in reports(primary)), "of what was made up nothing is kept"


def reports(primary: Machine) -> list[shop.Row]:
    """What is kept of what devices said that they hold: device, collection, position, digest."""
    sql = "SELECT name, collection, position, digest FROM reports JOIN devices ON devices.id = reports.device"
    return shop.ask(primary.home / "sync.db", sql)


async def answers(house: House, *messages: Wire) -> list[object]:
    """All that the primary says to ada's device until it has answered a message of hers that comes after these, or
    ends the link: the messages, then the code."""
    heard: list[object] = []

    async def listen(until: type[Wire] | None) -> None:
        message: Wire | None = None
        while until is None or not isinstance(message, until):
            message = await hear(link)
            if getattr(message, "collection", "") != HERS:
                heard.append(message)

    async with dialed(house.ada, house.primary) as link:
        await say(link, dataclasses.replace(HELLO, name="ada"))
        welcome = await hear(link)
        assert isinstance(welcome, Welcome)
        assert welcome.collections == (HERS,)
        try:
            await say(link, *messages, Follow(HERS, "", 0, False, 0, 0, 0))
            await listen(Begin)
            await say(link, HELLO)  # against the rules: the end
            await listen(None)
        except PeerError as error:
            heard.append(error.code)
    return heard
