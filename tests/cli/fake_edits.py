"""What a daemon answers to the verbs about changes of both sides."""

from __future__ import annotations

from tests.cli.fake import DEVICE, Json

TIME = "2024-05-01T10:00:00+00:00"
_LINE: Json = {
    "id": 7,
    "collection": "notes",
    "time": TIME,
    "device": DEVICE,
    "device_name": "lap\x07top",
    "policy": "newest",
    "winner": "primary",
    "group": "",
    "objects": 2,
    "contested": 1,
    "type": "note",
    "key": "[42]",
    "resolved": "",
}
CONFLICTS: Json = {"conflicts": [_LINE, _LINE | {"id": 6, "resolved": "theirs (notes:912)", "policy": ""}], "more": 3}


def _field(name: str, base: object, ours: object, theirs: object) -> Json:
    return {"name": name, "base": base, "ours": ours, "theirs": theirs, "result": ours, "now": ours}


CONFLICT: Json = _LINE | {
    "sides": [
        {
            "type": "note",
            "key": "[42]",
            "contested": True,
            "copy": "",
            "there": {"base": True, "ours": True, "theirs": True, "result": True, "now": True},
            "fields": [
                _field("title", "milk", "oat milk", "soy milk"),
                _field("place", "shop", "shop", "shop"),
                _field("picture", None, {"hex": "ff" * 40}, {"cut": "00ff", "bytes": 70_000}),
            ],
        },
        {
            "type": "note",
            "key": "[43]",
            "contested": False,
            "copy": "",
            "there": {"base": False, "ours": False, "theirs": True, "result": False, "now": False},
            "fields": [_field("title", None, None, "bread\x1b[2J")],
        },
    ],
    "more": 0,
}
REFUSED: Json = {
    "refused": [
        {
            "number": 12,
            "collection": "notes",
            "time": TIME,
            "cause": "UNIQUE constraint failed: note.title",
            "type": "note",
            "key": "[42]",
            "conflict": 0,
            "objects": 1,
        }
    ],
    "more": 0,
}
REFUSED_GROUP: Json = {
    "number": 12,
    "collection": "notes",
    "time": TIME,
    "cause": "the primary's version stays",
    "type": "note",
    "key": "[42]",
    "conflict": 7,
    "objects": 1,
    "edits": [
        {
            "type": "note",
            "key": "[42]",
            "fault": "",
            "there": {"base": True, "edited": False},
            "fields": [{"name": "title", "base": "milk", "edited": None}],
        }
    ],
    "more": 0,
}
RESOLVED: Json = {"id": 7, "take": "theirs", "group": "notes:920", "written": True}
UNDONE: Json = {
    "group": "notes:912",
    "undone_by": "notes:921",
    "objects": 3,
    "left": [{"type": "note", "key": "[42]"}],
    "more": 0,
    "conflict": 8,
}
_VERSION: Json = {
    "group": "notes:921",
    "time": TIME,
    "device": DEVICE,
    "device_name": "desk",
    "deed": "undo notes:912",
    "change": "changed",
    "fields": [{"name": "title", "before": "oat milk", "after": "milk"}],
}
HISTORY: Json = {
    "collection": "notes",
    "type": "note",
    "key": "[42]",
    "versions": [
        _VERSION,
        _VERSION | {"group": "notes:912", "device_name": "laptop", "deed": ""},
        _VERSION | {"group": "notes:900", "device": "", "device_name": "", "deed": "", "change": "known"},
    ],
    "more": True,
}
RESENT: Json = {"collection": "notes", "number": 12, "objects": 1}
