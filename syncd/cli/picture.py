"""The status as a compact picture in lines: this device, each collection, each device, and what needs a person."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from rich.cells import cell_len
from rich.text import Text

from syncd.cli.fields import Json, number, record, records, text, texts
from syncd.cli.words import SOURCE_STATES, STATES, UNKNOWN, Look, ago, count, duration, local_time
from syncd.core.model import show_device

_FAILED_SHOWN = 5  # parked groups shown for each collection; `syncd transactions` shows all
_PROBLEMS_SHOWN = 10
_BAR_CELLS = 24
_DEVICE_ID_CELLS = 52


def picture(status: Json, now: datetime) -> list[Text]:
    """The whole status."""
    lines = _heading(status)
    if text(record(status, "device"), "role") == "primary":
        return lines + _collections(status) + _devices(status, now)
    return lines + _primary(status, now)


def _heading(status: Json) -> list[Text]:
    device = record(status, "device")
    role, user = text(device, "role"), text(status, "user")
    about = f"{role} of {user}" if user else role
    address, *others = text(status, "address").split(", ")
    where = f"{address} and {len(others)} more" if others else address
    parts = [about, where, f"up {duration(number(status, 'uptime_s'))}"]
    line = Text.assemble((text(device, "name"), "bold"), " · ", " · ".join(part for part in parts if part))
    problem = text(record(status, "discovery"), "problem")
    notes = [Text(f"devices do not find each other by mDNS: {problem}", "yellow")] if problem else []
    if changes := number(status, "held_settings"):
        notes.append(Text(f"{count(changes, 'change')} of settings held until you decide: `syncd held`", "red"))
    return [line, Text(_device_id(text(device, "id")), "dim"), _summary(status), *notes]


def _device_id(device: str) -> str:
    return show_device(device) if len(device) == _DEVICE_ID_CELLS else device


def _summary(status: Json) -> Text:
    """One line that answers: is all well?"""
    lines = [line for device in records(status, "devices") for line in _standings(device)]
    states = Counter(text(line, "state") for line in lines)
    for state in ("offline", "held"):
        if here := [text(line, "name") for line in records(status, "collections") if text(line, "state") == state]:
            return Text(f"{', '.join(here)}: {state} here", "red")
    if not lines:
        return Text("nothing is synchronized yet", "yellow")
    if states["identical"] == len(lines):
        return Text("everything is identical", "green")
    identical = f"{states.pop('identical', 0)} of {len(lines)} identical"
    others = [f"{amount} {_look(STATES, state).word}" for state, amount in states.items()]
    return Text(
        ", ".join([identical, *others]),
        "red" if any(states[state] for state in ("parked", "held", "offline", "stalled")) else "yellow",
    )


# ---------------------------------------------------------------- on the primary


def _collections(status: Json) -> list[Text]:
    collections = records(status, "collections")
    lines = [Text(), Text("Collections", "bold")]
    if not collections:
        lines.append(Text("  none: `syncd share NAME --from sqlite:PATH`", "yellow"))
    widths = _widths(collections)
    for line in collections:
        look = _look(SOURCE_STATES, text(line, "state"))
        amount = f"{count(number(line, 'objects'), 'object')} at {number(line, 'head')}"
        about = f"{amount}   {text(line, 'application')}{_one_way(line)}"
        lines += [_row(line, look, widths, about), *_notes(line, look), *_disputes(line)]
    return lines


def _why_nothing(device: Json) -> str:
    if not device.get("users"):
        return f"is linked with no user: `syncd devices link {text(device, 'name')} USER`"
    return "takes nothing yet: `syncd accept NAME --into sqlite:PATH` there"


def _devices(status: Json, now: datetime) -> list[Text]:
    devices = records(status, "devices")
    lines = [Text(), Text("Devices", "bold")]
    if not devices:
        lines.append(Text("  none: `syncd pair`, and `syncd pair CODE` on the other machine", "yellow"))
    widths = _widths([line for device in devices for line in _standings(device)])
    for device in devices:
        lines += _device(device, now)
        collections = _standings(device)
        if not collections and not text(device, "revoked"):
            lines.append(Text(f"    {_why_nothing(device)}", "yellow"))
        for line in collections:
            lines += [Text("  ") + part for part in _standing(line, widths, "there")]
    return lines


def _standings(device: Json) -> list[Json]:
    """How its collections stand; of one that was cut off nothing is to be expected."""
    return [] if text(device, "revoked") else records(device, "collections")


# ---------------------------------------------------------------- on an auxiliary


def _primary(status: Json, now: datetime) -> list[Text]:
    """The primary, and each collection as it stands here."""
    devices = records(status, "devices")
    standings = {text(line, "name"): line for device in devices for line in records(device, "collections")}
    lines = [Text(), Text("Primary", "bold")]
    lines += [line for device in devices for line in _device(device, now)]
    if not devices:
        lines.append(Text("  none: `syncd pair` there, and `syncd pair CODE` here", "yellow"))
    collections = [{**standings.get(text(line, "name"), {}), **line} for line in records(status, "collections")]
    lines += [Text(), Text("Collections", "bold")]
    if not collections:
        lines.append(Text("  none: `syncd accept NAME --into sqlite:PATH`", "yellow"))
    widths = _widths(collections)
    for line in collections:
        lines += _standing(line, widths, "here")
    return lines


# ---------------------------------------------------------------- parts


def _device(device: Json, now: datetime) -> list[Text]:
    """Whether it is connected, and if not, why."""
    connected = device.get("connected") is True
    seen = ago(device.get("last_seen"), now)
    state = "connected" if connected else f"not connected, last seen {seen}" if seen else "not connected"
    line = Text.assemble("  ", (text(device, "name"), "bold"), "   ", (state, "green" if connected else "yellow"))
    lines = [line.append("   " + text(device, "id")[:8], "dim")]
    if not connected and (reason := text(device, "reason")):
        lines.append(Text(f"    {reason}", "yellow"))
    return lines


def _standing(line: Json, widths: tuple[int, int], where: str) -> list[Text]:
    """A collection on a device: state, how far it is, what is parked there and why."""
    look = _look(STATES, text(line, "state"))
    behind = number(line, "behind")
    about = f"{count(number(line, 'objects'), 'object')} at {number(line, 'position')} of {number(line, 'head')}"
    if behind:
        about += f", {count(behind, 'change')} behind"
    if application := text(line, "application"):
        about += f"   {application}{_one_way(line)}"
    lines = [_row(line, look, widths, about)]
    if transfer := record(line, "progress"):
        lines.append(_bar(number(transfer, "done"), number(transfer, "total")))
    return lines + _notes(line, look) + _changed_here(line) + _parked(line, where)


def _row(line: Json, look: Look, widths: tuple[int, int], about: str) -> Text:
    name = text(line, "name")
    row = Text.assemble("  ", name, " " * (widths[0] - cell_len(name) + 3))
    row.append(f"{look.mark} {look.word:<{widths[1]}}", look.colour)
    return row.append(f"   {about}")


def _notes(line: Json, look: Look) -> list[Text]:
    """Why it is in this state, and what cannot be synchronized."""
    notes: list[Text] = []
    if reason := text(line, "reason"):
        notes.append(Text(f"      {reason}", look.colour if look.advice else "yellow"))
    if resumes := local_time(line.get("resumes")):
        notes.append(Text(f"      goes on at {resumes}"))
    if look.advice:
        notes.append(Text(f"      {look.advice}"))
    problems = texts(line, "problems")
    notes += [Text(f"      ! {problem}", "yellow") for problem in problems[:_PROBLEMS_SHOWN]]
    if len(problems) > _PROBLEMS_SHOWN:
        notes.append(Text(f"      ! and {len(problems) - _PROBLEMS_SHOWN} more: `syncd status --json`", "yellow"))
    return notes


def _one_way(line: Json) -> str:
    """Which way its changes travel, where it is not both."""
    ways = {"out": "   from the primary only", "in": "   to the primary only"}
    return ways.get(text(line, "direction"), "")


def _disputes(line: Json) -> list[Text]:
    amount = number(line, "conflicts")
    return [Text(f"      {count(amount, 'conflict')}: `syncd conflicts`", "yellow")] if amount else []


def _changed_here(line: Json) -> list[Text]:
    """What was changed on this auxiliary and is not the primary's."""
    notes: list[Text] = []
    if pending := number(line, "pending"):
        where = "which stay here" if text(line, "direction") == "out" else "on the way to the primary"
        notes.append(Text(f"      {count(pending, 'group')} of changes made here, {where}"))
    if refused := number(line, "refused"):
        said = f"      {count(refused, 'group')} of changes made here refused: `syncd conflicts`"
        notes.append(Text(said, "yellow"))
    return notes


def _parked(line: Json, where: str) -> list[Text]:
    """The groups that failed: what, why, which object, what to do."""
    failed = records(line, "failed")
    if not failed and not number(line, "parked"):
        return []
    amount = max(number(line, "parked"), len(failed))
    lines = [Text(f"      {count(amount, 'group')} parked; everything else goes on", "red")]
    for one in failed[:_FAILED_SHOWN]:
        head = Text.assemble(
            "      ", (text(one, "group"), "bold"), " ", text(one, "outcome"), ": ", text(one, "cause")
        )
        lines.append(head.append(guilty(one)))
    if amount > min(len(failed), _FAILED_SHOWN):
        lines.append(Text("      all of them: `syncd transactions`"))
    lines.append(Text(f"      remove the cause {where}, then `syncd retry` {where}; it is also tried again by itself"))
    return lines


def guilty(failed: Json) -> str:
    """The guilty object of a failed group in parentheses; empty if there is none."""
    named = " ".join(part for part in (text(failed, "type"), text(failed, "key")) if part)
    return f" ({named})" if named else ""


def _bar(done: int, total: int) -> Text:
    share = min(1.0, max(0.0, done / total)) if total > 0 else 0.0
    full = round(share * _BAR_CELLS)
    bar = Text.assemble("      ", ("━" * full, "cyan"), ("─" * (_BAR_CELLS - full), "dim"))
    return bar.append(f" {share:4.0%}   {done:,} of {total:,}")


def _widths(lines: list[Json]) -> tuple[int, int]:
    """Cells of the widest name, characters of the widest word of a state."""
    names = [cell_len(text(line, "name")) for line in lines]
    words = [len(_look(SOURCE_STATES, text(line, "state")).word) for line in lines]
    return max(names, default=0), max(words, default=0)


def _look(looks: dict[str, Look], state: str) -> Look:
    return looks.get(state, UNKNOWN)
