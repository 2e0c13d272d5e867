"""Who may import whom (DESIGN §3), as one table. What is not in the table fails."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINES_MAX = 400

EDGES = {"store", "applications", "transport", "discovery", "home", "control"}

# Room or root file -> the rooms and root files that it may import besides itself.
TABLE: dict[str, set[str]] = {
    "core": set(),
    "adapters": {"core"},
    **{edge: {"core", "adapters"} for edge in EDGES},
    "cli": {"core", "home", "control"},
    "__init__": set(),
    "__main__": {"cli", "home", "arrange", "daemon"},
    "arrange": {"core", "home", "applications", "store", "choices", "settings_guard", "own_pause", "pauses"},
    "outside": {"core", "adapters"},
    "perform_references": {"core", "adapters", "outside"},
    "perform_selected": {"core", "adapters", "outside", "perform_references"},
    "perform_up": {"core", "outside"},
    "perform_intake": {"core", "outside", "perform_selected", "perform_up"},
    "perform_down": {"core", "outside", "perform_up"},
    "perform": {"core", "outside", "perform_up", "perform_down", "perform_intake"},
    "driver": {"core", "adapters", "outside", "perform"},
    "rooms": {"core", "adapters", "outside", "home", "store"},
    "admission": {"core", "adapters", "driver", "rooms", "home", "transport"},
    "settings_guard": {"core", "views", "gathering"},
    "known": {"core", "rooms", "settings_guard"},
    "choices_asked": {"core"},
    "choices_checked": {"core"},
    "choices": {"core", "rooms", "choices_asked", "choices_checked", "settings_guard", "known"},
    "turns": {"core", "driver", "rooms", "admission"},
    "own_pause": {"core"},
    "pauses": {"core", "choices", "known"},
    "retries": {"core"},
    "people": {"core", "rooms", "arrange", "admission", "transport"},
    "versions": {"core", "adapters", "rooms"},
    "deeds": {"core", "rooms"},
    "disputes": {"core", "adapters", "rooms", "versions", "deeds"},
    "past": {"core", "adapters", "rooms", "versions", "deeds"},
    "holds": {"core", "rooms", "deeds"},
    "held_notice": {"core"},
    "views": {"core", "adapters"},
    "gathering": {"core", "adapters", "views"},
    "foresight": {"core", "known", "views", "gathering"},
    "decisions": {"core", "known", "choices", "deeds", "foresight", "holds", "past"},
    "sent": {"core"},
    "whereabouts": {"core", "views"},
    "holders": {"core", "rooms", "past", "whereabouts"},
    "knowledge": {"core", "rooms", "admission"},
    "deed_verbs": set("core rooms choices people deeds disputes past holds decisions previews".split())
    | {"holders", "knowledge", "whereabouts"},
    "previews": {"core", "rooms", "decisions"},
    "refused": {"core", "rooms", "versions"},
    "primary_link": {"core", "rooms", "transport"},
    "primary": EDGES
    | set("core adapters driver rooms arrange admission people settings_guard choices".split())
    | set("deeds deed_verbs held_notice knowledge turns pauses sent".split()),
    "auxiliary": {
        "core",
        "adapters",
        "driver",
        "rooms",
        "arrange",
        "primary_link",
        "refused",
        "own_pause",
        "retries",
        *EDGES,
    },
    "daemon": {"core", "adapters", "outside", "rooms", "primary", "auxiliary", *EDGES},
}

# Only inside a function: the command line must not pay for a daemon.
LATE = {("__main__", "daemon")}

# Files of core/, in order: each imports only earlier ones.
CORE = (
    "errors frozen model messages edits settings pieces guard holding quantities schedule pace digest expression_tree "
    "expression_scan expression_read expression_values expression_bind expression_closure expression_sql expression "
    "key_patterns references selection_words selection unfollowed foreseen preferences loss settings_file devices "
    "found gathered history_port ports source_port inbound_port upward_ports query_builder conflict inbound_queue "
    "upward_events events upward_effects effects source target_state direct parked onward target intake_state "
    "intake_direct intake uplink_state uplink auxiliary_pace conversation follow reach engine reception pacing "
    "sending taking choosing turns primary_engine auxiliary_engine status transactions"
).split()

# Package with an owner -> its rooms. Any other package that is not Python's own is nobody's.
OWNERS: dict[str, set[str]] = {
    "websockets": {"transport"},
    "ssl": {"transport"},
    "aiosqlite": {"store", "applications"},
    "sqlite3": {"store", "applications"},
    "msgpack": {"adapters"},
    "pathspec": {"core"},
    "msgspec": {"adapters", "home"},
    "cryptography": {"home", "transport"},
    "spake2": {"transport"},
    "rich": {"cli"},
    "segno": {"cli"},
    "zeroconf": {"discovery"},
    "ifaddr": {"discovery"},
}

# All that the pure rooms may use of Python's own: no I/O, no clock, no chance, no environment, no logging.
PURE = {"core", "adapters"}
PURE_MODULES = set(
    "__future__ abc ast base64 binascii bisect collections contextlib copy dataclasses decimal difflib enum functools "
    "hashlib heapq itertools json keyword math operator re string struct tomllib types typing unicodedata".split()
)


class Import(NamedTuple):
    line: int
    module: str
    late: bool


def imports(tree: ast.Module) -> Iterator[Import]:
    """All imports of a file, also those inside functions. ``from a import b`` gives ``a.b``."""
    late = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, id(node) in late)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(node.lineno, f"{start}.{alias.name}", id(node) in late)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"import_module", "__import__"}:
                yield Import(node.lineno, f".{name}", True)


def complaint(file: Path, imported: Import) -> str:
    """What is wrong with one import in a file (its path is relative to the package), or nothing."""
    room = file.parts[0].removesuffix(".py")
    top, *rest = imported.module.split(".")
    if not top:
        return "an import must name its whole module"
    if top == "syncd":
        return own_complaint(file, rest, imported.late)
    if top in OWNERS:
        return "" if room in OWNERS[top] else f"{top} belongs to {' and '.join(sorted(OWNERS[top]))}, not to {room}"
    if top not in sys.stdlib_module_names:
        return f"{top} is in no table"
    if room in PURE and top not in PURE_MODULES:
        return f"{room} is pure and does not use {top}"
    return ""


def own_complaint(file: Path, imported: list[str], late: bool) -> str:
    """The same for an import of ours: ``syncd.core.model`` is ["core", "model"]."""
    room = file.parts[0].removesuffix(".py")
    target = imported[0] if imported and imported[0] in TABLE else "__init__"
    if target not in {room, "__init__"} and target not in TABLE[room]:
        return f"{room} does not import {target}"
    if (room, target) in LATE and not late:
        return f"{room} imports {target} only inside functions"
    if target == room == "core":
        module = imported[1] if len(imported) > 1 else ""
        if module not in CORE or file.stem not in CORE or CORE.index(module) >= CORE.index(file.stem):
            return f"core/{file.stem}.py does not come after core/{module}.py"
    return ""


def violations(package: Path) -> list[str]:
    """Everything in the package that the tables do not allow."""
    found: list[str] = []
    for file in sorted(package.rglob("*.py")):
        name = file.relative_to(package)
        if name.parts[0].removesuffix(".py") not in TABLE:
            found.append(f"{name}: is in no room")
            continue
        if name.parts[0] == "core" and file.stem not in {*CORE, "__init__"}:
            found.append(f"{name}: is not in the order of core")
        text = file.read_text()
        for imported in imports(ast.parse(text)):
            if problem := complaint(name, imported):
                found.append(f"{name}:{imported.line}: {problem}")
    return sorted(set(found))


def long_files(root: Path) -> list[str]:
    """Python files with more than ``LINES_MAX`` lines."""
    lengths = {file: len(file.read_text().splitlines()) for file in sorted(root.rglob("*.py"))}
    return [f"{file.relative_to(root)}: {lines} lines" for file, lines in lengths.items() if lines > LINES_MAX]


def test_every_import_is_in_the_table() -> None:
    found = violations(ROOT / "syncd")
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("part", ["syncd", "tests"])
def test_no_file_is_longer_than_a_reader_can_hold(part: str) -> None:
    assert long_files(ROOT / part) == []


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("core/engine.py", "import os", "core is pure and does not use os"),
        ("core/engine.py", "def now():\n    from time import time", "core is pure and does not use time"),
        ("core/engine.py", "import msgpack", "msgpack belongs to adapters, not to core"),
        ("core/engine.py", "from syncd.adapters import canonical", "core does not import adapters"),
        ("core/model.py", "from syncd.core import engine", "core/model.py does not come after core/engine.py"),
        ("core/model.py", "import syncd.core.engine", "core/model.py does not come after core/engine.py"),
        ("core/model.py", "from syncd.core.engine import step", "core/model.py does not come after core/engine.py"),
        ("core/model.py", "from .engine import step", "an import must name its whole module"),
        ("core/extra.py", "", "is not in the order of core"),
        ("adapters/base.py", "import logging", "adapters is pure and does not use logging"),
        ("store/sync_store.py", "from syncd.home.paths import Home", "store does not import home"),
        ("store/sync_store.py", "import ssl", "ssl belongs to transport, not to store"),
        ("cli/main.py", "from syncd import daemon", "cli does not import daemon"),
        ("cli/main.py", "import importlib\nimportlib.import_module('x')", "an import must name its whole module"),
        ("cli/main.py", "import requests", "requests is in no table"),
        ("driver.py", "from syncd.store import sync_store", "driver does not import store"),
        ("__main__.py", "from syncd.daemon import run", "__main__ imports daemon only inside functions"),
        ("attic/box.py", "", "is in no room"),
    ],
)
def test_what_is_not_in_the_table_fails(tmp_path: Path, file: str, text: str, problem: str) -> None:
    package = tmp_path / "syncd"
    (package / file).parent.mkdir(parents=True)
    (package / file).write_text(text)
    assert [line for line in violations(package) if problem in line and line.startswith(file)]


def test_what_is_in_the_table_passes(tmp_path: Path) -> None:
    package = tmp_path / "syncd"
    (package / "core").mkdir(parents=True)
    (package / "core" / "errors.py").write_text("import re\n")
    (package / "core" / "model.py").write_text("from syncd import __version__\nfrom syncd.core import errors\n")
    (package / "daemon.py").write_text("import asyncio\n")
    (package / "__main__.py").write_text("def main():\n    from syncd.daemon import run\n")
    assert violations(package) == []


def test_a_file_that_is_too_long_is_found(tmp_path: Path) -> None:
    (tmp_path / "fits.py").write_text("\n" * LINES_MAX)
    (tmp_path / "long.py").write_text("\n" * (LINES_MAX + 1))
    assert long_files(tmp_path) == [f"long.py: {LINES_MAX + 1} lines"]
