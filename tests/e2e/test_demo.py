"""``scripts/demo`` tells what holds and ends with 0; where a step does not hold it says which, and ends with 1."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.e2e import shop
from tests.e2e.script import script

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

GOODS = 400


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return script("scripts.demonstration", *arguments)


def assert_holds(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stdout + done.stderr
    steps = [line.split(".")[0] for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert steps == ["1", "2", "3", "4", "5", "6", "7", "8", "9"]
    for promise in (
        "ok  till: identical, proven by checksum",
        "never a part",
        "ok  the laptop caught up",
        "ok  on the till it was rolled back, whole",
        "ok  tried again, the group is applied",
        "ok  settled by hand",
        "ok  undone everywhere",
        "ok  rejected: the desk's application has it again",
        "All of it holds.",
    ):
        assert promise in done.stdout


def test_the_demonstration_holds_on_the_atlas() -> None:
    done = demo()
    assert_holds(done)
    assert "34,258 rows compared one by one" in done.stdout
    assert "ok  the till holds Japan and its cities" in done.stdout


def test_the_demonstration_holds_on_a_database_of_the_persons_own_which_stays_as_it_is(tmp_path: Path) -> None:
    own = shop.make(tmp_path / "own.db", GOODS)
    shop.execute(own, "CREATE TABLE log(line TEXT)", "INSERT INTO log VALUES ('no key')")
    before = own.read_bytes()
    done = demo(str(own))
    assert_holds(done)
    assert f"{GOODS} rows" in done.stdout
    assert "not synchronized: table log" in done.stdout
    assert own.read_bytes() == before


def test_the_demonstration_holds_on_chinook(shared_data: Path) -> None:
    assert_holds(demo(str(shared_data / "chinook.sqlite")))


def test_a_step_that_does_not_hold_is_named(tmp_path: Path) -> None:
    """A rule of the database itself swallows the rows of the group that must fail on one machine."""
    own = shop.make(tmp_path / "own.db", GOODS)
    rule = "CREATE TRIGGER swallow BEFORE UPDATE ON goods WHEN new.name = 'twice' BEGIN SELECT RAISE(IGNORE); END"
    shop.execute(own, rule)
    done = demo(str(own))
    assert done.returncode == 1, done.stdout + done.stderr
    assert "\n4. " in done.stdout
    assert done.stdout.splitlines()[-1].startswith("BROKEN  step 5 (failure) does not hold: the desk commits")
    assert "All of it holds" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("missing", "does not exist: give"),
        ("directory", "is not a file: give"),
        ("text", "cannot be read (file is not a database): give"),
        ("empty", "has no table with a primary key, two rows and a column that takes any text: give"),
    ],
)
def test_a_path_that_is_no_database_gets_one_line_that_says_what_to_do(tmp_path: Path, what: str, says: str) -> None:
    path = tmp_path / "what is this?.db"
    match what:
        case "directory":
            path.mkdir()
        case "text":
            path.write_text("a shopping list, which is longer than the head of a database file\n" * 20)
        case "empty":
            path.touch()
    done = demo(str(path))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"scripts/demo: {path} {says}")
