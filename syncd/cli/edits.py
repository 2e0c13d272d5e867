"""The verbs about changes of both sides: conflicts, resolve, undo, held groups, history, resend, dismiss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from syncd.cli.call import Call
from syncd.cli.fields import Json, clean, number, record, records, text
from syncd.cli.settings import show_changed, where
from syncd.cli.words import count
from syncd.core.errors import SyncdError, UserError

_LONG_S = 120.0  # the daemon reads from a store, or writes and waits until it has its place in the order
_TAKES = ("ours", "theirs", "both")
_LEFT_SHOWN = 10


def conflicts(call: Call) -> int:
    given = call.given
    if given.shown:
        told = call.ask("conflict", _LONG_S, id=given.shown)
        if not call.json(told):
            from syncd.cli import show_edits

            show_edits.conflict(told, given.all)
        return 0
    told = call.ask("conflicts", _LONG_S, collection=given.collection, all=given.all)
    if not call.json(told):
        from syncd.cli import show_edits

        show_edits.conflicts(told)
    return 0


def resolve(call: Call) -> int:
    given = call.given
    if given.take in _TAKES:
        told = call.ask("resolve", _LONG_S, id=given.id, take=given.take)
    else:
        sides = _edited(given.take, "sides", "result", f"take {', '.join(_TAKES)}, or name a file")
        told = call.ask("resolve", _LONG_S, id=given.id, take="file", sides=sides)
    if not call.json(told):
        if group := text(told, "group"):
            print(f"conflict {number(told, 'id')} is resolved by group {group}; `syncd undo {group}` takes it back")
        elif told.get("written") is True:
            print(f"conflict {number(told, 'id')} is resolved; `syncd history` shows the group as soon as it is read")
        else:
            print(f"conflict {number(told, 'id')} is resolved: nothing had to be changed")
    return 0


def undo(call: Call) -> int:
    told = call.ask("undo", _LONG_S, group=call.given.group)
    left = records(told, "left")
    undone = number(told, "objects")
    if not call.json(told):
        if undone:
            by = text(told, "undone_by")
            how = f" by group {by}; `syncd undo {by}` takes it back" if by else "; `syncd history` shows by which group"
            print(f"{text(told, 'group')}: {count(undone, 'object')} undone{how}")
        for one in left[:_LEFT_SHOWN]:
            print(f"  changed since, and left: {text(one, 'type')} {text(one, 'key')}")
        if (more := len(left) + number(told, "more") - _LEFT_SHOWN) > 0:
            print(f"  and {more:,} more")
        if left and (conflict := number(told, "conflict")):
            print(f"  kept as conflict {conflict}: `syncd conflicts show {conflict}`, then `syncd resolve {conflict}`")
    if left and not undone:
        raise SyncdError("nothing was undone: all of it was changed since", "see `syncd conflicts`", "failed")
    return 0


def held(call: Call) -> int:
    told = call.ask("held", _LONG_S)
    if not call.json(told):
        for one in records(told, "held"):
            print(f"{text(one, 'group')}: {text(one, 'reason')}")
            gone = [each for each in records(one, "named") if each.get("gone") is True]
            for each in gone[:_LEFT_SHOWN]:
                print(f"  deleted: {text(each, 'type')} {text(each, 'key')}")
            if (more := number(one, "gone") - len(gone[:_LEFT_SHOWN])) > 0:
                print(f"  and {more:,} more")
        for one in records(told, "settings"):
            print(text(one, "reason"))
            for change in records(one, "changes"):
                print(f"  would be set: {where(change)}: {text(change, 'name')} = {text(change, 'value') or 'not set'}")
        if not any(records(told, what) for what in ("held", "settings")):
            print("nothing is held")
    return 0


def approve(call: Call) -> int:
    told = call.ask("approve", _LONG_S, group=call.given.group)
    if call.json(told):
        return 0
    if "changed" in told:
        print(f"{text(told, 'group')}: approved")
        show_changed(records(told, "changed"))
    else:
        print(f"{text(told, 'group')}: approved, {count(number(told, 'gone'), 'object')} deleted on all devices")
    return 0


def reject(call: Call) -> int:
    told = call.ask("reject", _LONG_S, group=call.given.group)
    if call.json(told):
        return 0
    if "objects" not in told:
        print(f"{text(told, 'group')}: rejected, nothing is changed")
    else:
        print(f"{text(told, 'group')}: rejected, {count(number(told, 'objects'), 'object')} given back")
        left = records(told, "left")
        for one in left[:_LEFT_SHOWN]:
            print(f"  there again since, and left: {text(one, 'type')} {text(one, 'key')}")
        if (more := len(left) + number(told, "more") - _LEFT_SHOWN) > 0:
            print(f"  and {more:,} more")
        if left:
            print("  kept as conflicts: `syncd conflicts`")
    return 0


def history(call: Call) -> int:
    given = call.given
    told = call.ask("history", _LONG_S, collection=given.collection, words=given.words, limit=given.limit)
    if not call.json(told):
        from syncd.cli import show_edits

        show_edits.history(told)
    return 0


def resend(call: Call) -> int:
    given = call.given
    edits: Json = {"edits": _edited(given.file, "edits", "edited", "name a file")} if given.file else {}
    keys: Json = {"new_keys": True} if given.new_keys else {}
    told = call.ask("resend", _LONG_S, number=given.number, **edits, **keys)
    if not call.json(told):
        amount = count(number(told, "objects"), "object")
        print(f"{amount} of {text(told, 'collection')} changed here again, and on the way to the primary")
    return 0


def dismiss(call: Call) -> int:
    told = call.ask("dismiss", _LONG_S, number=call.given.number)
    if not call.json(told):
        amount = count(number(told, "objects"), "object")
        print(f"{text(told, 'collection')}: refused group {number(told, 'number')} is forgotten, with {amount}")
    return 0


def _edited(file: str, objects: str, version: str, advice: str) -> list[Json]:
    """What a person edited of the answer that they kept in the file: the one version that counts. Raises UserError with
    the advice where there is no such file."""
    try:
        kept: object = json.loads(Path(file).expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}", advice) from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file} is not JSON: {clean(error)}", "edit what `syncd conflicts show` printed") from error
    if not isinstance(kept, dict) or not isinstance(kept.get(objects), list):
        raise UserError(f"{file} holds no list `{objects}`", "edit what `syncd conflicts show` printed with --json")
    return [_of_version(one, version) for one in records(kept, objects)]


def _of_version(one: Json, version: str) -> Json:
    """The form stays, so that the daemon can say where it is wrong."""
    there = record(one, "there")
    fields: object = one.get("fields")
    if isinstance(fields, list):
        fields = [
            {name: each[name] for name in ("name", version) if name in each} if isinstance(each, dict) else each
            for each in fields
        ]
    kept = {version: there[version]} if version in there else {}
    return {"type": one.get("type"), "key": one.get("key"), "there": kept, "fields": fields}


VERBS: dict[str, Callable[[Call], int]] = {
    "conflicts": conflicts,
    "resolve": resolve,
    "undo": undo,
    "held": held,
    "approve": approve,
    "reject": reject,
    "history": history,
    "resend": resend,
    "dismiss": dismiss,
}
