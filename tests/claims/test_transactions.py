"""Claims 22 and 23 at every turn: a group with one bad object among several is cancelled or rolled back whole, as it
happens, in a catch-up and in a snapshot, while all other groups and devices go on."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.core.model import ObjectId, OutcomeKind
from syncd.core.ports import ParkedPart
from tests.claims.chain import COLLECTION, Chain, execute, rows

pytestmark = pytest.mark.asyncio

A, B = "A" * 52, "B" * 52
ORDERS = "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT NOT NULL)"
LINE = "CREATE TABLE line(id INTEGER PRIMARY KEY, orders INTEGER REFERENCES orders(id), goods TEXT, count INTEGER{})"
FIRST = ("INSERT INTO orders VALUES (1, 'Ada')", "INSERT INTO line VALUES (1, 1, 'pen', 3)")
OTHER = ("INSERT INTO orders VALUES (9, 'Edsger')", "INSERT INTO line VALUES (9, 9, 'chalk', 1)")
NOT_TEXT = (
    "INSERT INTO orders VALUES (2, 'Grace')",
    "INSERT INTO line VALUES (2, 2, 'ink', 1)",
    "INSERT INTO line VALUES (3, 2, CAST(x'ff41' AS TEXT), 5)",
)
TOO_MANY = (
    "INSERT INTO orders VALUES (2, 'Grace')",
    "INSERT INTO line VALUES (2, 2, 'ink', 1)",
    "INSERT INTO line VALUES (3, 2, 'paper', 500)",
    "UPDATE line SET count = 4 WHERE id = 1",
)
EVERYTHING = "SELECT 'orders', id, customer, NULL FROM orders UNION ALL SELECT 'line', id, goods, count FROM line"


def everything(path: Path) -> list[tuple[object, ...]]:
    return sorted(rows(path, EVERYTHING), key=repr)


def made(directory: Path, *, check: bool = False) -> Chain:
    """A primary and two auxiliaries; with ``check``, the application on A has a rule of its own."""
    execute(directory / "source.db", ORDERS, LINE.format(""), *FIRST)
    if check:
        execute(directory / "A.db", ORDERS, LINE.format(", CHECK (count < 100)"))
    return Chain(directory, ("msgpack", "json"))


async def link(chain: Chain) -> None:
    await chain.settle()
    for device in (A, B):
        await chain.link(device)


def parked(chain: Chain, device: str) -> ParkedPart:
    """The one part that is parked on the device; the primary was told of it."""
    (part,) = chain.engine(device).targets[COLLECTION].parked.oldest
    report = chain.primary.standings[device, COLLECTION].report
    assert [(one.outcome, one.cause) for one in report.failed] == [(part.failure.outcome.value, part.failure.cause)]
    assert not report.match
    return part


def guilty(part: ParkedPart) -> ObjectId:
    assert part.failure.guilty is not None
    return part.failure.guilty


async def test_22_an_error_before_execution_cancels_the_group_whole_on_every_device(tmp_path: Path) -> None:
    """22: an error with respect to one or more objects of a transaction is determined: all synchronizations of the
    transaction's objects are cancelled."""
    async with made(tmp_path) as chain:
        await link(chain)
        before = everything(chain.target(A))
        await chain.commit(*NOT_TEXT)
        group = (await chain.store.groups(COLLECTION, 1))[0]
        for device in (A, B):
            part = parked(chain, device)
            assert (part.failure.outcome, part.seqs, part.objects) == (OutcomeKind.CANCELLED, (group.seq,), 3)
            assert guilty(part).type == "line"
            assert everything(chain.target(device)) == before
        await chain.commit(*OTHER)
        for device in (A, B):
            assert len(everything(chain.target(device))) == len(before) + len(OTHER)


async def test_22_in_a_catch_up_the_group_with_the_error_is_cancelled_and_no_other(tmp_path: Path) -> None:
    """22, where the groups of a time away arrive joined."""
    async with made(tmp_path) as chain:
        await link(chain)
        await chain.unlink(A)
        await chain.commit(*NOT_TEXT)
        await chain.commit(*OTHER)
        await chain.link(A)
        assert parked(chain, A).failure.outcome is OutcomeKind.CANCELLED
        assert everything(chain.target(A)) == everything(chain.target(B))
        assert rows(chain.target(A), "SELECT id FROM orders ORDER BY id") == [(1,), (9,)]


async def test_22_the_group_is_applied_whole_when_the_object_is_repaired(tmp_path: Path) -> None:
    """22: what was cancelled is not lost."""
    async with made(tmp_path) as chain:
        await link(chain)
        await chain.commit(*NOT_TEXT)
        await chain.commit("UPDATE line SET goods = 'paper' WHERE id = 3")
        for device in (A, B):
            assert everything(chain.target(device)) == everything(chain.source)
            assert chain.engine(device).targets[COLLECTION].match


async def test_23_an_error_during_execution_rolls_the_group_back_whole_and_the_other_device_has_it(
    tmp_path: Path,
) -> None:
    """23: an error with respect to one or more objects of a transaction is determined: all are rolled back."""
    async with made(tmp_path, check=True) as chain:
        await link(chain)
        before = everything(chain.target(A))
        await chain.commit(*TOO_MANY)
        part = parked(chain, A)
        assert (part.failure.outcome, part.objects) == (OutcomeKind.ROLLED_BACK, 4)
        assert "CHECK" in part.failure.cause
        assert guilty(part).type == "line"
        assert everything(chain.target(A)) == before
        assert everything(chain.target(B)) == everything(chain.source)
        assert chain.engine(B).targets[COLLECTION].match


async def test_23_groups_that_touch_a_rolled_back_one_wait_behind_it_and_all_others_go_on(tmp_path: Path) -> None:
    """23: no object of the transaction is synchronized by another way."""
    async with made(tmp_path, check=True) as chain:
        await link(chain)
        await chain.commit(*TOO_MANY)
        await chain.commit(
            "UPDATE line SET goods = 'blue ink' WHERE id = 2", "UPDATE orders SET customer = 'A' WHERE id = 1"
        )
        await chain.commit(*OTHER)
        target = chain.target(A)
        assert rows(target, "SELECT id, customer FROM orders ORDER BY id") == [(1, "Ada"), (9, "Edsger")]
        (part,) = chain.engine(A).targets[COLLECTION].parked.oldest
        assert len(part.seqs) == 2


async def test_23_in_a_catch_up_the_group_with_the_error_is_rolled_back_and_no_other(tmp_path: Path) -> None:
    """23, where the groups of a time away are executed in one go."""
    async with made(tmp_path, check=True) as chain:
        await link(chain)
        await chain.unlink(A)
        await chain.commit(*TOO_MANY)
        await chain.commit(*OTHER)
        await chain.link(A)
        assert parked(chain, A).failure.outcome is OutcomeKind.ROLLED_BACK
        assert rows(chain.target(A), "SELECT id, count FROM line ORDER BY id") == [(1, 3), (9, 1)]


async def test_23_in_a_snapshot_the_object_with_the_error_is_left_out_and_reported(tmp_path: Path) -> None:
    """23, where transactions are not known: what was imported before syncd saw any of them."""
    chain = made(tmp_path, check=True)
    execute(tmp_path / "source.db", *TOO_MANY, *OTHER)
    async with chain:
        await link(chain)
        part = parked(chain, A)
        assert (part.failure.outcome, part.objects) == (OutcomeKind.ROLLED_BACK, 1)
        assert rows(chain.target(A), "SELECT id FROM line ORDER BY id") == [(1,), (2,), (9,)]
        assert everything(chain.target(B)) == everything(chain.source)


async def test_23_a_rolled_back_group_is_applied_whole_by_a_later_try(tmp_path: Path) -> None:
    """23: once the reason is gone, nothing is missing."""
    async with made(tmp_path) as chain:
        await link(chain)
        rule = "CREATE UNIQUE INDEX own ON line(count) WHERE count = 500"
        execute(chain.target(A), rule, "INSERT INTO line VALUES (77, NULL, 'own', 500)")
        await chain.commit(*TOO_MANY)
        assert parked(chain, A).failure.outcome is OutcomeKind.ROLLED_BACK
        execute(chain.target(A), "DELETE FROM line WHERE id = 77", "DROP INDEX own")
        await chain.pass_time(chain.limits.park_retry_s_first + 1)
        assert everything(chain.target(A)) == everything(chain.source)
        assert chain.engine(A).targets[COLLECTION].match
