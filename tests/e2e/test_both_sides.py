"""People work on all machines at once, while links break and daemons are killed: what is changed reaches all of them
whole and once, and in the end all are the same (R2, R6, R10, R11)."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.harness import Fleet, Machine, limited
from tests.e2e.person import Deed, Person, make
from tests.e2e.proxy import Proxy
from tests.ports import free_port
from tests.wait import eventually_blocking

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROWS = 1_000
BREAKS = 4
BREAK_COMMITS = 60  # of all people together, at the most, between two breaks
ACCOUNTS = 12
EACH = 1_000
# Wherever and whenever one looks, each account holds what the transfers that are there make of it.
WRONG = """
SELECT id, balance FROM account WHERE balance <> ?
 + ifnull((SELECT sum(amount) FROM transfer WHERE target = account.id), 0)
 - ifnull((SELECT sum(amount) FROM transfer WHERE source = account.id), 0)
"""


def machines(fleet: Fleet) -> Sequence[Machine]:
    return (fleet.primary, *fleet.auxiliaries)


class World:
    """One fleet for all tests of this file; each has its own collection, or its own policy of one. Auxiliaries reach
    the primary through proxies, at ``ports``."""

    def __init__(self, fleet: Fleet, directory: Path) -> None:
        self.fleet = fleet
        self.directory = directory
        self.ports = [free_port() for _ in fleet.auxiliaries]
        with ThreadPoolExecutor() as pool:
            dial = zip(fleet.auxiliaries, self.ports, strict=True)
            list(pool.map(lambda one: one[0].dials(f"127.0.0.1:{one[1]}"), dial))

    def share(self, collection: str, policy: str, *script: str) -> None:
        """Shares it with all, or changes the policy of one that is shared."""
        primary = self.fleet.primary
        first = collection not in primary.databases
        if first:
            primary.databases[collection] = make(self.directory / f"{collection}.db", *script)
        primary.cli("share", collection, "--from", f"sqlite:{primary.databases[collection]}", "--conflicts", policy)
        if first:
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda one: one.accept(collection), self.fleet.auxiliaries))

    def settle(self, collection: str) -> None:
        """Nothing waits for a verdict any more, and all machines hold the same, row by row."""
        for auxiliary in self.fleet.auxiliaries:
            auxiliary.wait_identical(collection)

    @contextmanager
    def links(self) -> Iterator[list[Proxy]]:
        for machine in machines(self.fleet):
            if not machine.running:  # a test before this one failed
                machine.start()
        with ExitStack() as stack:
            address = str(self.fleet.primary.status()["address"])
            yield [stack.enter_context(Proxy(address, at=("127.0.0.1", port))) for port in self.ports]

    def work(self, collection: str, deed: Deed, rand: random.Random) -> None:
        """A person at each machine does one transaction after the other, while links are cut and daemons killed, some
        at once. In the end all are the same."""
        with self.links() as proxies:
            self.settle(collection)
            with ExitStack() as people:
                working = [
                    people.enter_context(Person(machine.databases[collection], deed, rand.randrange(2**32)))
                    for machine in machines(self.fleet)
                ]
                self._break(proxies, working, rand)
                eventually_blocking(lambda: all(one.committed > BREAKS for one in working), what="all have worked")
            self.settle(collection)

    def _break(self, proxies: Sequence[Proxy], people: Sequence[Person], rand: random.Random) -> None:
        """Each time when people have committed so often again, by chance."""

        def committed() -> int:
            return sum(person.committed for person in people)

        for number in range(BREAKS):
            next_at = committed() + rand.randint(1, BREAK_COMMITS)
            eventually_blocking(lambda: committed() >= next_at, what="people work on")  # noqa: B023
            if number % 2:
                rand.choice(proxies).cut()
            else:
                victim = rand.choice(machines(self.fleet))
                victim.kill()
                victim.start(wait=rand.random() < 0.5)
        for machine in machines(self.fleet):
            machine.wait_started()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("both-sides")
    with Fleet(directory, auxiliaries=2, launcher=limited(retry_s_max=0.3)) as fleet:
        fleet.primary.cli("settings", "set", "guard.percent", "100 %")  # people delete all the time here
        yield World(fleet, directory)


# ---------------------------------------------------------------- the same rows


def edit(connection: sqlite3.Connection, rand: random.Random, number: int) -> None:
    """One to four rows: changed, deleted or made."""
    for _ in range(rand.randint(1, 4)):
        row, what = rand.randrange(ROWS), rand.random()
        if what < 0.1:
            connection.execute("DELETE FROM note WHERE id = ?", (row,))
        elif what < 0.6:
            column = rand.choice(("title", "body"))
            connection.execute(f"UPDATE note SET {column} = ? WHERE id = ?", (f"{number} {rand.random()}", row))
        else:
            connection.execute(
                "INSERT INTO note VALUES (?, ?, ?) ON CONFLICT(id) DO UPDATE SET body = excluded.body",
                (row, f"made {number}", f"{rand.random()}"),
            )


@pytest.mark.parametrize("policy", ["primary", "auxiliary", "newest", "both", "merge"])
def test_who_edits_the_same_rows_on_two_auxiliaries_and_the_primary_converges(
    world: World, seed: int, policy: str
) -> None:
    world.share(
        "notes",
        policy,
        "CREATE TABLE note (id INTEGER PRIMARY KEY, title TEXT, body TEXT)",
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS - 1})"
        " INSERT INTO note SELECT i, 'title ' || i, 'body ' || i FROM n",
    )
    world.work("notes", edit, random.Random(f"{seed} {policy}"))


# ---------------------------------------------------------------- a bank


def transfer(connection: sqlite3.Connection, rand: random.Random, number: int) -> None:
    source, target = rand.sample(range(ACCOUNTS), 2)
    amount = rand.randint(1, 9)
    connection.execute("UPDATE account SET balance = balance - ? WHERE id = ?", (amount, source))
    connection.execute("UPDATE account SET balance = balance + ? WHERE id = ?", (amount, target))
    connection.execute("INSERT INTO transfer VALUES (hex(randomblob(16)), ?, ?, ?)", (source, target, amount))


class Auditor:
    """Looks at all databases the whole time."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.looks = 0
        self.found: list[str] = []
        self._paths = paths
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, name="auditor")

    def __enter__(self) -> Auditor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(30.0)

    def _work(self) -> None:
        while not self._end.wait(0.005) and not self.found:
            for path in self._paths:
                self.found += [f"{path.parent.name}: {row}" for row in wrong(path)]
                self.looks += 1


def wrong(path: Path) -> list[object]:
    """Accounts that do not hold what they should, in one state of the database; and the sum, if it is another."""
    with closing(sqlite3.connect(path, timeout=20.0, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        rows: list[object] = list(connection.execute(WRONG, (EACH,)).fetchall())
        total = connection.execute("SELECT sum(balance) FROM account").fetchone()[0]
        return rows if total == ACCOUNTS * EACH else [*rows, f"sum {total}"]


def test_a_bank_with_transfers_on_all_three_machines_neither_gains_nor_loses(world: World, seed: int) -> None:
    world.share(
        "bank",
        "primary",
        "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL)",
        "CREATE TABLE transfer (id TEXT PRIMARY KEY, source INTEGER, target INTEGER, amount INTEGER)",
        *(f"INSERT INTO account VALUES ({number}, {EACH})" for number in range(ACCOUNTS)),
    )
    with world.links():
        world.settle("bank")
    banks = [machine.databases["bank"] for machine in machines(world.fleet)]
    with Auditor(banks) as auditor:
        world.work("bank", transfer, random.Random(seed))
        eventually_blocking(lambda: auditor.found or auditor.looks > 100, what="the auditor has looked often")
    assert auditor.found == []
    assert [wrong(bank) for bank in banks] == [[], [], []]
