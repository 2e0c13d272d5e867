"""Answers of a primary's daemon about what is seen before it is done, and about who holds what."""

from __future__ import annotations

from tests.cli.fake import DEVICE, Json

_NONE: Json = {"objects": 0, "bytes": 0, "first": []}
_SOME: Json = {
    "objects": 1_204,
    "bytes": 122_880,
    "first": [{"type": "note", "key": "[1]"}, {"type": "note", "key": "[2]"}],
}

PREVIEW: Json = {
    "change": 'collection notes on till: selection: not set -> where country == "FR"',
    "hash": "0123456789abcdef",
    "applied": False,
    "refused": "",
    "group": "",
    "outcomes": [
        {
            "device": DEVICE,
            "device_name": "ti\x07ll",
            "collection": "notes",
            "accepted": False,
            "add": _SOME,
            "modify": _SOME,
            "delete": _SOME,
            "note": "at most",
        },
        {
            "device": "",
            "device_name": "",
            "collection": "notes",
            "accepted": True,
            "add": _NONE,
            "modify": _NONE,
            "delete": _SOME,
            "note": "",
        },
    ],
    "more": 2,
    "untouched": 3,
    "left": [{"type": "note", "key": "[9]"}],
    "left_more": 0,
    "warnings": ["notes: note.tag references tag, of which none is taken"],
}
HOLDS: Json = {
    "collection": "notes",
    "type": "note",
    "key": "[42]",
    "there": False,
    "newest": "notes:912",
    "time": "2024-05-01T10:00:00+00:00",
    "devices": [
        {
            "device": DEVICE,
            "device_name": name,
            "standing": standing,
            "since": "2024-05-01T10:00:00+00:00",
            "position": 900,
            "holds": holds,
            "version": version,
            "note": "",
        }
        for name, standing, holds, version in (
            ("till", "revoked", "yes", "older"),
            ("desk", "away", "maybe", "unknown"),
            ("laptop", "connected", "yes", "current"),
        )
    ],
}
HOLDS_DEVICE: Json = {
    "device": DEVICE,
    "device_name": "till",
    "collections": [
        {
            "name": "notes",
            "standing": "revoked",
            "since": "2024-05-01T10:00:00+00:00",
            "position": 900,
            "holds": _SOME,
            "maybe": _SOME,
            "whole": False,
        }
    ],
}


def objects(args: Json) -> Json:
    """Two pages."""
    number, after = ("1", "again") if not args.get("after") else ("2", "")
    line = {"type": "note", "key": f"[{number}]", "holds": "yes" if number == "1" else "maybe", "version": "current"}
    return {"objects": [line], "after": after, "whole": True}
