"""Output for people, through rich: styled on a terminal, plain text elsewhere. Imported late: no script needs it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from syncd.cli.fields import Json, clean, number, records, text
from syncd.cli.picture import guilty, picture
from syncd.cli.watch import changes
from syncd.cli.words import OUTCOME_COLOURS, local_time

_PIPE_CELLS = 240  # width of a table where there is no terminal


def status(told: Json) -> None:
    """The status once."""
    screen = console()
    print_lines(screen, picture(told, datetime.now(UTC)))


def watch(statuses: Iterator[Json]) -> None:
    """Each status as it comes: one living picture on a terminal, elsewhere a block for each change."""
    screen = console()
    if screen.is_terminal and not screen.is_dumb_terminal:
        with Live(console=screen, auto_refresh=False) as live:
            for told in statuses:
                live.update(Group(*picture(told, datetime.now(UTC))), refresh=True)
        return
    first = True
    for told in changes(statuses):
        print_lines(screen, picture(told, datetime.now(UTC)) if first else [Text(), *picture(told, datetime.now(UTC))])
        first = False


def transactions(told: Json) -> None:
    """Groups with what became of them, as a table."""
    rows = records(told, "transactions")
    screen = console()
    if not rows:
        print_lines(screen, [Text(text(told, "note") or "no groups")])
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("GROUP", "DEVICE", "OUTCOME"):
        table.add_column(name, no_wrap=True)
    table.add_column("OBJECTS", justify="right", no_wrap=True)
    table.add_column("TIME", no_wrap=True)
    table.add_column("CAUSE", overflow="fold")
    for row in rows:
        outcome = text(row, "outcome")
        table.add_row(
            Text(text(row, "group")),
            Text(text(row, "device_name") or text(row, "device")[:8]),
            Text(outcome, OUTCOME_COLOURS.get(outcome, "")),
            Text(f"{number(row, 'objects'):,}"),
            Text(local_time(row.get("time"))),
            Text(clean(row.get("cause")) + guilty(row)),
        )
    screen.print(table)


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Whoever read our output has seen enough; the package would end the process with 1."""
        raise BrokenPipeError


def console() -> Console:
    """Decides by itself whether colours go out (not into a pipe, not with NO_COLOR)."""
    width = None if sys.stdout.isatty() else _PIPE_CELLS
    return _Console(highlight=False, markup=False, emoji=False, width=width)


def print_lines(screen: Console, lines: Iterable[Text]) -> None:
    for line in lines:
        screen.print(line, soft_wrap=True)
