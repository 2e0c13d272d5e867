"""The verb about who holds what: the devices that hold an object, the objects on a device."""

from __future__ import annotations

import json
from collections.abc import Callable

from syncd.cli.call import Call
from syncd.cli.fields import Json, number, record, records, text
from syncd.cli.words import ago_or_never, count, size

_LONG_S = 620.0  # the daemon looks at whole collections
_VERSIONS = {"current": "it", "older": "an older version of it"}


def holds(call: Call) -> int:
    if not call.given.of_device:
        return _object(call)
    return _all(call) if call.given.all else _device(call)


def _object(call: Call) -> int:
    name, *words = call.given.words
    told = call.ask("holds", _LONG_S, collection=name, words=words)
    if call.json(told):
        return 0
    there = "is in the application here" if told.get("there") is True else "is not in the application here any more"
    print(f"{text(told, 'type')} {text(told, 'key')} {there}, by group {text(told, 'newest')}")
    devices = records(told, "devices")
    for one in devices:
        verb = "may hold" if text(one, "holds") == "maybe" else "held" if _is_gone(one) else "holds"
        which = _VERSIONS.get(text(one, "version"), "it, in which version is not known")
        print(f"{text(one, 'device_name')} {verb} {which}: {_standing(one)}, as of {number(one, 'position')}")
    if not devices:
        print("no device holds it")
    return 0


def _is_gone(one: Json) -> bool:
    return text(one, "standing") in ("revoked", "unlinked")


def _standing(one: Json) -> str:
    standing = text(one, "standing")
    match standing:
        case "revoked":
            return f"revoked {ago_or_never(one.get('since'))}"
        case "away":
            return f"away, last seen {ago_or_never(one.get('since'))}"
        case _:
            return standing


def _device(call: Call) -> int:
    told = call.ask("holds_device", _LONG_S, device=call.given.device, collection="".join(call.given.words))
    if call.json(told):
        return 0
    collections = records(told, "collections")
    for one in collections:
        who = f"{text(told, 'device_name')} {'held' if _is_gone(one) else 'holds'} of {text(one, 'name')}"
        print(f"{who}, {_standing(one)}, as of {number(one, 'position')}:")
        print(f"  {_part(record(one, 'holds'))}")
        if number(record(one, "maybe"), "objects"):
            print(f"  and perhaps {_part(record(one, 'maybe'))}")
        if one.get("whole") is not True:
            print("  and perhaps others, that were changed since then and are not remembered any more")
    if not collections:
        print(f"{text(told, 'device_name')} holds nothing, as far as it said")
    return 0


def _part(part: Json) -> str:
    named = ", ".join(f"{text(each, 'type')} {text(each, 'key')}" for each in records(part, "first"))
    more = ", ..." if number(part, "objects") > len(records(part, "first")) else ""
    amount = f"{count(number(part, 'objects'), 'object')} ({size(number(part, 'bytes'))})"
    return f"{amount}: {named}{more}" if named else amount


def _all(call: Call) -> int:
    """As it is read: with --json one object a line."""
    given, after = call.given, ""
    while True:
        told = call.ask("holds_objects", _LONG_S, device=given.device, collection=given.words[0], after=after)
        for one in records(told, "objects"):
            if given.json:
                print(json.dumps(one))
            else:
                perhaps = "" if text(one, "holds") == "yes" else "  (perhaps)"
                print(f"{text(one, 'type')} {text(one, 'key')}{perhaps}")
        if not (after := text(told, "after")):
            return 0


VERBS: dict[str, Callable[[Call], int]] = {"holds": holds}
