"""Others on the same work and the same machine, as far as they are installed. What is not there is said."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from scripts.benchlib.figures import Figure, Setting
from scripts.benchlib.peers import bare, postgres, redis
from scripts.benchlib.peers.common import Absent
from scripts.benchlib.report import Results, show

PEERS: dict[str, Callable[[Setting], list[Figure]]] = {
    "bare script": bare.measure,
    "redis": redis.measure,
    "postgresql": postgres.measure,
}


def measure_all(console: Console, results: Results) -> None:
    """Each peer in a directory of its own; one that is absent or fails does not stop the others."""
    for name, measure in PEERS.items():
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as directory:
            try:
                figures = measure(Setting(Path(directory), results.quick))
            except Absent as absent:
                results.absent[name] = str(absent)
                console.print(f"\n{name}: {absent}", style="dim", markup=False)
                continue
            except Exception as error:
                results.failed[name] = f"{type(error).__name__}: {error}"
                console.print(f"\n{name}: could not be measured: {results.failed[name]}", style="red", markup=False)
                continue
        for figure in figures:
            results.peers.append(figure)
            show(console, figure, results.quick)
