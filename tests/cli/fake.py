"""A daemon that answers as it is told, on a real socket, and files that are arranged as they are told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from syncd.cli.local import Arrange, Local
from syncd.control.server import ControlServer
from syncd.core.errors import SyncdError
from syncd.core.model import Role
from syncd.home import config
from syncd.home.config import Asked, Config
from syncd.home.paths import Home

Json = dict[str, object]
DEVICE = "ABCD" * 13

STATUS: Json = {
    "version": "0.1.0",
    "device": {"id": DEVICE, "name": "desk", "role": "primary"},
    "user": "maria",
    "epoch": "e1",
    "uptime_s": 3_725,
    "address": "192.0.2.1:8765",
    "discovery": {"on": True, "problem": ""},
    "held_settings": 0,
    "collections": [
        {
            "name": "notes",
            "user": "maria",
            "application": "sqlite:/home/maria/notes.db",
            "state": "identical",
            "objects": 12_345,
            "head": 918,
            "reason": "",
            "held": "",
            "direction": "both",
            "policy": "primary",
            "conflicts": 2,
            "problems": ["table log: no primary key"],
        }
    ],
    "devices": [
        {
            "id": "WXYZ" * 13,
            "name": "laptop",
            "connected": True,
            "last_seen": "2024-05-01T10:00:00+00:00",
            "reason": "",
            "users": ["maria"],
            "revoked": "",
            "copied": "",
            "collections": [
                {
                    "name": "notes",
                    "state": "parked",
                    "position": 900,
                    "head": 918,
                    "behind": 18,
                    "parked": 1,
                    "digest_match": False,
                    "objects": 12_300,
                    "reason": "",
                    "resumes": "",
                    "failed": [
                        {
                            "group": "notes:895",
                            "outcome": "rolled-back",
                            "cause": "UNIQUE constraint failed: person.email",
                            "type": "person",
                            "key": "[42]",
                        }
                    ],
                    "progress": {"done": 250, "total": 1000},
                }
            ],
        }
    ],
}

TRANSACTIONS: Json = {
    "note": "",
    "transactions": [
        {
            "group": "notes:895",
            "collection": "notes",
            "seq": 895,
            "device": DEVICE,
            "device_name": "laptop",
            "outcome": "rolled-back",
            "objects": 1_200,
            "time": "2024-05-01T10:00:00+00:00",
            "cause": "UNIQUE",
            "type": "person",
            "key": "[42]",
        }
    ],
}
RETRIED: Json = {
    "retried": ["notes:1", "notes:2"],
    "applied": ["notes:1"],
    "failed": [{"group": "notes:2", "cause": "CHECK"}],
    "parts": {"asked": 2, "tried": 2, "applied": 1},
}
OPENED: Json = {
    "token": "syncd1-" + "A" * 1_000 + "@192.0.2.1:8765",
    "expires_s": 300.0,
    "addresses": ["192.0.2.1:8765"],
    "user": "maria",
}
OPENED_CODE: Json = {"code": "4821-otter-lamp", "expires_s": 300.0, "addresses": ["192.0.2.1:8766"], "user": "maria"}
PAIRED: Json = {"device": DEVICE, "name": "de\x07sk", "user": "maria", "linked": True, "backups": []}
SHARED: Json = {
    "problems": ["view v: is computed"],
    "backup": None,
    "direction": "both",
    "conflicts": "primary",
    "changed": False,
}
ACCEPTED: Json = {"problems": [], "backup": "/d/n.db.syncd-backup-1"}


CHANGED: Json = {
    "changed": [
        {
            "user": "",
            "device": DEVICE,
            "device_name": "till",
            "collection": "notes",
            "name": "direction",
            "before": "",
            "after": "out",
        }
    ],
    "value": "out",
    "from": "collection notes on till",
}


PAUSED: Json = {
    "changed": [
        {
            "user": "",
            "device": DEVICE,
            "device_name": "till",
            "collection": "notes",
            "name": "pause",
            "before": "",
            "after": "on",
        }
    ]
}
RAN: Json = {
    "runs": [
        {"collection": "notes", "device": DEVICE, "device_name": "till", "done": True, "reason": ""},
        {
            "collection": "notes",
            "device": "WXYZ" * 13,
            "device_name": "laptop",
            "done": False,
            "reason": "not connected: it runs when it is",
        },
    ]
}


@dataclass
class FakeDaemon:
    """``answers``: verb -> what it answers, raises, or computes from the arguments. ``asked``: what it was asked."""

    answers: dict[str, Json | SyncdError | Callable[[Json], Json]] = field(default_factory=dict)
    asked: list[tuple[str, Json]] = field(default_factory=list)

    async def handle(self, verb: str, args: Json) -> Json:
        self.asked.append((verb, args))
        answer = self.answers[verb]
        if isinstance(answer, SyncdError):
            raise answer
        return answer(args) if callable(answer) else answer

    @contextmanager
    def running(self, home: Home) -> Iterator[FakeDaemon]:
        """Serves the socket of the home from a thread."""
        ready, loop = threading.Event(), asyncio.new_event_loop()
        stop = asyncio.Event()

        async def serve() -> None:
            async with ControlServer(home.socket, self.handle):
                ready.set()
                await stop.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), name="fake-daemon")
        thread.start()
        try:
            assert ready.wait(10)
            yield self
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()


@dataclass
class FakeArrange:
    """Records what is asked of it."""

    asked: list[tuple[object, ...]] = field(default_factory=list)

    def init(self, home: Home, options: Config) -> Json:
        self.asked.append(("init", options))
        device = {"id": DEVICE, "name": options.name or "host", "role": options.role.value}
        return {"home": str(home.path), "device": device, "user": options.user, "listen": options.listen}

    def share(self, home: Home, asked: Asked) -> Json:
        self.asked.append(("share", asked))
        return SHARED | {"problems": ["table log: no primary key"]}

    def accept(self, home: Home, asked: Asked) -> Json:
        self.asked.append(("accept", asked))
        return {"problems": [], "backup": f"{asked.path}.syncd-backup-1" if asked.replace else None}

    def choose(self, home: Home, verb: str, args: Json) -> Json:
        self.asked.append((verb, args))
        return CHANGED


def local(arrange: Arrange | None = None, run: Callable[[Path], int] | None = None) -> Local:
    """What the command line gets: nothing but what the test gives."""

    def no_arrange() -> Arrange:
        assert arrange is not None, "the verb was to go to the daemon"
        return arrange

    def no_run(home: Path) -> int:
        raise AssertionError("no daemon was to be started")

    return Local(no_arrange, run or no_run)


def make_home(path: Path) -> Home:
    """The home of a primary, without a daemon."""
    home = Home(path)
    home.create()
    config.save(home, Config(role=Role.PRIMARY, name="desk", user="maria", listen="127.0.0.1:8765"))
    return home
