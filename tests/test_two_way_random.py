"""Random days of three people who change the same notes, with cut links and daemons that die at any point."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from syncd.adapters.canonical import pack_values, unpack_values
from syncd.core.edits import Policy
from syncd.core.model import ObjectId
from tests.sim.network import PRIMARY
from tests.two_way_kit import A, B, House, note, text


def day(house: House, rng: random.Random, steps: int, act: Callable[[], None]) -> None:
    """Things happen; ``act`` is what a person does."""
    for _ in range(steps):
        chance = rng.random()
        if chance < 0.10:
            act()
        elif chance < 0.12:
            house.cut(rng.choice([A, B]))
        elif chance < 0.16:
            house.connect(rng.choice([A, B]))
        elif chance < 0.18:
            house.tick()
        elif chance < 0.25:
            house.wake()
        else:
            house.work(rng.choice([-1] * 20 + [0, 1, 2, 3]))


def lost(house: House) -> list[object]:
    """Versions that lost and that nobody can have back: they were not executed, and are kept neither on the primary nor
    on the device, nor was the object changed again on the same device."""
    kept, missing = house.kept(), []
    later: set[tuple[str, bytes]] = set()
    for (device, outbox, number), group in sorted(house.ears.versions.items(), reverse=True):
        gone = [(device, outbox, number, key) for key, fields in group.items() if (key, fields) not in kept]
        if (device, outbox, number) not in house.accepted:
            missing += [one for one in gone if (device, one[3]) not in later]
        later |= {(device, key) for key in group}
    return list(missing)


@pytest.mark.parametrize("policy", list(Policy))
@pytest.mark.parametrize("seed", range(4))
def test_all_end_equal_whatever_happens(policy: Policy, seed: int) -> None:
    rng = random.Random(f"{policy} {seed}")
    house = House(policy=policy, seed=seed)
    house.source.rows = {note(number): text(f"{number}") for number in range(6)}
    house.open(A, B)
    versions = 0

    def act() -> None:
        nonlocal versions
        versions += 1
        who = house.anyone()
        changes: dict[ObjectId, bytes | None] = {}
        for _ in range(rng.randint(1, 3)):
            one = note(rng.randint(0, 8))
            old = unpack_values(who.rows[one]) if one in who.rows else ("", "")
            title, body = (f"t{versions}", old[1]) if rng.random() < 0.5 else (old[0], f"b{versions}")
            changes[one] = None if rng.random() < 0.2 else pack_values([title, body])
        who.commit(changes)

    day(house, rng, 600, act)
    house.rest()
    assert house.all_hold(house.source.rows), f"seed {seed}"
    assert lost(house) == [], f"seed {seed}"


@pytest.mark.parametrize("seed", range(8))
def test_the_sum_of_all_accounts_stays_the_same_while_transfers_are_made_everywhere(seed: int) -> None:
    rng = random.Random(f"bank {seed}")
    house, numbers = House(seed=seed), itertools.count()
    house.source.rows = {note(number): pack_values(["account", 100]) for number in range(6)}
    house.open(A, B)

    def amounts(rows: dict[ObjectId, bytes]) -> int:
        return sum(int(str(unpack_values(fields)[1])) for fields in rows.values())

    def act() -> None:
        who = house.anyone()
        giver, taker = rng.sample(sorted(who.rows), 2)
        (_, gave), (_, took) = unpack_values(who.rows[giver]), unpack_values(who.rows[taker])
        amount, name = rng.randint(1, 9), f"transfer {next(numbers)}"  # the same amount twice is not the same version
        assert isinstance(gave, int)
        assert isinstance(took, int)
        who.commit({giver: pack_values([name, gave - amount]), taker: pack_values([name, took + amount])})
        look()

    def look() -> None:
        for held in house.held():
            assert amounts(held) == 600, f"seed {seed}"

    for _ in range(30):
        day(house, rng, 25, act)
        look()
    house.rest()
    look()
    assert house.all_hold(house.source.rows), f"seed {seed}"


@pytest.mark.parametrize("seed", range(6))
def test_balances_that_are_equal_by_chance_are_not_taken_for_transfers_made_here(seed: int) -> None:
    """Small amounts between few accounts: versions of an account from two sides are often the same, and are not. At any
    moment each account holds what the transfers that are there make of it."""
    rng = random.Random(f"chance {seed}")
    house, numbers, accounts = House(seed=seed), itertools.count(1_000), 2 + seed % 3
    house.source.rows = {note(number): pack_values(["account", 100]) for number in range(accounts)}
    house.open(A, B)

    def act() -> None:
        who, (giver, taker), amount = house.anyone(), rng.sample(range(accounts), 2), rng.randint(1, 1 + seed % 3)
        gave, took = (balance(who.rows[note(one)]) for one in (giver, taker))
        made = pack_values(["transfer", f"{giver} {taker} {amount}"])
        changed = {giver: gave - amount, taker: took + amount}
        accounts_then = {note(one): pack_values(["account", sum_]) for one, sum_ in changed.items()}
        who.commit({**accounts_then, note(next(numbers)): made})

    for _ in range(400):
        day(house, rng, 1, act)
        assert [wrong(held, accounts) for held in house.held()] == [{}, {}, {}], f"seed {seed}"
    house.rest()
    assert house.all_hold(house.source.rows), f"seed {seed}"


def balance(fields: bytes) -> int:
    return int(str(unpack_values(fields)[1]))


def wrong(rows: dict[ObjectId, bytes], accounts: int) -> dict[int, int]:
    """By how much accounts differ from what the transfers make of them."""
    off = {number: balance(rows[note(number)]) - 100 for number in range(accounts)}
    for kind, what in (unpack_values(fields) for fields in rows.values()):
        if kind == "transfer":
            giver, taker, amount = map(int, str(what).split())
            off[giver] += amount
            off[taker] -= amount
    return {number: by for number, by in off.items() if by}


def test_a_daemon_that_dies_again_and_again_loses_nothing() -> None:
    house = House()
    house.source.rows = {note(1): text("one")}
    house.open(A, B)
    rng = random.Random("dies")
    for number in range(10, 40):
        house.targets[A].commit({note(number): text(f"{number}")})
        house.wake()
        for _ in range(12):
            house.work(rng.choice([-1, -1, 0, 1, 2]), rng.choice([A, PRIMARY]))
        house.connect(A)
    house.rest()
    assert house.all_hold({note(1): text("one"), **{note(number): text(f"{number}") for number in range(10, 40)}})
    assert house.conflicts() == []
