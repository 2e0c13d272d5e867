"""One verb as it was called: what was given, and how the daemon is asked."""

from __future__ import annotations

import json
import os
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from syncd.cli.fields import Json
from syncd.cli.local import Local
from syncd.control.client import ask
from syncd.control.protocol import DaemonNotRunning
from syncd.home import config as configuration
from syncd.home.lock import POLL_S, DaemonHolds, is_held, lock
from syncd.home.paths import Home

START_S_MAX = 10.0  # waiting for the socket of a daemon that starts
_EXPECTED_S = {"pair_open": 2.0, "pair": 2.0}  # waiting for a daemon that nobody has started: `syncd run & syncd pair`


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

    def ask_or(self, verb: str, timeout_s: float, args: Json, alone: Callable[[], Json]) -> tuple[Json, bool]:
        """The daemon's answer, or what is arranged without it; whether the daemon runs."""
        try:
            return self.ask(verb, timeout_s, **args), True
        except DaemonNotRunning:
            if self._named_socket():
                raise
            try:
                with lock(self.home):  # a daemon that is about to start waits for its turn, and reads the result
                    return alone(), False
            except DaemonHolds:  # it was just about to
                return self.ask(verb, timeout_s, **args), True

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
