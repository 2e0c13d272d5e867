"""Runs the figures that were asked for. Ends with 1 when one could not be measured or misses what it must reach."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
from pathlib import Path
from types import FrameType

from rich.console import Console

from scripts.benchlib import machine
from scripts.benchlib.choosing import FIGURES as OF_SELECTIONS
from scripts.benchlib.classes import FIGURES as OF_CLASSES
from scripts.benchlib.figures import FIGURES as OF_DATA
from scripts.benchlib.figures import Setting
from scripts.benchlib.meeting import meeting
from scripts.benchlib.report import Results, as_json, missed, show
from scripts.benchlib.selected import FIGURES as OF_PARTS
from scripts.benchlib.upward import FIGURES as OF_CHANGES_UP

FIGURES = {**OF_DATA, "meeting": meeting, **OF_CHANGES_UP, **OF_SELECTIONS, **OF_CLASSES, **OF_PARTS}


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures real daemons on this machine.")
    parser.add_argument("figures", metavar="FIGURE", nargs="*", help=f"all, or some of {', '.join(FIGURES)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work; budgets are not judged")
    parser.add_argument("--peers", action="store_true", help="measure others on the same work where they are installed")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there as JSON as well")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.figures if name not in FIGURES]:
        parser.error(f"there is no figure {unknown[0]!r}: the figures are {', '.join(FIGURES)}")
    return given


def main() -> int:
    given = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, _end)
    console = Console()
    results = Results(given.quick, machine.facts())
    told = ", ".join(f"{name} {value}" for name, value in results.machine.items())
    console.print(told, style="dim", highlight=False, soft_wrap=True)
    try:
        for name in given.figures or FIGURES:
            _one(console, results, name)
        if given.peers:
            from scripts.benchlib import peers

            peers.measure_all(console, results)
    except KeyboardInterrupt:
        console.print("interrupted")
        return 130
    finally:
        if given.json:
            given.json.write_text(json.dumps(as_json(results), indent=2) + "\n")
    for line in (misses := missed(results)):
        console.print(line, style="red", markup=False, highlight=False, soft_wrap=True)
    return 1 if results.failed or misses else 0


def _one(console: Console, results: Results, name: str) -> None:
    with tempfile.TemporaryDirectory(prefix="syncd-bench-") as directory:
        try:
            figure = FIGURES[name](Setting(Path(directory), results.quick))
        except Exception as error:
            results.failed[name] = f"{type(error).__name__}: {error}"
            console.print(f"\n{name}: could not be measured: {results.failed[name]}", style="red", markup=False)
            return
    results.figures.append(figure)
    show(console, figure, results.quick)


def _end(number: int, frame: FrameType | None) -> None:
    """As Ctrl-C: every process that was started is ended."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
