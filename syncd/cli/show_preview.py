"""What a decision would do, for people, through rich; see ``cli.show``."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from syncd.cli.fields import Json, number, record, records, text, texts
from syncd.cli.show import console, print_lines
from syncd.cli.words import count, size

_KINDS = {"add": "green", "modify": "yellow", "delete": "red"}
_LEFT_SHOWN = 10


def preview(told: Json) -> None:
    screen = console()
    print_lines(screen, [Text(text(told, "change"), "bold")])
    outcomes = records(told, "outcomes")
    if outcomes:
        screen.print(_table(outcomes))
    print_lines(screen, [Text(line) for line in _below(told, bool(outcomes))])


def _table(outcomes: list[Json]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("WHERE", "COLLECTION", "WHAT"):
        table.add_column(name, no_wrap=True)
    for name in ("OBJECTS", "SIZE"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("FIRST", overflow="fold")
    for one in outcomes:
        for where, colour, kind, part in _parts(one):
            named = ", ".join(f"{text(each, 'type')} {text(each, 'key')}" for each in records(part, "first"))
            more = ", ..." if number(part, "objects") > len(records(part, "first")) else ""
            amount, bytes_ = f"{number(part, 'objects'):,}", size(number(part, "bytes"))
            table.add_row(where, Text(text(one, "collection")), Text(kind, colour), amount, bytes_, Text(named + more))
    return table


def _parts(one: Json) -> list[tuple[str, str, str, Json]]:
    """What moves of an outcome: where, and what of it."""
    where = text(one, "device_name") or text(one, "device")[:8] or "this primary"
    parts = [(where, colour, kind, record(one, kind)) for kind, colour in _KINDS.items()]
    return [part for part in parts if number(part[3], "objects")]


def _below(told: Json, moves: bool) -> list[str]:
    lines = [] if moves else ["no object moves anywhere"]
    for one in records(told, "outcomes"):
        where = text(one, "device_name") or text(one, "device")[:8]
        if note := text(one, "note"):
            lines.append(f"{where}, {text(one, 'collection')}: {note}")
        if one.get("accepted") is False:
            lines.append(f"{where}, {text(one, 'collection')}: not accepted there yet; it gets this when it is")
    if more := number(told, "more"):
        lines.append(f"and {count(more, 'device')} more")
    for one in records(told, "left")[:_LEFT_SHOWN]:
        lines.append(f"changed since, and left: {text(one, 'type')} {text(one, 'key')}")
    lines += [f"warning: {one}" for one in texts(told, "warnings")]
    if (left := len(records(told, "left")) + number(told, "left_more") - _LEFT_SHOWN) > 0:
        lines.append(f"and {left:,} more")
    if told.get("applied") is True:
        group = text(told, "group")
        return [*lines, f"done{f', by group {group}' if group else ''}"]
    if not text(told, "hash"):
        return lines
    return [*lines, f"hash {text(told, 'hash')}: the same with --apply {text(told, 'hash')} does just this, or nothing"]
