"""The verbs that say when changes travel: `pause`, `resume` and `now`."""

from __future__ import annotations

from collections.abc import Callable

from syncd.cli.call import Call
from syncd.cli.fields import Json, records, text
from syncd.cli.settings import where
from syncd.cli.words import count
from syncd.core.errors import SyncdError

_SHORT_S = 30.0  # the daemon writes some rows, and looks at all collections
_LONG_S = 120.0  # it waits until nothing of what ran waits


def pause(call: Call) -> int:
    return _changed(call, "pause", "paused")


def resume(call: Call) -> int:
    return _changed(call, "resume", "goes on")


def _changed(call: Call, verb: str, word: str) -> int:
    given = call.given
    args: Json = {"collection": given.collection, "device": given.device, "user": given.user}
    told, _ = call.ask_or(verb, _SHORT_S, args, lambda: call.local.arrange().choose(call.home, verb, args))
    if call.json(told):
        return 0
    changed = records(told, "changed")
    for one in changed:
        named = any(text(one, key) for key in ("user", "device", "collection"))
        print(f"{where(one) if named else 'everything'}: {word}")
    if not changed:
        print("nothing changes")
    return 0


def now(call: Call) -> int:
    given = call.given
    told = call.ask("now", _LONG_S, collection=given.collection, device=given.device, user=given.user)
    runs = records(told, "runs")
    waits = [one for one in runs if one.get("done") is not True]
    if not call.json(told):
        for one in runs:
            print(f"{text(one, 'collection')} on {text(one, 'device_name')}: {text(one, 'reason') or 'identical'}")
        if not runs:
            print("nothing rests: changes travel as they are made")
    if waits:
        raise SyncdError(f"{count(len(waits), 'collection')} on devices did not come to the end", _why(waits), "failed")
    return 0


def _why(waits: list[Json]) -> str:
    one = waits[0]
    return f"{text(one, 'collection')} on {text(one, 'device_name')}: {text(one, 'reason')}"


VERBS: dict[str, Callable[[Call], int]] = {"pause": pause, "resume": resume, "now": now}
