"""PostgreSQL: logical replication between two clusters over a socket of this machine, if its programs are installed.

Each commit is durable: with ``synchronous_commit = off`` nothing would be sent before the WAL writer wakes up. The
servers refuse to run as root: then the user ``postgres`` runs them.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from scripts.benchlib import probe, work
from scripts.benchlib.figures import RATE, Figure, Measure, Setting
from scripts.benchlib.peers.bare import free_port
from scripts.benchlib.peers.common import Absent, latencies, process, wait
from scripts.benchlib.probe import Cost

_TABLE = "CREATE TABLE item(id text PRIMARY KEY, body text)"
_PLACES = ("/usr/lib/postgresql", "/usr/local/pgsql")
_QUERY_POLL_S = 0.01


def measure(setting: Setting) -> list[Figure]:
    programs, prefix = _programs(), _prefix()
    objects = setting.of(100_000)
    setting.directory.chmod(0o711)
    with ExitStack() as stack:
        primary = _Server(setting.directory / "primary", programs, prefix, stack)
        replica = _Server(setting.directory / "replica", programs, prefix, stack)
        for server in (primary, replica):
            server.session.run(_TABLE)
        primary.load(objects)
        primary.session.run("CREATE PUBLICATION all_items FOR TABLE item")
        figures = [
            _bootstrap(primary, replica, objects),
            _catchup(setting, primary, replica, objects),
            _latency(setting, primary, replica, objects),
            _stream(setting, primary, replica, 2 * objects),
        ]
        figures[-1].daemons.extend([primary.cost("primary, all figures"), replica.cost("subscriber, all figures")])
    return figures


def _figure(name: str, what: str, measures: list[Measure]) -> Figure:
    return Figure(f"postgresql: {name}", what, measures)


def _bootstrap(primary: _Server, replica: _Server, objects: int) -> Figure:
    begin = time.monotonic()
    where = f"host={primary.directory} port={primary.port} user=postgres dbname=postgres"
    replica.session.run(f"CREATE SUBSCRIPTION items CONNECTION '{where}' PUBLICATION all_items")
    ready = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'"
    wait(lambda: replica.session.run(ready) == "1", "the first copy", _QUERY_POLL_S)
    seconds = wait(lambda: replica.session.run("SELECT count(*) FROM item") == str(objects), "all rows") - begin
    what = f"first copy of {objects:,} rows: CREATE SUBSCRIPTION -> all there"
    return _figure("bootstrap", what, [Measure("bootstrap", seconds, "s")])


def _catchup(setting: Setting, primary: _Server, replica: _Server, objects: int) -> Figure:
    changes = setting.of(20_000)
    step = objects // changes
    replica.session.run("ALTER SUBSCRIPTION items DISABLE")
    wait(lambda: replica.session.run("SELECT count(pid) FROM pg_stat_subscription") == "0", "the worker ends")
    for begin in range(0, changes, 100):
        changed = [(number * step, 1) for number in range(begin, begin + 100)]
        primary.session.run(f"BEGIN; {' '.join(_upsert(number, version) for number, version in changed)} COMMIT")
    last = (changes - 1) * step
    begin_s = time.monotonic()
    replica.session.run("ALTER SUBSCRIPTION items ENABLE")
    seconds = wait(lambda: replica.holds(last, 1), "catch-up") - begin_s
    what = f"catch-up after {changes:,} modifications in transactions of 100: ENABLE -> the last is there"
    return _figure("catchup", what, [Measure("catch-up", seconds, "s")])


def _latency(setting: Setting, primary: _Server, replica: _Server, first: int) -> Figure:
    count = int(RATE * (2 if setting.quick else 10))
    measures = latencies(
        lambda number: primary.commit(first + number), lambda number: replica.holds(first + number), count
    )
    return _figure("latency", f"single-row commits at {RATE:.0f}/s: commit returned -> visible", measures)


def _stream(setting: Setting, primary: _Server, replica: _Server, first: int) -> Figure:
    count = setting.of(50_000)
    begin = time.monotonic()
    for number in range(first, first + count):
        primary.commit(number)
    end = time.monotonic()
    seconds = wait(lambda: replica.holds(first + count - 1), "the stream arrives") - end
    measures = [Measure("last commit -> visible", seconds, "s"), Measure("commits", count / (end - begin), "/s")]
    return _figure("stream", f"{count:,} single-row commits, one by one", measures)


class _Server:
    """One cluster with its server and a session."""

    def __init__(self, directory: Path, programs: Path, prefix: tuple[str, ...], stack: ExitStack) -> None:
        self.directory = directory
        self.port = free_port()
        directory.mkdir(mode=0o755)
        if prefix:
            shutil.chown(directory, "postgres")
        data = directory / "data"
        initdb = [*prefix, str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"]
        subprocess.run(initdb, cwd=directory, check=True, capture_output=True)
        settings = (
            "wal_level=logical",
            "listen_addresses=",
            f"unix_socket_directories={directory}",
            "wal_retrieve_retry_interval=100",
        )
        options = [part for one in settings for part in ("-c", one)]
        serve = [*prefix, str(programs / "postgres"), "-D", str(data), "-p", str(self.port), *options]
        self._process = stack.enter_context(process(serve, directory.parent / f"{directory.name}.log"))
        socket_file = directory / f".s.PGSQL.{self.port}"
        wait(socket_file.exists, "the server listens")
        psql = (str(programs / "psql"), "-h", str(directory), "-p", str(self.port), "-U", "postgres")
        wait(
            lambda: subprocess.run([*psql, "-c", "SELECT 1"], capture_output=True, check=False).returncode == 0, "ready"
        )
        self.session = stack.enter_context(_session([*psql, "-qAtX", "-v", "ON_ERROR_STOP=1"]))
        self.session.run("SET client_min_messages = warning")
        self._psql = psql

    def load(self, objects: int) -> None:
        text = "".join(f"{one}\t{body}\n" for one, body in work.rows(0, objects))
        subprocess.run(
            [*self._psql, "-c", "COPY item FROM STDIN"], input=text.encode(), check=True, capture_output=True
        )

    def commit(self, number: int) -> None:
        self.session.run(_upsert(number, 0))

    def holds(self, number: int, version: int = 0) -> bool:
        asked = f"SELECT body FROM item WHERE id = '{work.key(number)}'"
        return self.session.run(asked) == work.body(number, version)

    def cost(self, name: str) -> Cost:
        """Of all processes of the server."""
        pids = _with_children(self._process.pid)
        return Cost(name, sum(map(probe.peak_rss_mib, pids)), sum(map(probe.cpu_s, pids)))


class _Session:
    """A psql that stays; a query and its answer are one write and one read."""

    def __init__(self, started: subprocess.Popen[str]) -> None:
        self._process = started

    def run(self, sql: str) -> str:
        """The lines of the answer."""
        sending, answers = self._process.stdin, self._process.stdout
        assert sending is not None
        assert answers is not None
        sending.write(f"{sql};\n\\echo done\n")
        sending.flush()
        lines: list[str] = []
        while (line := answers.readline()) != "done\n":
            if not line:
                raise RuntimeError(f"psql ended: {sql[:200]}")
            lines.append(line.rstrip("\n"))
        return "\n".join(lines)


@contextmanager
def _session(arguments: Sequence[str]) -> Iterator[_Session]:
    pipe = subprocess.PIPE
    with subprocess.Popen(list(arguments), stdin=pipe, stdout=pipe, text=True, start_new_session=True) as started:
        try:
            yield _Session(started)
        finally:
            started.kill()


def _upsert(number: int, version: int) -> str:
    one, body = work.key(number), work.body(number, version)
    insert = f"INSERT INTO item VALUES('{one}', '{body}')"
    return f"{insert} ON CONFLICT(id) DO UPDATE SET body = excluded.body;"


def _programs() -> Path:
    found = [path.parent for place in _PLACES for path in Path(place).glob("**/bin/initdb")]
    if on_path := shutil.which("initdb"):
        found.append(Path(on_path).resolve().parent)
    for directory in sorted(found, reverse=True):
        if all((directory / name).exists() for name in ("initdb", "postgres", "psql")):
            return directory
    raise Absent("initdb, postgres and psql are not installed")


def _prefix() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    try:
        user = pwd.getpwnam("postgres")
    except KeyError:
        raise Absent("this is root, as whom PostgreSQL does not run, and there is no user postgres") from None
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def _with_children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]
