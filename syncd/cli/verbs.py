"""What each verb does: ask the daemon, or arrange files without it, and print. Each returns its exit code."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syncd.cli import watch
from syncd.cli.arguments import Place
from syncd.cli.fields import Json, clean, number, record, records, text, texts
from syncd.cli.local import Local
from syncd.cli.words import count, duration
from syncd.control.client import ask
from syncd.control.protocol import DaemonNotRunning
from syncd.core.errors import SyncdError
from syncd.core.model import Role, show_device
from syncd.home import config as configuration
from syncd.home.config import Config
from syncd.home.lock import POLL_S, DaemonHolds, is_held, lock
from syncd.home.paths import Home

START_S_MAX = 10.0  # waiting for the socket of a daemon that starts
_EXPECTED_S = {"pair_open": 2.0, "pair": 2.0}  # waiting for a daemon that nobody has started: `syncd run & syncd pair`
_SHORT_S = 15.0  # the daemon answers from memory
_PAIR_S = 60.0  # the daemon dials the primary
_TOKEN_MAX = 4_000  # characters; it holds addresses
_LONG_S = 620.0  # the daemon reads or copies a whole database, or executes groups


@dataclass(frozen=True, slots=True)
class Call:
    """One verb as it was called."""

    given: Namespace
    home: Home
    local: Local

    def ask(self, verb: str, timeout_s: float, **args: object) -> Json:
        """Asks the daemon of this home, or at the socket that was named. A daemon that starts is waited for. Raises
        HomeError without a home, DaemonNotRunning without a daemon."""
        if named := self._named_socket():  # its home is another user's, and not looked at
            return ask(named, verb, args, timeout_s)
        configuration.load(self.home)
        began = time.monotonic()
        while True:
            try:
                return ask(self.home.socket, verb, args, timeout_s)
            except DaemonNotRunning:
                waited_s, held = time.monotonic() - began, is_held(self.home)
                if held and waited_s > START_S_MAX:
                    raise DaemonNotRunning(
                        "the daemon takes no verb: it is still starting, or stopping", "see its log, then try again"
                    ) from None
                if not held and waited_s > _EXPECTED_S.get(verb, 0.0):
                    raise
            time.sleep(POLL_S)

    def _named_socket(self) -> Path | None:
        """Of --socket, else of $SYNCD_SOCKET, for verbs that have the option."""
        option = getattr(self.given, "socket", "")
        named = option if option is not None else os.environ.get("SYNCD_SOCKET", "")
        return Path(named) if named else None

    def json(self, told: Json) -> bool:
        """Prints it as JSON if the person asked for that."""
        if self.given.json:
            print(json.dumps(told, indent=2))
        return bool(self.given.json)


def init(call: Call) -> int:
    given = call.given
    options = Config(
        role=Role(given.role),
        name=given.name,
        user=given.user,
        listen=given.listen,
        discovery=not given.no_discovery,
        adapter=given.adapter,
    )
    told = call.local.arrange().init(call.home, options)
    if call.json(told):
        return 0
    device = record(told, "device")
    print(f"{clean(told.get('home'))}: device {text(device, 'name')}, {show_device(text(device, 'id'))}")
    if options.role is Role.PRIMARY:
        print(f"primary of user {text(told, 'user')}, to listen at {text(told, 'listen')}")
        print("next: `syncd share NAME --from sqlite:PATH`, `syncd run`, `syncd pair --token`")
    else:
        print("auxiliary; next: `syncd run`, `syncd pair TOKEN`, `syncd accept NAME --into sqlite:PATH`")
    return 0


def share(call: Call) -> int:
    place: Place = call.given.place
    name, tables = call.given.collection, call.given.tables

    def alone() -> Json:
        problems = call.local.arrange().share(call.home, name, place.kind, place.path, tuple(tables))
        return {"problems": problems, "backup": None}

    asked: Json = {"name": name, "kind": place.kind, "path": place.path, "tables": tables}
    told, runs = _daemon_or(call, "share", asked, alone)
    if not call.json(told):
        print(f"{clean(name)} is shared from {clean(place.path)}{'' if runs else ' when the daemon runs'}")
        for problem in texts(told, "problems"):
            print(f"  not synchronized: {problem}")
    return 0


def accept(call: Call) -> int:
    place: Place = call.given.place
    name, replace = call.given.collection, call.given.replace

    def alone() -> Json:
        return call.local.arrange().accept(call.home, name, place.kind, place.path, replace)

    asked: Json = {"name": name, "kind": place.kind, "path": place.path, "replace": replace}
    told, runs = _daemon_or(call, "accept", asked, alone)
    if not call.json(told):
        if backup := text(told, "backup"):
            print(f"a copy of what was there is in {backup}")
        print(f"{clean(name)} goes into {clean(place.path)}{'' if runs else ' when the daemon runs'}")
        for problem in texts(told, "problems"):
            print(f"  {problem}")
    return 0


def _daemon_or(call: Call, verb: str, args: Json, alone: Callable[[], Json]) -> tuple[Json, bool]:
    """The daemon's answer, or what is arranged without it; whether the daemon runs."""
    try:
        return call.ask(verb, _LONG_S, **args), True
    except DaemonNotRunning:
        try:
            with lock(call.home):  # a daemon that is about to start waits for its turn, and reads the result
                return alone(), False
        except DaemonHolds:  # it was just about to
            return call.ask(verb, _LONG_S, **args), True


def run(call: Call) -> int:
    configuration.load(call.home)
    return call.local.run(call.home.path)


def pair(call: Call) -> int:
    given = call.given
    if given.with_token:
        told = call.ask("pair", _PAIR_S, token=given.with_token, address=given.address, replace=given.replace)
        if not call.json(told):
            device = show_device(text(told, "device"))
            for backup in texts(told, "backups"):
                print(f"a copy of what was there is in {backup}")
            print(f"paired with {text(told, 'name')}, the primary of user {text(told, 'user')}: {device}")
        return 0
    told = call.ask("pair_open", _SHORT_S)
    token, lasts = clean(told.get("token"), _TOKEN_MAX), duration(number(told, "expires_s"))
    if call.json(told):
        return 0
    if given.token:
        print(token)
    else:
        print(f"on the other machine, within {lasts}, once:\n\n  syncd pair {token}\n")
    return 0


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
    "pair": pair,
    "status": status,
    "transactions": transactions,
    "retry": retry,
}
