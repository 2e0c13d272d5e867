"""Real daemons as processes, driven through the real command line, for end-to-end tests and ``scripts/bench``.

    with Fleet(tmp_path, auxiliaries=2) as fleet:          # made, started, paired; ended in any case
        fleet.primary.share("notes", database)
        for auxiliary in fleet.auxiliaries:
            auxiliary.accept("notes")
            auxiliary.wait_identical("notes")

A ``Machine`` is one home and at most one daemon process, which this module starts and ends by its process id.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from syncd.control.client import ask
from syncd.control.protocol import DaemonNotRunning, DaemonSilent
from syncd.core.errors import DiskFull, SyncdError
from syncd.home.paths import Home
from syncd.store.sync_database import SqliteSyncDatabase
from tests.e2e.compare import differences

Json = dict[str, object]

ROOT = Path(__file__).resolve().parents[2]
LAUNCHER = (sys.executable, "-m", "syncd")
_LIMITED = """
import functools, sys
from syncd.__main__ import main
if sys.argv[1] == "run":
    import syncd.daemon
    syncd.daemon.Limits = functools.partial(syncd.daemon.Limits, **{limits})
sys.exit(main())
"""
POLL_S = 0.01
START_S_MAX = 60.0
STOP_S_MAX = 60.0
WAIT_S_MAX = 60.0  # whatever has not come after this hangs
VERB_S_MAX = 120.0
_LOG_SHOWN = 3_000  # last characters of a log that a failure shows


def limited(**limits: float) -> tuple[str, ...]:
    """A launcher of daemons with these limits."""
    return sys.executable, "-c", _LIMITED.format(limits=limits)


class Machine:
    """One device: its ``home``, its daemon's ``log``, the databases of its collections. Usable as a context manager,
    which kills a daemon that still runs. ``launcher``: what runs a verb. ``environment``: more of it for the daemon.
    ``listen``, ``discovers``: how ``init`` sets it up. ``compared``: tables that are to be identical, empty for all."""

    compared: tuple[str, ...] = ()
    listen = "127.0.0.1:0"
    discovers = False

    def __init__(self, directory: Path, launcher: Sequence[str] = LAUNCHER) -> None:
        self.directory = directory
        self.name = directory.name
        self.home = directory / "home"
        self.log = directory / "daemon.log"
        self.databases: dict[str, Path] = {}
        self.primary: Machine | None = None
        self.environment: dict[str, str] = {}
        self.process: subprocess.Popen[bytes] | None = None
        self._launcher = tuple(launcher)
        directory.mkdir(parents=True, exist_ok=True)

    def __repr__(self) -> str:
        return f"Machine({self.name})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self.kill()

    # ------------------------------------------------------------ the command line

    def cli(self, *args: str, code: int = 0, timeout_s: float = VERB_S_MAX) -> str:
        """Runs one verb and returns what it printed. Fails unless it ends with ``code``; for another code than 0 the
        line on stderr is returned."""
        command = [*self._launcher, *args, "--home", str(self.home)]
        done = subprocess.run(
            command, cwd=ROOT, env=_environment(), capture_output=True, text=True, timeout=timeout_s, check=False
        )
        said = f"{self.name}: `syncd {' '.join(args)}` ended with {done.returncode}\n{done.stdout}{done.stderr}"
        assert done.returncode == code, said
        return done.stderr if code else done.stdout

    def begin(self, *args: str) -> subprocess.Popen[str]:
        """Runs one verb that waits. What it prints on both streams comes from its ``stdout``."""
        return subprocess.Popen(
            [*self._launcher, *args, "--home", str(self.home)],
            cwd=ROOT,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def cli_json(self, *args: str) -> Json:
        """The same with ``--json``."""
        told = json.loads(self.cli(*args, "--json"))
        assert isinstance(told, dict)
        return told

    def init(self, role: str, *options: str) -> Json:
        """``syncd init``; a primary is of user ada and listens at ``listen``."""
        usual = ("--user", "ada", "--listen", self.listen) if role == "primary" else ()
        quiet = () if self.discovers else ("--no-discovery",)
        return self.cli_json("init", "--role", role, "--name", self.name, *quiet, *usual, *options)

    def share(self, collection: str, database: Path, *tables: str) -> None:
        self.cli("share", collection, "--from", f"sqlite:{database}", *(("--table", *tables) if tables else ()))
        self.databases[collection] = database

    def accept(self, collection: str, database: Path | None = None, *options: str) -> Path:
        """Into ``database``, else into one that is made in the machine's directory. Returns its path."""
        database = database or self.directory / f"{collection}.db"
        self.cli("accept", collection, "--into", f"sqlite:{database}", *options)
        self.databases[collection] = database
        return database

    def pair(self, primary: Machine, address: str = "") -> None:
        """Both daemons run; this one is an auxiliary. ``address``: see ``dials``."""
        self.cli("pair", primary.cli("pair", "--token").strip())
        self.primary = primary
        if address:
            self.dials(address)

    def dials(self, address: str) -> None:
        """This auxiliary begins anew, and has only this address of its primary."""
        self.stop()

        async def keep() -> None:
            database = await SqliteSyncDatabase.open(Home(self.home).sync_database)
            try:
                if (primary := await database.primary()) is not None:
                    await database.set_addresses(primary.id, [address])
            finally:
                await database.close()

        asyncio.run(keep())
        self.start()

    # ------------------------------------------------------------ the daemon

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def pid(self) -> int:
        assert self.process is not None, f"{self.name} was not started"
        return self.process.pid

    def start(self, wait: bool = True) -> None:
        """Starts the daemon; returns when it answers on its socket (``wait``)."""
        assert not self.running, f"{self.name} runs already"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._launcher, "run", "--home", str(self.home)],
                cwd=ROOT,
                env=_environment() | {"SYNCD_DEBUG": "1"} | self.environment,  # a daemon that fails says where
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if wait:
            self.wait_started()

    def wait_started(self, deadline_s: float = START_S_MAX) -> None:
        self.wait(lambda: bool(self.try_status()), "answers on its socket", deadline_s)

    def stop(self, deadline_s: float = STOP_S_MAX) -> None:
        """Ends the daemon as systemd does; it must end by itself, in order and without a traceback in its log."""
        self.end(signal.SIGTERM, deadline_s)
        assert self.process is not None
        assert self.process.returncode == 0, f"{self.name} ended with {self.process.returncode}\n{self.log_end()}"
        assert "Traceback" not in self.log.read_text(errors="replace"), self.log_end()

    def kill(self) -> None:
        """``kill -9``."""
        self.end(signal.SIGKILL, STOP_S_MAX)

    def end(self, sign: signal.Signals, deadline_s: float) -> None:
        assert self.process is not None, f"{self.name} was not started"
        if self.process.poll() is None:
            self.process.send_signal(sign)
        try:
            self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} did not end within {deadline_s} s\n{self.log_end()}") from None

    def restart(self) -> None:
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The daemon is stopped by a signal, as by a machine that hangs, and goes on afterwards."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def log_end(self) -> str:
        """The last lines of the daemon's log."""
        return self.log.read_text(errors="replace")[-_LOG_SHOWN:] if self.log.exists() else ""

    # ------------------------------------------------------------ what it tells

    def ask(self, verb: str, timeout_s: float = VERB_S_MAX, **args: object) -> Json:
        """A verb on the control socket, without a process for it."""
        return ask(Home(self.home).socket, verb, args, timeout_s)

    def status(self) -> Json:
        return self.ask("status")

    def try_status(self) -> Json | None:
        """None when no daemon answers, or one that has no room to work."""
        try:
            return self.status()
        except SyncdError as error:
            if error.code not in (DaemonNotRunning.code, DaemonSilent.code, DiskFull.code):
                raise
            return None

    def collection(self, name: str, device: str = "") -> Json:
        """What the status says of a collection: on a primary here, or on the ``device`` of that name; on an auxiliary
        the line under its primary. Empty if there is none."""
        status = self.try_status() or {}
        owners = [one for one in _records(status, "devices") if not device or one.get("name") == device]
        auxiliary = self.primary is not None
        return _collection(status if not auxiliary and not device else owners[0] if owners else {}, name)

    def failed(self, collection: str) -> list[Json]:
        """The failed groups that an auxiliary's status names."""
        return _records(self.collection(collection), "failed")

    def wait(
        self, condition: Callable[[], bool], what: str, deadline_s: float = WAIT_S_MAX, poll_s: float = 0.1
    ) -> None:
        """Until the condition holds; fails with the status and the log when it does not in time or the daemon ends.
        The pauses grow: who asks all the time takes the processor from what is waited for."""
        begin = time.monotonic()
        while not condition():
            dead, waited_s = self.process is not None and not self.running, time.monotonic() - begin
            if dead or waited_s > deadline_s:
                why = f"its daemon ended with {self.process.returncode}" if dead and self.process else f"{deadline_s} s"
                raise AssertionError(f"not so, {why}: {self.name} {what}\n{self.try_status()}\n{self.log_end()}")
            time.sleep(min(poll_s, max(POLL_S, waited_s / 10)))

    def wait_state(self, collection: str, state: str, *words: str) -> Json:
        """Until the collection is in the state, with these words in its reason; returns its line."""
        line: Json = {}

        def is_so() -> bool:
            nonlocal line
            line = self.collection(collection)
            return line.get("state") == state and all(word in str(line.get("reason")) for word in words)

        self.wait(is_so, " ".join((collection, "is", state, *words)))
        return line

    def wait_identical(self, collection: str, deadline_s: float = WAIT_S_MAX) -> None:
        """Of an auxiliary: until both ends say ``identical`` at the same head and the two databases are equal row by
        row. An application that commits meanwhile keeps it from coming true."""
        seen: list[str] = []

        def identical() -> bool:
            seen[:] = self._not_identical(collection)
            return not seen

        try:
            self.wait(identical, f"{collection} is identical", deadline_s)
        except AssertionError as error:
            raise AssertionError(f"{'; '.join(seen)}\n{error}") from None

    def _not_identical(self, collection: str) -> list[str]:
        primary = self.primary
        assert primary is not None, f"{self.name} was not paired"
        here = self.collection(collection)
        status = primary.try_status() or {} if here.get("state") == "identical" else {}
        there = _collection(status, collection)
        device = next((one for one in _records(status, "devices") if one.get("name") == self.name), {})
        told = _collection(device, collection)
        for line, what in ((here, "the auxiliary"), (there, "the source"), (told, "the device on the primary")):
            if line.get("state") != "identical":
                return [f"{what} is {line.get('state', 'not there')}: {line.get('reason')} {line.get('failed', '')}"]
        if not there.get("head") == told.get("position") == here.get("position"):
            return [f"head {there.get('head')}, position {here.get('position')}"]
        return differences(primary.databases[collection], self.databases[collection], self.compared)


def set_up(primary: Machine, *auxiliaries: Machine, adapters: Sequence[str] = ()) -> None:
    """Makes and starts them, all at once: each by itself takes a second or two. ``adapters``: of the first auxiliaries;
    the others have the usual one."""
    chosen = dict(zip(auxiliaries, adapters, strict=False))

    def begin(machine: Machine) -> None:
        options = ("--adapter", chosen[machine]) if machine in chosen else ()
        machine.init("primary" if machine is primary else "auxiliary", *options)
        machine.start()

    with ThreadPoolExecutor() as pool:
        list(pool.map(begin, (primary, *auxiliaries)))


def start(*machines: Machine) -> None:
    """All at once."""
    for machine in machines:
        machine.start(wait=False)
    for machine in machines:
        machine.wait_started()


class Fleet:
    """A primary and auxiliaries, made, started and paired on entry; whatever still runs is killed on exit.
    ``launcher``: of all."""

    def __init__(
        self, directory: Path, auxiliaries: int = 1, adapters: Sequence[str] = (), launcher: Sequence[str] = LAUNCHER
    ) -> None:
        self.primary = Machine(directory / "primary", launcher)
        self.auxiliaries = [Machine(directory / f"auxiliary-{number + 1}", launcher) for number in range(auxiliaries)]
        self._adapters = adapters
        self._stack = ExitStack()

    @property
    def auxiliary(self) -> Machine:
        """The first, for tests that need one."""
        return self.auxiliaries[0]

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for machine in (self.primary, *self.auxiliaries):
                stack.enter_context(machine)
            set_up(self.primary, *self.auxiliaries, adapters=self._adapters)
            for machine in self.auxiliaries:
                machine.pair(self.primary)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _records(owner: Json, key: str) -> list[Json]:
    value = owner.get(key)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _collection(owner: Json, name: str) -> Json:
    """The line of a collection in what a status says of its owner; empty if there is none."""
    return next((one for one in _records(owner, "collections") if one.get("name") == name), {})


def _environment() -> dict[str, str]:
    """Nothing of the caller's syncd or systemd reaches the daemon."""
    foreign = (
        "SYNCD_HOME",
        "SYNCD_SOCKET",
        "SYNCD_DEBUG",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "STATE_DIRECTORY",
        "JOURNAL_STREAM",
    )
    kept = {name: value for name, value in os.environ.items() if name not in foreign}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
