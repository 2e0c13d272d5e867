"""Claims 20b and 24 on the devices themselves: homes with their settings, the primary's and the auxiliary's daemon
rooms, and who lies between whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.adapters.registry import restore
from syncd.auxiliary import Auxiliary
from syncd.core.effects import Send
from syncd.core.errors import HomeError
from syncd.core.events import LinkUp
from syncd.core.messages import Hello
from syncd.home import config
from syncd.primary import Primary
from syncd.store.inbound import SqliteInboundQueue
from tests import test_architecture as architecture
from tests.claims.chain import COLLECTION, PRIMARY, Chain, execute, rows
from tests.rooms_kit import auxiliary_home, device_of, primary_home, rooms_of

A, B = "A" * 52, "B" * 52
SCHEMA = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL)",
    "CREATE TABLE draft(id INTEGER PRIMARY KEY, text TEXT)",
    "INSERT INTO orders VALUES (1, 'Ada')",
    "INSERT INTO draft VALUES (1, 'not for the others')",
)


@pytest.mark.asyncio
async def test_20b_the_primary_knows_which_devices_are_linked_with_each_of_its_users(tmp_path: Path) -> None:
    """20b: a database is read for the user's identifier, which links to two or more device identifiers (R9)."""
    async with rooms_of(primary_home(tmp_path / "desk")) as (rooms, stack):
        ada, grace = await rooms.database.ensure_user("ada"), await rooms.database.ensure_user("grace")
        hers = [device_of(at, tmp_path / f"till-{at}") for at in range(2)]
        anothers, revoked = device_of(8, tmp_path / "another"), device_of(9, tmp_path / "revoked")
        for device in hers:
            await rooms.database.link(ada, device)
        await rooms.database.link(grace, anothers)
        await rooms.database.link_user(grace, hers[0].id)
        await rooms.database.link(ada, revoked)
        await rooms.database.revoke(revoked.id, 1)
        primary = Primary(rooms, stack)
        await primary.open()
        devices = (await primary.answer("status", {}))["devices"]
        assert isinstance(devices, list)
        assert [(device["id"], device["users"]) for device in devices] == [
            (hers[0].id, ["ada", "grace"]),
            (hers[1].id, ["ada"]),
            (anothers.id, ["grace"]),
            (revoked.id, ["ada"]),
        ]
        trust, known = primary.admission.trust, [*hers, anothers]
        assert [trust.device_of(device.certificate) for device in known] == [one.id for one in known]
        assert [trust.refusal_of(device.id) for device in (*known, revoked)] == ["", "", "", "revoked"]


def test_24a_the_framework_lies_between_application_and_adapter_and_the_adapter_before_the_network() -> None:
    """24a: an application, a framework module and an adapter: the framework lies between the application and the
    adapter, the adapter between the framework and the underlying synchronization software."""
    table = architecture.TABLE
    assert table["core"] == set(), "the framework knows neither applications nor adapters nor the network"
    assert table["adapters"] == {"core"}, "an adapter knows the framework's messages, and no application"
    assert "transport" not in table["applications"] | table["adapters"]
    assert "applications" not in table["transport"]
    assert architecture.violations(architecture.ROOT / "syncd") == []


@pytest.mark.asyncio
async def test_24f_a_person_selects_the_settings_and_the_device_follows_them(tmp_path: Path) -> None:
    """24f: settings module: a user selects settings and parameters."""
    async with rooms_of(auxiliary_home(tmp_path / "till", "json")) as (rooms, stack):
        auxiliary = Auxiliary(rooms, stack)
        await auxiliary.open()
        (greeting,) = auxiliary.engine.step(LinkUp(PRIMARY), 0.0)
        assert isinstance(greeting, Send)
        assert isinstance(greeting.message, Hello)
        assert (greeting.message.name, greeting.message.adapter) == ("till", "json")


def test_24f_a_setting_that_cannot_be_followed_is_refused_in_words(tmp_path: Path) -> None:
    """24f: what a person wrote is checked before anything runs."""
    home = auxiliary_home(tmp_path / "till")
    text = home.config.read_text().replace('adapter = "msgpack"', 'adapter = "pigeon"')
    home.config.write_text(text)
    with pytest.raises(HomeError, match="adapter") as caught:
        config.load(home)
    assert caught.value.advice


@pytest.mark.asyncio
async def test_24g_only_what_was_selected_passes_into_the_store(tmp_path: Path) -> None:
    """24g: selection module: the appropriate objects pass from the platform to the store; 24h: the store's copy."""
    execute(tmp_path / "source.db", *SCHEMA)
    async with Chain(tmp_path, tables=("orders",)) as chain:
        await chain.settle()
        await chain.link(A)
        await chain.commit("INSERT INTO draft VALUES (2, 'nor this')", "INSERT INTO orders VALUES (2, 'Grace')")
        state = await chain.store.open_collection(COLLECTION)
        assert (state.objects, [one.name for one in state.types]) == (2, ["orders"])
        tables = rows(chain.target(A), "SELECT name FROM sqlite_master WHERE name IN ('orders', 'draft')")
        assert tables == [("orders",)]
        assert all(b"not for" not in frame for _, _, frame in chain.sent if isinstance(frame, bytes))


@pytest.mark.asyncio
async def test_24k_messages_wait_in_the_inbound_queue_until_the_application_can_take_them(tmp_path: Path) -> None:
    """24k: inbound queue module: retrieves the inbound messages; here on the auxiliary. The principal platform's own,
    for messages that come up from the auxiliaries, is in test_upward."""
    execute(tmp_path / "source.db", *SCHEMA)
    async with Chain(tmp_path) as chain:
        await chain.settle()
        await chain.link(A)
        away = chain.target(A).rename(tmp_path / "away.db")
        await chain.commit("INSERT INTO orders VALUES (2, 'Grace')")
        queue = await SqliteInboundQueue.open(tmp_path / "A-inbound.db", restore)
        try:
            work = await queue.work(COLLECTION)
            assert work is not None
            assert sum(len(frame) for frame in work.frames()) == 1
        finally:
            await queue.close()
        away.rename(chain.target(A))
        await chain.pass_time(60.0)
        assert rows(chain.target(A), "SELECT id FROM orders ORDER BY id") == [(1,), (2,)]
        assert chain.engine(A).targets[COLLECTION].match
