"""The verb about settings: shows, sets, explains, exports and imports them, with the daemon running or stopped."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from syncd.cli.call import Call
from syncd.cli.fields import Json, clean, records, text, texts
from syncd.cli.words import ago_or_never
from syncd.core.errors import SyncdError, UserError

_LONG_S = 120.0  # the daemon looks at all collections, and counts what would be taken away
_FILE_BYTES_MAX = 512 * 1024  # a larger file is refused; the control socket takes no more in one line
_TOML_CHARS_MAX = 16 * 1024 * 1024


def settings(call: Call) -> int:
    return _WHAT[call.given.what](call)


def _ask(call: Call, verb: str, **args: object) -> Json:
    name = f"settings_{verb}" if verb else "settings"
    told, _ = call.ask_or(name, _LONG_S, args, lambda: call.local.arrange().choose(call.home, name, args))
    return told


def _place(call: Call) -> dict[str, object]:
    return {"device": call.given.device, "user": call.given.user}


def _show(call: Call) -> int:
    told = _ask(call, "", collection=call.given.words[0], **_place(call))
    if call.json(told):
        return 0
    lines = records(told, "settings")
    width = max((len(text(one, "name")) for one in lines), default=0)
    for one in lines:
        print(f"{text(one, 'name'):{width}}  {text(one, 'value'):12}  {text(one, 'from')}")
    if kept := records(told, "set"):
        print("\nset:")
    for one in kept:
        print(f"  {where(one)}: {text(one, 'name')} = {text(one, 'value')}")
    return 0


def where(place: Json) -> str:
    """Where a value is set, for people."""
    device = text(place, "device_name") or text(place, "device")
    if collection := text(place, "collection"):
        return f"{collection} on {device}" if device else collection
    return f"device {device}" if device else f"user {text(place, 'user')}"


def _set(call: Call) -> int:
    name, value = call.given.words
    return _changed(call, _ask(call, "set", name=name, value=value, **_place(call)))


def _unset(call: Call) -> int:
    return _changed(call, _ask(call, "unset", name=call.given.words[0], **_place(call)))


def _changed(call: Call, told: Json) -> int:
    in_json = call.json(told)
    for one in records(told, "held"):
        raise SyncdError(text(one, "reason"), "", "held")
    if in_json:
        return 0
    changed = records(told, "changed")
    show_changed(changed)
    if not changed:
        print("nothing changes")
    for warning in texts(told, "warnings"):
        print(f"  warning: {warning}")
    if "value" in told:
        print(f"  what counts there: {text(told, 'value')} ({text(told, 'from')})")
    return 0


def show_changed(changed: list[Json]) -> None:
    for one in changed:
        before, after = text(one, "before") or "not set", text(one, "after") or "not set"
        print(f"{where(one)}: {text(one, 'name')}: {before} -> {after}")


def _explain(call: Call) -> int:
    told = _ask(call, "explain", name=call.given.words[0], **_place(call))
    if call.json(told):
        return 0
    print(f"{text(told, 'name')}: {text(told, 'help')}")
    print(f"  allowed: {text(told, 'allowed')}; set for a {', '.join(texts(told, 'scopes'))}")
    for one in records(told, "chain"):
        mark = "*" if one.get("counts") is True else " "
        print(f"  {mark} {text(one, 'from')}: {text(one, 'value') or 'not set'}")
    return 0


def _journal(call: Call) -> int:
    told = _ask(call, "journal", limit=call.given.limit)
    if call.json(told):
        return 0
    for one in records(told, "journal"):
        before, after = text(one, "before") or "not set", text(one, "after") or "not set"
        who = text(one, "who") or "unknown"
        print(f"{ago_or_never(one.get('time'))}, {who}: {where(one)}: {text(one, 'name')}: {before} -> {after}")
    return 0


def _export(call: Call) -> int:
    told = _ask(call, "export")
    if call.json(told):
        return 0
    written = str(told.get("toml") or "")[:_TOML_CHARS_MAX]
    if not call.given.words:
        print("\n".join(clean(line) for line in written.splitlines()))
        return 0
    path = Path(call.given.words[0])
    try:
        path.write_text(written, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{clean(path)} cannot be written: {error.strerror}", "give another place") from error
    print(f"written to {clean(path)}")
    return 0


def _import(call: Call) -> int:
    return _changed(call, _ask(call, "import", toml=read_file(call.given.words[0])))


def read_file(name: str) -> str:
    """What is in a file of settings. Raises UserError."""
    path = Path(name)
    try:
        with path.open("rb") as file:
            raw = file.read(_FILE_BYTES_MAX + 1)
        if len(raw) > _FILE_BYTES_MAX:
            raise UserError(f"{clean(path)} is larger than {_FILE_BYTES_MAX // 1024} KiB", "divide it")
        return raw.decode()
    except OSError as error:
        raise UserError(f"{clean(path)} cannot be read: {error.strerror}", "give another file") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{clean(path)} is not UTF-8", "give what `syncd settings export` wrote") from error


_WHAT: dict[str, Callable[[Call], int]] = {
    "": _show,
    "set": _set,
    "unset": _unset,
    "explain": _explain,
    "journal": _journal,
    "export": _export,
    "import": _import,
}
VERBS: dict[str, Callable[[Call], int]] = {"settings": settings}
