"""Pairing, revocation and links of users, both ends together: what each of them keeps, and when."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

import pytest

from syncd.auxiliary import Auxiliary
from syncd.core.errors import DiskError, DiskFull, HomeError, Refused, UserError
from syncd.core.model import Role
from syncd.core.settings import Limits
from syncd.core.status import Json
from syncd.primary import Primary
from syncd.store.sync_database import SqliteSyncDatabase
from syncd.transport.code import Code
from syncd.transport.pairing import Own, Paired, Spent
from tests.roles_kit import Town, devices, pair, shown_code
from tests.wait import eventually

pytestmark = pytest.mark.asyncio


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


async def knows(role: Primary | Auxiliary) -> list[str]:
    """The names of all devices in the sync database."""
    return [one.name for one in await role.rooms.database.all_devices()]


async def exchanged(auxiliary: Auxiliary, primary: Primary) -> Paired:
    """The exchange alone: nothing is kept yet."""
    paired = await auxiliary.link.meet(await shown_code(primary), "", lambda device: None)
    assert (await knows(primary), await knows(auxiliary)) == ([], [])
    return paired


async def test_a_code_links_two_machines_that_find_each_other(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        opened = await desk.answer("pair_open", {})
        waiting = asyncio.create_task(desk.answer("pair_wait", {"shown": opened["code"]}))
        told = await laptop.answer("pair", {"shown": opened["code"]})
        own = laptop.rooms.identity.device_id
        assert told == {
            "device": desk.rooms.identity.device_id,
            "name": "desk",
            "user": "ada",
            "linked": True,
            "backups": [],
        }
        assert await waiting == {"device": own, "name": "laptop", "user": "ada", "linked": True, "reason": ""}
        await eventually(lambda: desk.engine.connected(own))
        assert [(one["name"], one["users"]) for one in await devices(desk)] == [("laptop", ["ada"])]
        assert [(one["name"], one["role"]) for one in await devices(laptop)] == [("desk", "primary")]


async def test_a_token_links_as_well_and_its_port_is_gone_afterwards(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        token = str((await desk.answer("pair_open", {"token": True}))["token"])
        assert (await laptop.answer("pair", {"shown": token}))["linked"] is True
        with pytest.raises(Exception, match="pairing is closed"):
            await laptop.answer("pair", {"shown": token})
        assert await knows(desk) == ["laptop"]


async def test_a_code_is_for_the_user_that_it_was_opened_for(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        with pytest.raises(UserError, match="no user 'grace'"):
            await shown_code(desk, "grace")
        await desk.answer("user_add", {"user": "grace"})
        assert (await pair(laptop, desk, "grace"))["user"] == "grace"
        assert desk.engine.users == {laptop.rooms.identity.device_id: ("grace",)}


async def test_whoever_waits_no_more_closes_their_own_code_alone(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        given_up, other = await shown_code(desk), await shown_code(desk)
        waiting = asyncio.create_task(desk.answer("pair_wait", {"shown": given_up}))
        await desk.answer("pair_close", {"shown": given_up})
        assert "closed" in str((await waiting)["reason"])
        assert (await laptop.answer("pair", {"shown": other}))["linked"] is True
        await desk.answer("pair_close", {"shown": "0000-never-shown"})


async def test_of_several_primaries_the_one_that_shows_the_code_is_met(town: Town) -> None:
    async with town.primary("one") as one, town.primary("two") as two, town.auxiliary() as laptop:
        first, second = await shown_code(one), await shown_code(two)
        assert (await laptop.answer("pair", {"shown": second}))["name"] == "two"
        opened = one.people._opened[first]
        assert opened.over is None, "the other's code is not spent"


async def test_where_nobody_pairs_it_is_said(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncd.primary_link.FIND_S_MAX", 0.05)
    async with town.primary(), town.auxiliary() as laptop:
        with pytest.raises(Exception, match="no primary that pairs is heard"):
            await laptop.answer("pair", {"shown": "4821-otter-lamp"})


async def test_whoever_announces_whatever_the_search_for_a_primary_ends(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.primary_link.FIND_S_MAX", 0.3)

    async def announce(desk: Primary) -> None:
        for port in itertools.count(1):
            await laptop.rooms.database.users()  # the search has its turn
            assert desk.admission.discovery is not None
            await desk.admission.discovery.advertise(desk.rooms.identity.device_id, 1 + port % 1_000)

    async with town.primary() as desk, town.auxiliary() as laptop:
        announcing = asyncio.create_task(announce(desk))
        try:
            with pytest.raises(Exception, match="no primary that pairs is heard"):
                async with asyncio.timeout(30):
                    await laptop.answer("pair", {"shown": "4821-otter-lamp"})
        finally:
            announcing.cancel()
            await asyncio.wait((announcing,))


async def test_where_devices_came_from_is_known_after_a_restart(town: Town) -> None:
    """In a flood of strangers they have a place at once."""
    async with town.primary() as desk, town.auxiliary() as laptop, town.auxiliary("till") as till:
        await pair(laptop, desk)
        await pair(till, desk)
        await desk.answer("revoke", {"device": "till"})
    async with town.primary() as desk:
        assert desk.admission.listener.homes == ["127.0.0.1"]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("otter-lamp", "a code begins with a number"),
        ("lamp", "a code begins with a number"),
        ("syncd1-abc", "the token is cut short"),
        ("yncd1-abc@127.0.0.1:1", "this is no token"),
    ],
)
async def test_what_was_typed_is_taken_for_what_it_was_meant_to_be(town: Town, typed: str, says: str) -> None:
    async with town.auxiliary() as laptop:
        with pytest.raises(UserError, match=says):
            await laptop.answer("pair", {"shown": typed})


async def test_of_false_primaries_just_one_can_guess_a_code(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    met: list[tuple[str, ...]] = []

    async def spent(own: Own, code: Code, places: tuple[str, ...], limits: Limits) -> Paired:
        met.append(places)
        raise Spent("it broke off", "pair again, with another code", "code-other")

    monkeypatch.setattr("syncd.primary_link.pair_by_code", spent)
    async with town.primary("one") as one, town.primary("two") as two, town.auxiliary() as laptop:
        await shown_code(one)
        code = await shown_code(two)
        with pytest.raises(Spent):
            await laptop.answer("pair", {"shown": code})
    assert len(met) == 1


# ---------------------------------------------------------------- half-done pairings leave no trace


async def test_a_primary_that_ends_after_the_exchange_has_forgotten_it_and_so_does_the_auxiliary(town: Town) -> None:
    async with town.auxiliary() as laptop:
        async with town.primary() as desk:
            paired = await exchanged(laptop, desk)
        async with town.primary() as desk:
            with pytest.raises(Refused, match="forgot the pairing"):
                await laptop.link.follow(paired)
            assert (await knows(desk), await knows(laptop)) == ([], [])
            assert laptop.link.primary is None
            assert (await pair(laptop, desk))["linked"] is True


async def test_an_auxiliary_that_ends_after_the_exchange_is_forgotten_by_the_primary(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.admission.LOOK_S", 0.01)
    async with town.primary() as desk:
        async with town.auxiliary() as laptop:
            await exchanged(laptop, desk)
            certificate = laptop.rooms.identity.certificate_der
        assert desk.admission.trust.device_of(certificate)
        now = desk.rooms.ports.now
        desk.rooms.ports.now = lambda: now() + desk.rooms.limits.pairing_s_max
        await eventually(lambda: desk.admission.trust.device_of(certificate) is None)
        assert await knows(desk) == []


@pytest.mark.parametrize("forgotten", [False, True])
async def test_an_auxiliary_that_ends_before_its_first_link_settles_it_when_it_begins_again(
    town: Town, forgotten: bool
) -> None:
    """Either both know each other or neither does."""
    async with town.primary() as desk:
        async with town.auxiliary() as laptop:
            paired = await exchanged(laptop, desk)
            laptop.link.dialer.addresses = tuple  # it comes to no link
            following = asyncio.create_task(laptop.link.follow(paired))
            await eventually(lambda: laptop.link.primary is not None)
            following.cancel()
            await asyncio.wait([following])
        if forgotten:
            desk.admission._drop(laptop.rooms.identity.device_id)  # as when its time is up
        async with town.auxiliary() as laptop:
            if forgotten:
                await eventually(lambda: laptop.link.primary is None)
                assert (await knows(desk), await knows(laptop)) == ([], [])
            else:
                await eventually(lambda: desk.engine.connected(laptop.rooms.identity.device_id))
                assert (await knows(desk), await knows(laptop)) == (["laptop"], ["desk"])


async def test_a_first_link_that_finds_no_room_is_made_later(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    link, full = SqliteSyncDatabase.link, [True]

    async def no_room(self: SqliteSyncDatabase, user: int, device: object) -> None:
        if device.role == Role.AUXILIARY and full:  # type: ignore[attr-defined]
            full.pop()
            raise DiskFull("no room", "make room")
        await link(self, user, device)  # type: ignore[arg-type]

    monkeypatch.setattr(SqliteSyncDatabase, "link", no_room)
    async with town.primary() as desk, town.auxiliary() as laptop:
        assert (await pair(laptop, desk))["linked"] is True
        assert full == []


# ---------------------------------------------------------------- cut off, linked, renamed


async def test_a_revoked_device_is_told_once_and_dials_no_more_not_even_after_a_restart(town: Town) -> None:
    async with town.primary() as desk:
        async with town.auxiliary() as laptop:
            await pair(laptop, desk)
            told = await desk.answer("revoke", {"device": "laptop"})
            assert (told["name"], told["connected"], told["users"]) == ("laptop", True, ["ada"])
            await eventually(lambda: laptop.link.dialer.over)
            assert not laptop.link.linked
            assert [one["revoked"] != "" for one in await devices(desk)] == [True]
            assert desk.engine.revoked == {laptop.rooms.identity.device_id}
            await eventually(lambda: laptop.link.primary is not None and laptop.link.primary.revoked_us)
            with pytest.raises(UserError, match="was revoked on"):
                await desk.answer("revoke", {"device": "laptop"})
        async with town.auxiliary() as laptop:
            assert laptop.link.dialer.over
            told = (await laptop.answer("status", {}))["devices"][0]  # type: ignore[index]
            assert "cut this device off" in str(told["reason"])
            laptop.link.dialer.hint()
            assert laptop.link.dialer.over
            assert (await pair(laptop, desk))["linked"] is True
            assert [one["revoked"] for one in await devices(desk)] == [""]
            assert desk.engine.revoked == set()


async def test_a_device_is_cut_off_although_that_finds_no_room_on_the_disk(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: SqliteSyncDatabase, device: str, when_us: int) -> None:
        raise DiskFull("no room", "make room")

    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        with monkeypatch.context() as patch:
            patch.setattr(SqliteSyncDatabase, "revoke", full)
            with pytest.raises(DiskError, match="laptop is cut off until this daemon ends"):
                await desk.answer("revoke", {"device": "laptop"})
        await eventually(lambda: laptop.link.dialer.over)
        await desk.answer("revoke", {"device": "laptop"})
        assert [one["revoked"] != "" for one in await devices(desk)] == [True]


async def test_a_user_who_is_renamed_between_code_and_first_link_is_the_same(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        paired = await exchanged(laptop, desk)
        await desk.answer("user_rename", {"user": "ada", "name": "countess"})
        await desk.answer("user_add", {"user": "ada"})
        assert await laptop.link.follow(paired)
        assert [one["users"] for one in await devices(desk)] == [["countess"]]


async def test_a_device_that_was_revoked_while_it_was_away_learns_it_when_it_comes(town: Town) -> None:
    async with town.primary() as desk:
        async with town.auxiliary() as laptop:
            await pair(laptop, desk)
        await eventually(lambda: not desk.engine.connected(laptop.rooms.identity.device_id))
        await desk.answer("revoke", {"device": "laptop"})
        async with town.auxiliary() as laptop:
            await eventually(lambda: laptop.link.dialer.over)


async def test_a_device_is_called_by_its_label_its_name_or_the_beginning_of_its_id(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop, town.auxiliary("till") as till:
        await pair(laptop, desk)
        await pair(till, desk)
        own = laptop.rooms.identity.device_id
        await desk.answer("device_rename", {"device": own[:6].lower(), "name": "thin"})
        assert (await desk.answer("device_rename", {"device": "thin", "name": "slim"}))["name"] == "slim"
        assert desk.admission.find("laptop").id == own, "its own name stays one of its names"
        await desk.answer("device_rename", {"device": "slim", "name": "till"})
        with pytest.raises(UserError, match="2 devices are called 'till'"):
            desk.admission.find("till")
        with pytest.raises(UserError, match="no device 'nobody'"):
            await desk.answer("revoke", {"device": "nobody"})


async def test_a_device_is_linked_with_one_more_user_and_loses_one(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        await desk.answer("user_add", {"user": "grace"})
        told = await desk.answer("device_link", {"device": "laptop", "user": "grace"})
        assert told["users"] == ["ada", "grace"]
        assert (await desk.answer("device_unlink", {"device": "laptop", "user": "ada"}))["users"] == ["grace"]
        await eventually(lambda: laptop.engine.welcome is not None and laptop.engine.welcome.user == "grace")
        assert (await desk.answer("users", {}))["users"] == [
            {"name": "ada", "devices": [], "collections": []},
            {
                "name": "grace",
                "devices": [{"id": laptop.rooms.identity.device_id, "name": "laptop"}],
                "collections": [],
            },
        ]
        with pytest.raises(UserError, match="no user 'nobody'"):
            await desk.answer("device_link", {"device": "laptop", "user": "nobody"})


async def test_a_user_is_renamed_in_the_file_and_for_devices(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        await desk.answer("user_rename", {"user": "ada", "name": "countess"})
        assert desk.rooms.config.user == "countess"
        assert [one["users"] for one in await devices(desk)] == [["countess"]]
    async with town.primary() as desk:
        assert (await desk.answer("status", {}))["user"] == "countess"


# ---------------------------------------------------------------- being found


async def test_a_primary_that_listens_elsewhere_is_found_again(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    async with town.auxiliary() as laptop:
        async with town.primary() as desk:
            await pair(laptop, desk)
            device = laptop.rooms.identity.device_id
            before = laptop.link.addresses()
        await eventually(lambda: not laptop.link.linked)
        monkeypatch.setattr("syncd.admission.split_address", lambda listen: ("127.0.0.1", 0))
        async with town.primary() as desk:
            await eventually(lambda: desk.engine.connected(device))
            at = "{}:{}".format(*desk.admission.listener.address)
            assert at not in before
            await eventually(lambda: laptop.link.addresses()[0] == at)  # the first to be dialed from here on


async def test_a_link_that_is_dead_without_a_sign_is_given_up_when_the_network_changed(town: Town) -> None:
    async with town.primary() as desk, town.auxiliary() as laptop:
        await pair(laptop, desk)
        link = laptop.link._link
        assert link is not None
        link._websocket.transport.pause_reading()  # nothing comes through any more
        laptop.link._moved.set()
        await eventually(lambda: laptop.link._link not in (None, link), Limits().send_s_max / 2)


async def test_a_user_is_renamed_though_the_file_cannot_be_written(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    def unwritable(*args: object) -> None:
        raise HomeError("config.toml cannot be written", "look at the disk")

    async with town.primary() as desk, town.auxiliary() as laptop:
        monkeypatch.setattr("syncd.arrange.rename_user", unwritable)
        with pytest.raises(HomeError):
            await desk.answer("user_rename", {"user": "ada", "name": "countess"})
        assert (await pair(laptop, desk))["user"] == "countess"
    monkeypatch.undo()
    async with town.primary() as desk:
        assert desk.rooms.config.user == "countess"


@pytest.mark.parametrize("given", [{}, {"user": None, "name": None, "device": None, "shown": None}, {"user": ["ada"]}])
async def test_what_is_not_said_is_no_name(town: Town, given: Json) -> None:
    async with town.primary() as desk:
        for verb in ("user_add", "user_rename", "device_rename", "device_link", "device_allow", "revoke", "pair_wait"):
            with pytest.raises(UserError, match="is missing"):
                await desk.answer(verb, given)
        assert [user.name for user in await desk.rooms.database.users()] == ["ada"]
