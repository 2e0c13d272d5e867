"""What each verb does: ask the daemon, or arrange files without it, and print. Each returns its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable

from syncd.cli import edits, holders, people, preview, settings, turns, watch
from syncd.cli.arguments import Place
from syncd.cli.call import Call
from syncd.cli.fields import Json, clean, number, record, records, text, texts
from syncd.cli.words import count
from syncd.core.errors import SyncdError
from syncd.core.model import Role, show_device
from syncd.home import config as configuration
from syncd.home.config import Asked, Config

_SHORT_S = 15.0  # the daemon answers from memory
_LONG_S = 620.0  # the daemon reads or copies a whole database, or executes groups


def init(call: Call) -> int:
    given = call.given
    options = Config(
        role=Role(given.role),
        name=given.name,
        user=given.user,
        listen=given.listen,
        discovery=not given.no_discovery,
        interfaces=tuple(given.interfaces),
        interfaces_excluded=tuple(given.interfaces_excluded),
        addresses=tuple(given.addresses),
        adapter=given.adapter,
    )
    told = call.local.arrange().init(call.home, options)
    if call.json(told):
        return 0
    device = record(told, "device")
    print(f"{clean(told.get('home'))}: device {text(device, 'name')}, {show_device(text(device, 'id'))}")
    if options.role is Role.PRIMARY:
        print(f"primary of user {text(told, 'user')}, to listen at {text(told, 'listen')}")
        print("next: `syncd share NAME --from sqlite:PATH`, `syncd run`, `syncd pair`")
    else:
        print("auxiliary; next: `syncd run`, `syncd pair CODE`, `syncd accept NAME --into sqlite:PATH`")
    return 0


def share(call: Call) -> int:
    given = call.given
    place: Place = given.place
    asked = Asked(
        given.collection,
        place.kind,
        place.path,
        tuple(given.tables),
        given.user,
        direction=given.direction,
        conflicts=given.conflicts,
    )
    told, runs = call.ask_or("share", _LONG_S, asked._asdict(), lambda: call.local.arrange().share(call.home, asked))
    if not call.json(told):
        whose = f" for user {clean(asked.user)}" if asked.user else ""
        print(f"{clean(asked.name)} is shared from {clean(place.path)}{whose}{'' if runs else ' when the daemon runs'}")
        if told.get("changed"):
            policy = text(told, "conflicts")
            print(f"  from here on: direction {text(told, 'direction')}, conflicts are decided by policy {policy}")
        for problem in texts(told, "problems"):
            print(f"  not synchronized: {problem}")
    return 0


def accept(call: Call) -> int:
    given = call.given
    place: Place = given.place
    asked = Asked(
        given.collection,
        place.kind,
        place.path,
        replace=given.replace,
        merge=given.merge,
        keep_edits=given.keep_edits,
    )
    told, runs = call.ask_or("accept", _LONG_S, asked._asdict(), lambda: call.local.arrange().accept(call.home, asked))
    if not call.json(told):
        if backup := text(told, "backup"):
            print(f"a copy of what was there is in {backup}")
        print(f"{clean(asked.name)} goes into {clean(place.path)}{'' if runs else ' when the daemon runs'}")
        if asked.merge:
            print("  what it holds is offered to the primary first; `syncd conflicts` shows what is refused")
        for problem in texts(told, "problems"):
            print(f"  {problem}")
    return 0


def run(call: Call) -> int:
    configuration.load(call.home)
    return call.local.run(call.home.path)


def status(call: Call) -> int:
    def told() -> Json:
        return call.ask("status", _SHORT_S)

    if not call.given.watch:
        answer = told()
        if not call.json(answer):
            from syncd.cli import show

            show.status(answer)
        return 0
    try:
        _watch(call, told)
    except KeyboardInterrupt:
        return 0
    return 0


def _watch(call: Call, told: Callable[[], Json]) -> None:
    statuses = watch.repeated(told)
    if call.given.json:
        for answer in watch.changes(statuses):
            print(json.dumps(answer), flush=True)
    else:
        from syncd.cli import show

        show.watch(statuses)


def transactions(call: Call) -> int:
    given = call.given
    told = call.ask("transactions", _SHORT_S, device=given.device, outcome=given.outcome, limit=given.limit)
    if not call.json(told):
        from syncd.cli import show

        show.transactions(told)
    return 0


def retry(call: Call) -> int:
    told = call.ask("retry", _LONG_S, group=call.given.group)
    applied, failed = texts(told, "applied"), records(told, "failed")
    if not call.json(told):
        for group in applied:
            print(f"{group}: applied")
        for one in failed:
            print(f"{text(one, 'group')}: failed again: {text(one, 'cause')}")
        if not applied and not failed:
            print("nothing is parked")
    return _retried(record(told, "parts"))


def _retried(parts: Json) -> int:
    """Only some of very many groups are named, and perhaps only some were tried in time: all are told in numbers."""
    asked, tried, applied = (number(parts, key) for key in ("asked", "tried", "applied"))
    if tried < asked:
        raise SyncdError(
            f"{tried:,} of {count(asked, 'group')} tried so far, {applied:,} applied",
            "the others are tried after them, see `syncd status`",
            "failed",
        )
    if tried > applied:
        raise SyncdError(
            f"{count(tried - applied, 'group')} failed again", "remove the cause, then `syncd retry`", "failed"
        )
    return 0


VERBS: dict[str, Callable[[Call], int]] = {
    "init": init,
    "share": share,
    "accept": accept,
    "run": run,
    "status": status,
    "transactions": transactions,
    "retry": retry,
    **people.VERBS,
    **edits.VERBS,
    **settings.VERBS,
    **turns.VERBS,
    **preview.VERBS,
    **holders.VERBS,
}
