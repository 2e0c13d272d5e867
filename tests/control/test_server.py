"""The control socket: who may use it, what it answers, and that nothing sent to it stops the daemon."""

from __future__ import annotations

import asyncio
import contextlib
import grp
import json
import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from syncd.control import server as server_module
from syncd.control.client import ask
from syncd.control.protocol import DaemonNotRunning, DaemonSilent
from syncd.control.server import ControlServer
from syncd.core.errors import HomeError, SyncdError, UserError
from syncd.core.settings import Limits
from tests.wait import eventually


async def answer(verb: str, args: dict[str, object]) -> dict[str, object]:
    if args.get("refuse"):
        raise UserError("the verb was refused", "ask for less")
    if args.get("fault"):
        raise ZeroDivisionError("a bug")
    if args.get("hang"):
        await asyncio.Event().wait()
    return {"verb": verb, "args": args}


async def say(path: Path, *pieces: bytes) -> list[dict[str, object]]:
    """Sends the bytes, ends the sending side and returns the lines that came back."""
    reader, writer = await asyncio.open_unix_connection(str(path), limit=2**20)
    try:
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        writer.write_eof()
        raw = await reader.read()
        return [json.loads(line) for line in raw.splitlines()]
    finally:
        writer.close()
        await writer.wait_closed()


async def ask_here(path: Path, verb: str, args: dict[str, object] | None = None) -> dict[str, object]:
    return await ask_in_thread(path, verb, args or {}, 5.0)


async def ask_in_thread(path: Path, verb: str, args: dict[str, object], timeout_s: float) -> dict[str, object]:
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, ask, path, verb, args, timeout_s)


def exists(path: Path) -> bool:
    return path.exists()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "syncd.sock"


@pytest.mark.asyncio
@pytest.mark.parametrize("line", [b"\n", b"{}\n", b'{"verb":"status"}\n', b'{"verb":"status"}'])
async def test_an_empty_line_an_empty_object_and_the_verb_give_the_status(path: Path, line: bytes) -> None:
    async with ControlServer(path, answer):
        assert await say(path, line) == [{"ok": True, "result": {"verb": "status", "args": {}}}]


@pytest.mark.asyncio
async def test_one_connection_may_ask_many_times(path: Path) -> None:
    async with ControlServer(path, answer):
        got = await say(path, b'{}\n{"verb":"retry","group":"notes:4"}\n')
    assert got[1]["result"] == {"verb": "retry", "args": {"group": "notes:4"}}
    assert len(got) == 2


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"status\n", "not JSON"),
        (b"\xff\xfe\n", "not JSON"),
        (b"[" * 60_000 + b"\n", "not JSON"),
        (b'{"verb": "users", "user": "\\ud800"}\n', "not JSON"),
        (b"[1]\n", "no JSON object"),
        (b'{"verb":"dance"}\n', "unknown verb 'dance'"),
        (b'{"verb":["status"]}\n', "unknown verb"),
        (b"x" * 65_537 + b"\n", "longer than 65536 bytes"),
        (b"x" * 700_000 + b"\n", "longer than 65536 bytes"),
        (b"x" * 70_000 + b'{"verb":"retry"}', "longer than 65536 bytes"),
    ],
)
async def test_a_line_that_is_no_request_is_answered_and_the_next_one_too(path: Path, line: bytes, says: str) -> None:
    async with ControlServer(path, answer, limits=Limits(control_line_bytes_max=65_536)):
        refused = (await say(path, line))[0]
        good = (await say(path, line.rstrip(b"\n") + b"\n", b"{}\n"))[1]
    assert refused["ok"] is False
    error = refused["error"]
    assert isinstance(error, dict)
    assert error["code"] == "bad-request"
    assert says in error["text"]
    assert good["ok"] is True


@pytest.mark.asyncio
async def test_a_refusal_reaches_the_client_with_its_advice(path: Path) -> None:
    async with ControlServer(path, answer):
        with pytest.raises(SyncdError) as caught:
            await ask_here(path, "retry", {"refuse": True})
    assert (caught.value.code, caught.value.text, caught.value.advice) == (
        "usage",
        "the verb was refused",
        "ask for less",
    )


@pytest.mark.asyncio
async def test_a_fault_in_a_verb_is_reported_and_the_daemon_lives(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with ControlServer(path, answer):
        with pytest.raises(SyncdError, match="ZeroDivisionError: a bug"):
            await ask_here(path, "status", {"fault": True})
        assert (await ask_here(path, "status"))["verb"] == "status"
    assert "a verb failed" in caplog.text


@pytest.mark.asyncio
async def test_a_verb_that_hangs_is_given_up(path: Path) -> None:
    async with ControlServer(path, answer, limits=Limits(control_verb_s_max=0.05)):
        with pytest.raises(SyncdError) as caught:
            await ask_here(path, "status", {"hang": True})
    assert caught.value.code == "timeout"


@pytest.mark.asyncio
async def test_a_client_does_not_wait_for_ever(path: Path) -> None:
    async with ControlServer(path, answer):
        with pytest.raises(DaemonSilent, match="did not answer within"):
            await ask_in_thread(path, "status", {"hang": True}, 0.05)


@pytest.mark.asyncio
async def test_of_too_many_connections_the_last_is_refused(path: Path) -> None:
    async with ControlServer(path, answer, limits=Limits(control_links_max=2)) as server:
        silent = [await asyncio.open_unix_connection(str(path)) for _ in range(2)]
        assert [line["ok"] for line in await say(path)] == [False]
        for _, writer in silent:
            writer.close()
        await eventually(lambda: not server._links)
        assert (await ask_here(path, "status"))["verb"] == "status"


@pytest.mark.asyncio
async def test_silent_connections_are_closed_and_others_have_their_places(path: Path) -> None:
    async with ControlServer(path, answer, limits=Limits(control_links_max=2, control_idle_s_max=0.05)):
        for _ in range(2):
            silent = [await asyncio.open_unix_connection(str(path)) for _ in range(2)]
            for reader, writer in silent:
                async with asyncio.timeout(30):
                    assert await reader.read() == b"", "it was not refused"
                writer.close()


@pytest.mark.asyncio
async def test_closing_does_not_wait_for_a_verb_that_runs(path: Path) -> None:
    begun = asyncio.Event()

    async def hang(verb: str, args: dict[str, object]) -> dict[str, object]:
        begun.set()
        return await answer(verb, {"hang": True})

    async with asyncio.timeout(30):
        async with ControlServer(path, hang):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b"{}\n")
            await begun.wait()
        assert await reader.read() == b""
        writer.close()
    assert not exists(path)


@pytest.mark.asyncio
@pytest.mark.parametrize("turns", range(8))
async def test_a_connection_at_the_last_moment_is_closed(path: Path, turns: int) -> None:
    async with asyncio.timeout(30):
        async with ControlServer(path, answer):
            reader, writer = await asyncio.open_unix_connection(str(path))
            for _ in range(turns):
                await asyncio.sleep(0)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()


@pytest.mark.asyncio
async def test_the_socket_is_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        async with ControlServer(path, answer):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    finally:
        os.umask(before)


@pytest.mark.asyncio
async def test_the_configured_group_may_open_the_socket(path: Path) -> None:
    group = grp.getgrgid(os.getegid()).gr_name
    async with ControlServer(path, answer, group):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert os.stat(path).st_gid == os.getegid()


@pytest.mark.asyncio
async def test_a_group_that_does_not_exist_is_a_home_error_and_leaves_no_socket(path: Path) -> None:
    with pytest.raises(HomeError, match="no-such-group") as caught:
        await ControlServer(path, answer, "no-such-group").__aenter__()
    assert "socket_group" in caught.value.advice
    assert not exists(path)


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    def become() -> None:
        monkeypatch.setattr(server_module, "_peer_user", lambda link: 4_000_000)

    return become


@pytest.mark.asyncio
async def test_a_member_of_the_group_may_read_and_nothing_else(path: Path, stranger: Callable[[], None]) -> None:
    stranger()
    async with ControlServer(path, answer, grp.getgrgid(os.getegid()).gr_name):
        assert (await ask_here(path, "status"))["verb"] == "status"
        assert (await ask_here(path, "transactions"))["verb"] == "transactions"
        for verb in ("share", "accept", "pair", "pair_open", "retry"):
            with pytest.raises(SyncdError) as caught:
                await ask_here(path, verb)
            assert caught.value.code == "not-allowed"


@pytest.mark.asyncio
async def test_without_a_group_another_user_may_not_even_read(path: Path, stranger: Callable[[], None]) -> None:
    stranger()
    async with ControlServer(path, answer):
        with pytest.raises(SyncdError) as caught:
            await ask_here(path, "status")
    assert caught.value.code == "not-allowed"


@pytest.mark.asyncio
async def test_the_kernel_says_who_asks(path: Path) -> None:
    seen: list[int] = []
    async with ControlServer(path, answer) as serving:
        check = serving._check_user

        def spy(request: object, user: int) -> None:
            seen.append(user)
            check(request, user)  # type: ignore[arg-type]

        serving._check_user = spy  # type: ignore[method-assign]
        await ask_here(path, "status")
    assert seen == [os.geteuid()]


@pytest.mark.asyncio
async def test_a_verb_knows_who_asks(path: Path) -> None:
    async def who(verb: str, args: dict[str, object]) -> dict[str, object]:
        return {"who": server_module.ASKER.get()}

    async with ControlServer(path, who):
        assert (await ask_here(path, "settings"))["who"] == os.geteuid()
    assert server_module.ASKER.get() == -1


@pytest.mark.asyncio
async def test_the_socket_of_a_dead_daemon_is_replaced(path: Path) -> None:
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()
    async with ControlServer(path, answer):
        assert (await ask_here(path, "status"))["verb"] == "status"


@pytest.mark.asyncio
async def test_the_socket_of_a_living_daemon_is_left_alone(path: Path) -> None:
    async with ControlServer(path, answer):
        with pytest.raises(HomeError, match="a daemon listens"):
            await ControlServer(path, answer).__aenter__()
        assert (await ask_here(path, "status"))["verb"] == "status"


def test_a_file_that_is_no_socket_is_never_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(HomeError, match="is no socket"):
        asyncio.run(ControlServer(path, answer).__aenter__())
    assert path.read_text() == "precious"


def test_nobody_there_is_its_own_error(path: Path) -> None:
    with pytest.raises(DaemonNotRunning) as caught:
        ask(path, "status", {}, 1.0)
    assert caught.value.line() == "the daemon is not running: start it with `syncd run` (or systemctl)"


def test_a_path_too_long_for_a_socket_is_a_home_error(tmp_path: Path) -> None:
    with pytest.raises(HomeError):
        ask(tmp_path / ("x" * 120), "status", {}, 1.0)
