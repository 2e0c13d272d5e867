"""Conflicts, refused groups and histories for people, through rich; see ``cli.show``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from syncd.cli.fields import Json, clean, number, record, records, text
from syncd.cli.picture import guilty
from syncd.cli.show import console, print_lines
from syncd.cli.words import count, local_time

_VALUE_CELLS = 60  # of one value; more is cut
_BYTES_SHOWN = 12  # of a blob
_FIELDS_SHOWN = 4  # of one version in a history
_VERSIONS = ("base", "ours", "theirs", "result", "now")
_REFUSED_VERSIONS = ("base", "edited")
_ABSENT = "(no object)"
_WON = {"merge": "merged", "both": "both kept"}  # where neither side won alone


def conflicts(told: Json) -> None:
    """On the primary conflicts, on an auxiliary what was refused."""
    screen = console()
    if "refused" in told:
        rows, lines = records(told, "refused"), _refused(records(told, "refused"))
        nothing, next_ = "nothing was refused", "syncd conflicts show NUMBER`, `syncd resend NUMBER"
    else:
        rows, lines = records(told, "conflicts"), _listed(records(told, "conflicts"))
        nothing, next_ = "no conflicts", "syncd conflicts show ID`, `syncd resolve ID --take ours|theirs|both|FILE"
    if not rows:
        print_lines(screen, [Text(nothing)])
        return
    screen.print(lines)
    more = number(told, "more")
    print_lines(screen, [Text(f"and {count(more, 'older one')}")] if more else [])
    print_lines(screen, [Text(f"next: `{next_}`", "dim")])


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        last = name == columns[-1]
        table.add_column(name, no_wrap=not last, overflow="fold", justify="right" if name == "OBJECTS" else "left")
    return table


def _listed(rows: Sequence[Json]) -> Table:
    table = _table("ID", "COLLECTION", "TIME", "DEVICE", "WON", "OBJECTS", "OBJECT")
    for row in rows:
        won = f"{_WON.get(text(row, 'winner'), text(row, 'winner'))} {_under(row)}"
        named = f"{text(row, 'type')} {text(row, 'key')}"
        about = f"{named}; resolved: {text(row, 'resolved')}" if text(row, "resolved") else named
        table.add_row(
            Text(str(number(row, "id")), "bold"),
            Text(text(row, "collection")),
            Text(local_time(row.get("time"))),
            Text(_device(row)),
            Text(won),
            Text(f"{number(row, 'objects'):,}"),
            Text(about, "dim" if text(row, "resolved") else ""),
        )
    return table


def _outcome(row: Json) -> str:
    winner = text(row, "winner")
    return _WON.get(winner) or f"the {winner} won"


def _under(row: Json) -> str:
    policy = text(row, "policy")
    return f"(policy {policy})" if policy else "(undo)"


def _device(row: Json) -> str:
    return text(row, "device_name") or text(row, "device")[:8] or "this primary"


def _refused(rows: Sequence[Json]) -> Table:
    table = _table("NUMBER", "COLLECTION", "TIME", "OBJECTS", "CAUSE")
    for row in rows:
        conflict = f"; conflict {number(row, 'conflict')} on the primary" if number(row, "conflict") else ""
        table.add_row(
            Text(str(number(row, "number")), "bold"),
            Text(text(row, "collection")),
            Text(local_time(row.get("time"))),
            Text(f"{number(row, 'objects'):,}"),
            Text(text(row, "cause") + guilty(row) + conflict),
        )
    return table


# ---------------------------------------------------------------- one of them


def conflict(told: Json, all_fields: bool) -> None:
    """All versions, field by field; without ``all_fields`` those that are not the same in all that there are."""
    screen, refused = console(), "edits" in told
    lines = _refused_head(told) if refused else _conflict_head(told)
    versions: Sequence[str] = _REFUSED_VERSIONS if refused else _VERSIONS
    print_lines(screen, lines)
    for side in records(told, "edits" if refused else "sides"):
        print_lines(screen, [Text(), _side_head(side)])
        screen.print(_side(side, versions, all_fields))
    if more := number(told, "more"):
        print_lines(screen, [Text(f"and {count(more, 'object')} more")])


def _conflict_head(told: Json) -> list[Text]:
    name = Text.assemble((f"conflict {number(told, 'id')}", "bold"), f" of {text(told, 'collection')}, ")
    name.append(f"{local_time(told.get('time'))}, with {_device(told)}: {_outcome(told)} {_under(told)}")
    resolved = text(told, "resolved")
    return [name, Text(f"resolved: {resolved}", "green")] if resolved else [name]


def _refused_head(told: Json) -> list[Text]:
    head = Text.assemble((f"group {number(told, 'number')}", "bold"), f" of {text(told, 'collection')}, ")
    head.append(f"{local_time(told.get('time'))}, refused: {text(told, 'cause')}{guilty(told)}")
    conflict = number(told, "conflict")
    also = f"on the primary it is conflict {conflict}: `syncd conflicts show {conflict}` there"
    return [head, Text(also, "dim")] if conflict else [head]


def _side_head(side: Json) -> Text:
    head = Text.assemble((f"{text(side, 'type')} {text(side, 'key')}", "bold"))
    if side.get("contested") is True:
        head.append("  in conflict", "red")
    if copy := text(side, "copy"):
        head.append(f"  the auxiliary's version is {copy}")
    if fault := text(side, "fault"):
        head.append(f"  {fault}", "red")
    return head


def _side(side: Json, versions: Sequence[str], all_fields: bool) -> Table:
    """``now`` is left out where it is what came of the conflict."""
    there, fields = record(side, "there"), records(side, "fields")
    same_now = there.get("now") == there.get("result") and all(one.get("now") == one.get("result") for one in fields)
    shown = [name for name in versions if name != "now" or not same_now]
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2))
    table.add_column("FIELD", no_wrap=True)
    for name in shown:
        table.add_column(name.upper(), overflow="fold")
    if not all(there.get(name) is True for name in shown):
        table.add_row("", *(Text("" if there.get(name) is True else _ABSENT, "yellow") for name in shown))
    for one in fields:
        values = [one.get(name) for name in shown if there.get(name) is True]
        if all_fields or len(values) == 1 or any(_unlike(value, values[0]) for value in values):
            cells = (Text(_value(one.get(name))) if there.get(name) is True else Text() for name in shown)
            table.add_row(Text(text(one, "name")), *cells)
    return table


def _unlike(one: object, other: object) -> bool:
    return (type(one), one) != (type(other), other)


def _value(value: object) -> str:
    match value:
        case None:
            return "NULL"
        case {"hex": str(digits)}:
            short = digits[: 2 * _BYTES_SHOWN] + ("..." if len(digits) > 2 * _BYTES_SHOWN else "")
            return f"x'{clean(short)}' ({count(len(digits) // 2, 'byte')})"
        case {"cut": str(beginning), "bytes": int(size)}:
            return f"{clean(beginning, _VALUE_CELLS)} ({count(size, 'byte')})"
        case {"real": str(word)}:
            return clean(word)
        case _:
            return clean(value, _VALUE_CELLS)


# ---------------------------------------------------------------- history


def history(told: Json) -> None:
    """The versions of an object, the newest first."""
    screen = console()
    print_lines(screen, [Text(f"{text(told, 'collection')}: {text(told, 'type')} {text(told, 'key')}", "bold")])
    table = _table("TIME", "GROUP", "BY", "WHAT")
    for one in records(told, "versions"):
        table.add_row(Text(local_time(one.get("time"))), Text(text(one, "group")), Text(_author(one)), Text(_what(one)))
    screen.print(table)
    if told.get("more") is True:
        print_lines(screen, [Text("and older ones: --limit", "dim")])


def _author(one: Json) -> str:
    deed = text(one, "deed")
    if deed:
        return deed
    if text(one, "device"):
        return text(one, "device_name") or text(one, "device")[:8]
    return "this primary's application"


def _what(one: Json) -> str:
    change, fields = text(one, "change"), records(one, "fields")
    if change == "deleted":
        return "deleted"
    parts = [_field(field, change) for field in fields[:_FIELDS_SHOWN]]
    if len(fields) > _FIELDS_SHOWN:
        parts.append(f"and {count(len(fields) - _FIELDS_SHOWN, 'field')} more")
    word = "the oldest known" if change == "known" else change
    return f"{word}: {', '.join(parts)}" if parts else word


def _field(field: Json, change: str) -> str:
    after = _value(field.get("after"))
    if change == "changed":
        return f"{text(field, 'name')} {_value(field.get('before'))} → {after}"
    return f"{text(field, 'name')} {after}"
