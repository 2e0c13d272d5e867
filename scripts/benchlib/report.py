"""Figures as tables for people and as JSON.

JSON: ``version``, ``machine`` (see ``machine.facts``), ``quick``, ``figures`` and ``peers`` (lists of
{figure, what, measures: [{name, value, unit, floor, aim, reached}], daemons: [{name, peak_rss_mib, cpu_s}]}),
``absent`` {peer: why}, ``failed`` {figure: why}. ``reached`` is null where nothing is asked, and with ``--quick``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table

from scripts.benchlib.figures import Figure, Measure
from scripts.benchlib.probe import Cost
from syncd import __version__


@dataclass
class Results:
    quick: bool
    machine: dict[str, object]
    figures: list[Figure] = field(default_factory=list)
    peers: list[Figure] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def as_json(results: Results) -> dict[str, object]:
    return {
        "version": __version__,
        "machine": results.machine,
        "quick": results.quick,
        "figures": [_figure(one, results.quick) for one in results.figures],
        "peers": [_figure(one, results.quick) for one in results.peers],
        "absent": results.absent,
        "failed": results.failed,
    }


def missed(results: Results) -> list[str]:
    """A line for each measure above what it must reach; none of a quick run, which is not judged."""
    return [
        f"MISSED  {figure.name}, {one.name}: {_amount(one.value, one.unit)}, must be {_most(one.floor, one)}"
        for figure in results.figures
        for one in figure.measures
        if one.reached is False and not results.quick
    ]


def _figure(figure: Figure, quick: bool) -> dict[str, object]:
    return {
        "figure": figure.name,
        "what": figure.what,
        "measures": [
            {
                "name": one.name,
                "value": round(one.value, 4),
                "unit": one.unit,
                "floor": one.floor,
                "aim": one.aim,
                "reached": None if quick else one.reached,
            }
            for one in figure.measures
        ],
        "daemons": [
            {"name": one.name, "peak_rss_mib": round(one.peak_rss_mib, 1), "cpu_s": round(one.cpu_s, 2)}
            for one in figure.daemons
        ],
    }


def show(console: Console, figure: Figure, quick: bool) -> None:
    """One figure with its table."""
    console.print(f"\n[bold]{figure.name}[/bold]  {figure.what}", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=True, header_style="dim")
    table.add_column("measure")
    for heading in ("measured", "must be", "aim"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for one in figure.measures:
        table.add_row(
            one.name, _amount(one.value, one.unit), _most(one.floor, one), _most(one.aim, one), _said(one, quick)
        )
    console.print(table)
    for cost in _together(figure.daemons):
        console.print(f"   {cost}", style="dim", highlight=False, soft_wrap=True)


def _said(measure: Measure, quick: bool) -> str:
    if measure.reached is None:
        return ""
    if quick:
        return "[dim]not judged[/dim]"
    if not measure.reached:
        return "[red]MISSED[/red]"
    return "[green]aim reached[/green]" if measure.aim is not None and measure.value <= measure.aim else "reached"


def _most(limit: float | None, measure: Measure) -> str:
    return "" if limit is None else f"≤ {limit:g} {measure.unit}"


def _amount(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 1_000 else f"{value:.2f} {unit}"


def _together(daemons: list[Cost]) -> list[str]:
    """A line for each daemon; auxiliaries of one run in one line."""
    runs: dict[str, list[Cost]] = {}
    for one in daemons:
        runs.setdefault(one.name.rstrip("0123456789").rstrip("-"), []).append(one)
    lines: list[str] = []
    for name, costs in runs.items():
        many = f" (each of {len(costs)}, the most)" if len(costs) > 1 else ""
        rss, cpu = max(one.peak_rss_mib for one in costs), max(one.cpu_s for one in costs)
        lines.append(f"{name}: peak RSS {rss:.0f} MiB, CPU {cpu:.2f} s{many}")
    return lines
