"""The claimed elements, each through real code from the application's database on the primary to the auxiliaries'."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from syncd.adapters.registry import adapter
from syncd.core.messages import Objects
from syncd.core.model import Kind, OutcomeKind
from syncd.core.ports import ChunkRequest
from syncd.core.query_builder import build
from syncd.core.selection import ALL
from syncd.store.inbound import SqliteInboundQueue
from tests.claims.chain import COLLECTION, Chain, execute, rows
from tests.contract.sync_database_kit import devices_of

SCHEMA = (
    "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL)",
    "CREATE TABLE line(id INTEGER PRIMARY KEY, orders INTEGER NOT NULL REFERENCES orders(id), goods TEXT,"
    " count INTEGER)",
    "INSERT INTO orders VALUES (1, 'Ada')",
    "INSERT INTO line VALUES (1, 1, 'pen', 3)",
)
ORDER = (
    "INSERT INTO orders VALUES (2, 'Grace')",
    "INSERT INTO line VALUES (2, 2, 'ink', 1)",
    "INSERT INTO line VALUES (3, 2, 'paper', 500)",
)
ALL_LINES = "SELECT * FROM line ORDER BY id"
A, B, C = "A" * 52, "B" * 52, "C" * 52


@pytest_asyncio.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """A primary and two auxiliaries, one of which speaks JSON; linked and in step."""
    execute(tmp_path / "source.db", *SCHEMA)
    async with Chain(tmp_path, ("msgpack", "json")) as made:
        await made.settle()
        await made.link(A)
        await made.link(B)
        yield made


@pytest_asyncio.fixture
async def several(tmp_path: Path) -> AsyncIterator[Chain]:
    """Two users on one primary: A is ada's, B is linked with both, C is grace's. The collection is ada's."""
    execute(tmp_path / "source.db", *SCHEMA)
    users = (("ada",), ("grace", "ada"), ("grace",))
    async with Chain(tmp_path, ("msgpack", "json", "msgpack"), users=users) as made:
        await made.settle()
        for device in (A, B, C):
            await made.link(device)
        yield made


def kinds(frames: list[Objects]) -> list[Kind]:
    return [message.kind for frame in frames for message in frame.messages()]


@pytest.mark.asyncio
async def test_20a_the_primary_makes_generic_messages_of_the_changes_since_a_previous_synchronization(
    chain: Chain,
) -> None:
    """20a: a set of generic messages identifying the changes since a previous synchronization, of no platform."""
    before = len(chain.objects(A))
    await chain.commit(*ORDER)
    await chain.commit("UPDATE line SET count = 2 WHERE id = 1", "DELETE FROM line WHERE id = 3")
    for device in (A, B):
        assert kinds(chain.objects(device)[before:]) == [Kind.ADD] * 3 + [Kind.MODIFY, Kind.DELETE]
    assert [list(frame.messages()) for frame in chain.objects(A)] == [list(one.messages()) for one in chain.objects(B)]


@pytest.mark.asyncio
async def test_20b_the_users_identifier_links_to_the_identifiers_of_the_auxiliaries(several: Chain) -> None:
    """20b: a database is read for the user's identifier, which links to two or more device identifiers, and those get
    the user's objects (R9)."""
    database = several.database
    assert [device.id for device in await devices_of(database, several.user)] == [A, B]
    assert [device.id for device in await devices_of(database, await database.ensure_user("grace"))] == [B, C]
    await several.commit(*ORDER)
    for device in (A, B):
        assert rows(several.target(device), ALL_LINES) == rows(several.source, ALL_LINES)
    assert several.objects(C) == []
    assert not several.target(C).exists()
    assert [name for name in (b"shop", b"line") for _, to, frame in several.sent if to == C and name in frame] == []


@pytest.mark.asyncio
async def test_20c_the_adapter_converts_for_each_auxiliary_by_its_identifier(chain: Chain) -> None:
    """20c: adapted messages for each auxiliary, in the format that its synchronization software uses."""
    spoken = {device.id: device.adapter for device in await devices_of(chain.database, chain.user)}
    assert spoken == {A: "msgpack", B: "json"}, "the greeting of each device has reached the database"
    await chain.commit(*ORDER)
    frames = {device: [frame for _, to, frame in chain.sent if to == device][-1] for device in spoken}
    assert isinstance(frames[A], bytes)
    assert isinstance(frames[B], str)
    for device, name in spoken.items():
        assert isinstance(adapter(name).decode(frames[device], chain.limits), Objects)


@pytest.mark.asyncio
async def test_20d_the_adapted_messages_are_sent_to_each_auxiliary(chain: Chain) -> None:
    """20d: the adapted messages are sent from the primary to the adapters of the auxiliaries."""
    before = {device: len(chain.objects(device)) for device in (A, B)}
    await chain.commit(*ORDER)
    assert {device: len(chain.objects(device)) for device in (A, B)} == {device: n + 1 for device, n in before.items()}


@pytest.mark.asyncio
async def test_20e_each_adapter_converts_adapted_messages_to_the_same_generic_messages(chain: Chain) -> None:
    """20e: each auxiliary's adapter converts adapted messages to generic messages."""
    await chain.commit(*ORDER)
    assert chain.objects(A)[-1] == chain.objects(B)[-1]
    assert len(chain.objects(A)[-1]) == 3


@pytest.mark.asyncio
async def test_20f_add_modify_and_delete_are_executed_on_what_the_application_uses(chain: Chain) -> None:
    """20f: each auxiliary executes the add, modify and delete functions on its application's data objects."""
    await chain.commit(*ORDER)
    await chain.commit("UPDATE line SET goods = 'pencil' WHERE id = 1", "DELETE FROM line WHERE id = 2")
    for device in (A, B):
        assert rows(chain.target(device), ALL_LINES) == [(1, 1, "pencil", 3), (3, 2, "paper", 500)]


@pytest.mark.asyncio
async def test_21ab_generic_messages_are_built_from_what_is_read_from_the_store(chain: Chain) -> None:
    """21a: the sync store is read for the changes since the previous synchronization; 21b: messages are made of it."""
    head = (await chain.store.open_collection(COLLECTION)).head
    await chain.commit(*ORDER)
    request = ChunkRequest(COLLECTION, ALL, head, 0, head)
    stored = await chain.store.read(request, 100, 1 << 20)
    assert len(stored.rows) == 3
    assert build(request, stored) == chain.objects(A)[-1]


@pytest.mark.asyncio
async def test_21c_a_first_table_links_one_user_with_two_or_more_devices(several: Chain) -> None:
    """21c: a first table whose entries link one user identifier with two or more device identifiers."""
    ada, grace = several.user, await several.database.ensure_user("grace")
    linked = rows(several.directory / "sync.db", "SELECT user, device FROM user_devices ORDER BY user, device")
    assert linked == await several.database.links() == sorted([(ada, A), (ada, B), (grace, B), (grace, C)])


@pytest.mark.asyncio
async def test_21dg_the_method_from_store_to_application(chain: Chain) -> None:
    """21d-g: as 20c to 20f, as a method: converted, sent, converted back, executed; proven by the checksum (R14)."""
    await chain.commit(*ORDER)
    for device in (A, B):
        assert rows(chain.target(device), ALL_LINES) == rows(chain.source, ALL_LINES)
        assert chain.engine(device).targets[COLLECTION].match


@pytest.mark.asyncio
async def test_22_an_error_in_an_object_cancels_all_synchronizations_of_its_transaction(chain: Chain) -> None:
    """22: the objects of a transaction are grouped in the store; an error with respect to one of them is determined;
    all synchronizations of the transaction's objects are cancelled."""
    await chain.commit(*ORDER[:2], "INSERT INTO line VALUES (3, 2, CAST(x'ff41' AS TEXT), 500)")
    assert (await chain.store.groups(COLLECTION, 1))[0].objects == 3
    for device in (A, B):
        assert rows(chain.target(device), "SELECT id FROM orders") == [(1,)]
        (part,) = chain.engine(device).targets[COLLECTION].parked.oldest
        assert part.failure.outcome is OutcomeKind.CANCELLED
        assert "UTF-8" in part.failure.cause
        assert part.objects == 3
        (told,) = chain.primary.standings[device, COLLECTION].report.failed
        assert told.type == "line"
    await chain.commit("UPDATE line SET goods = 'paper' WHERE id = 3")
    for device in (A, B):  # a later version replaces the guilty object
        assert rows(chain.target(device), ALL_LINES) == rows(chain.source, ALL_LINES)
        assert chain.engine(device).targets[COLLECTION].match


@pytest.mark.asyncio
async def test_23_an_error_in_an_object_rolls_all_objects_of_its_transaction_back(chain: Chain) -> None:
    """23: the same, and all are rolled back; the other device has them."""
    execute(
        chain.target(A),
        "CREATE TRIGGER own BEFORE INSERT ON line WHEN NEW.count > 100 BEGIN SELECT RAISE(ABORT, 'too many'); END",
    )
    await chain.commit(*ORDER)
    assert rows(chain.target(A), "SELECT id FROM orders") == [(1,)]
    assert rows(chain.target(A), ALL_LINES) == [(1, 1, "pen", 3)]
    (part,) = chain.engine(A).targets[COLLECTION].parked.oldest
    assert (part.failure.outcome, part.objects) == (OutcomeKind.ROLLED_BACK, 3)
    assert "too many" in part.failure.cause
    assert rows(chain.target(B), ALL_LINES) == rows(chain.source, ALL_LINES)
    execute(chain.target(A), "DROP TRIGGER own")
    await chain.pass_time(chain.limits.park_retry_s_first + 1)
    assert rows(chain.target(A), ALL_LINES) == rows(chain.source, ALL_LINES)


@pytest.mark.asyncio
async def test_24bd_platforms_links_and_the_store(chain: Chain) -> None:
    """24b: the auxiliaries exchange messages with the principal platform; 24d: a synchronization store database of the
    data objects. 24c is below."""
    assert {(sender[0], receiver[0]) for sender, receiver, _ in chain.sent} == {
        ("P", "A"),
        ("P", "B"),
        ("A", "P"),
        ("B", "P"),
    }
    assert (await chain.store.open_collection(COLLECTION)).objects == 2


@pytest.mark.asyncio
async def test_24c_the_synchronization_database_says_whose_platform_each_is_and_what_it_speaks(several: Chain) -> None:
    """24c: a synchronization database of the users and the platforms that are linked with each of them."""
    names = {user.name: user.id for user in await several.database.users()}
    found = {name: await devices_of(several.database, user) for name, user in names.items()}
    assert {name: [(one.id, one.role, one.adapter) for one in devices] for name, devices in found.items()} == {
        "ada": [(A, "auxiliary", "msgpack"), (B, "auxiliary", "json")],
        "grace": [(B, "auxiliary", "json"), (C, "auxiliary", "msgpack")],
    }


@pytest.mark.asyncio
async def test_24egh_objects_pass_through_interface_and_selection_into_the_store(chain: Chain) -> None:
    """24e: application interface; 24g: selection: the appropriate objects pass to the store; 24h: the store keeps a
    copy of them."""
    await chain.commit(*ORDER, "CREATE TABLE draft(text TEXT)", "INSERT INTO draft VALUES ('not shared: no key')")
    state = await chain.store.open_collection(COLLECTION)
    assert {one.name for one in state.types if ALL.takes(one.name)} == {"orders", "line"}
    assert state.objects == 5


@pytest.mark.asyncio
async def test_24ij_the_engine_retrieves_and_the_query_builder_builds(chain: Chain) -> None:
    """24i: the engine retrieves the store's content to be synchronized; 24j: the query builder builds the generic
    messages that pass to the adapter."""
    await chain.commit(*ORDER)
    follow = chain.primary.follows[A, COLLECTION]
    assert follow.cursor == (await chain.store.open_collection(COLLECTION)).head
    assert kinds(chain.objects(A)[-1:]) == [Kind.ADD] * 3


@pytest.mark.asyncio
async def test_24k_inbound_messages_are_retrieved_from_a_durable_queue(chain: Chain) -> None:
    """24k: the inbound queue retrieves the inbound messages: here an auxiliary's own, for what could not be executed.
    The principal platform's is in test_upward."""
    execute(chain.target(A), "CREATE UNIQUE INDEX own ON orders(customer)")
    await chain.commit("INSERT INTO orders VALUES (2, 'Ada')", "INSERT INTO line VALUES (2, 2, 'ink', 1)")
    queue = await SqliteInboundQueue.open(chain.directory / "A-inbound.db", lambda _: pytest.fail("nothing is staged"))
    try:
        (part,) = (await queue.parking(COLLECTION)).oldest
        (work,) = await queue.parked_works(COLLECTION, [part.id])
        assert sorted(work.types[number].name for frame in work.frames() for number in frame.types) == [
            "line",
            "orders",
        ]
    finally:
        await queue.close()
