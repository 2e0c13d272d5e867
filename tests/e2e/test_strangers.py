"""An unpaired client that says everything that the protocol knows, and what it does not know, at every port of a
primary: it is refused, learns nothing, and the primary is the same afterwards (DESIGN §7, R9, R15)."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import socket
import ssl
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from syncd.adapters.json_adapter import JsonAdapter
from syncd.adapters.msgpack_adapter import MsgpackAdapter
from syncd.core.messages import (
    Begin,
    Credit,
    Cut,
    Follow,
    Hello,
    Made,
    Objects,
    Offer,
    Pace,
    Refusal,
    Report,
    Rest,
    Run,
    Taken,
    Terms,
    Types,
    Upload,
    Verdict,
    Verdicts,
    Welcome,
    Wire,
)
from syncd.core.model import DataType
from syncd.home.config import split_address
from tests.adapters.bad_messages import BAD
from tests.e2e import shop, trust
from tests.e2e.harness import Machine, set_up
from tests.transport.desks import stranger_at
from tests.transport.peers import make_device
from tests.wait import eventually, eventually_blocking

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ANSWER_S_MAX = 60.0
EVERY_KIND: dict[type[Wire], Wire] = {
    Hello: Hello((1,), "auxiliary", "mallory", "msgpack"),
    Welcome: Welcome(1, "mallory", "ada", "msgpack", 1_000_000, ("shop",)),
    Refusal: Refusal("stopping", "go away"),
    Follow: Follow("shop", "", 0, False, 0, 0, 0),
    Types: Types("shop", (DataType(1, "goods", ("id",), ("id", "name", "stock")),)),
    Begin: Begin("shop", "e", True, 0, 0, 0, 5),
    Objects: Objects(
        "shop", 0, 5, (Run(1, False, 1),), b"\1", [1], [b"\x91\x01"], [b"\x91\x01"], (), Cut(5, bytes(16), 1)
    ),
    Credit: Credit("shop", 1_000_000),
    Report: Report("shop", "", 0, bytes(16), 0, False, 0, ""),
    Terms: Terms("shop", "both", "auxiliary"),
    Pace: Pace((Rest("shop", "", 0),), (), 1),
    Offer: Offer("shop", "box", 1, 1),
    Upload: Upload("shop", "box", 1, (Made(1, 1, 1, True, False),), b"\1", [1], [b"\x91\x01"], [b""], [b"\x91\x01"]),
    Taken: Taken("shop", "box", 1, 100),
    Verdicts: Verdicts("shop", "box", (Verdict(1, "accepted", 5, "", "", b"", 0),)),
}
FRAMES: list[bytes | str] = [
    adapter.encode(message) for message in EVERY_KIND.values() for adapter in (MsgpackAdapter(), JsonAdapter())
]
SENSELESS = [MsgpackAdapter().encode(message) for message in list(BAD.values())[::4]]
GARBAGE = (b"\0" * 4096, bytes(range(256)) * 16, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"A" * 2000)
PATHS = ("/sync", "/", "/pair/../sync", "/status", "/pair?x=1", "//pair", "/PAIR")
_sources = (f"127.0.{net}.{host}" for net in itertools.count(2) for host in range(1, 255))  # none tries too often
_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: syncd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    directory = tmp_path_factory.mktemp("strangers")
    with Machine(directory / "desk") as primary, Machine(directory / "laptop") as auxiliary:
        set_up(primary, auxiliary)
        primary.share("shop", shop.make(directory / "shop.db", 50))
        trust.pair_by_code(auxiliary, primary)
        auxiliary.accept("shop")
        auxiliary.wait_identical("shop")
        known = context(auxiliary.home / "identity.pem")
        assert b" 404 " in heard(main_address(primary), upgrade("/"), known), "a device would be answered"
        yield primary
        for machine in (auxiliary, primary):
            machine.stop()  # without a traceback in its log


@pytest.fixture
def primary(shared: Machine) -> Iterator[Machine]:
    """It serves a device of its own; after the test it knows nothing more than before."""
    before, pid = trust.known_state(shared), shared.pid
    yield shared
    shared.ask("pair_close")
    trust.wait_known(shared, before)
    assert (shared.running, shared.pid) == (True, pid), shared.log_end()
    assert "Traceback" not in shared.log.read_text()


def main_address(primary: Machine) -> str:
    return str(primary.status()["address"])


def context(identity: Path | None = None) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if identity is not None:
        made.load_cert_chain(identity)
    return made


def heard(address: str, said: bytes, tls: ssl.SSLContext | None) -> bytes:
    """All that the other end answers until it ends the connection, which it does."""
    answers = b""
    connection = eventually_blocking(lambda: called(address, tls), ANSWER_S_MAX, "it is not turned away")
    assert connection is not None
    with connection:
        try:
            connection.sendall(said)
            while piece := connection.recv(65536):
                answers += piece
        except TimeoutError:
            raise AssertionError(f"{address} did not end the connection, and said {answers!r}") from None
        except OSError:  # reset, or an alert of TLS
            pass
    return answers


def called(address: str, tls: ssl.SSLContext | None) -> socket.socket | None:
    """A connection, on this side with TLS complete; None if it was turned away, as strangers are who come too fast."""
    connection = socket.create_connection(split_address(address), ANSWER_S_MAX, source_address=(next(_sources), 0))
    try:
        return tls.wrap_socket(connection) if tls else connection
    except OSError:
        connection.close()
        return None


def websocket_frame(payload: bytes | str) -> bytes:
    """As a client sends it, with a mask of nulls."""
    raw = payload.encode() if isinstance(payload, str) else payload
    opcode = 0x81 if isinstance(payload, str) else 0x82
    length = bytes([0x80 | len(raw)]) if len(raw) < 126 else struct.pack(">BH", 0x80 | 126, len(raw))
    return bytes([opcode]) + length + bytes(4) + raw


def upgrade(path: str) -> bytes:
    return _UPGRADE.format(path=path, key=base64.b64encode(bytes(16)).decode()).encode()


def test_every_kind_of_message_is_here() -> None:
    assert set(EVERY_KIND) == set(Wire.__args__)


# ---------------------------------------------------------------- the main port


@pytest.mark.parametrize("shows", ["no certificate", "an unknown certificate"])
def test_a_stranger_at_the_main_port_is_answered_nothing_whatever_it_says(
    primary: Machine, tmp_path: Path, shows: str
) -> None:
    tls = context(None if shows == "no certificate" else make_device(tmp_path, "mallory").identity)
    address = main_address(primary)
    assert heard(address, upgrade("/sync"), tls) == b""
    for frame in FRAMES:
        assert heard(address, upgrade("/sync") + websocket_frame(frame), tls) == b"", frame
    for garbage in GARBAGE:
        assert heard(address, garbage, tls) == b""
    for path in (*PATHS, "/pair"):
        assert heard(address, upgrade(path), tls) == b""


def test_a_stranger_with_the_name_of_a_device_is_a_stranger(primary: Machine, tmp_path: Path) -> None:
    """And so is one that shows the primary's own certificate, for which it has no key."""
    same_name = make_device(tmp_path, "laptop")
    assert heard(main_address(primary), upgrade("/sync"), context(same_name.identity)) == b""
    assert heard(main_address(primary), upgrade("/sync"), context(primary.home / "identity.pem")) == b""


def test_plain_text_at_the_main_port_is_answered_with_no_word(primary: Machine) -> None:
    for said in (upgrade("/sync"), *(garbage for garbage in GARBAGE)):
        answered = heard(main_address(primary), said, None)
        assert b"HTTP" not in answered
        assert len(answered) < 64, "an alert of TLS at most"


# ---------------------------------------------------------------- the pairing port


def test_messages_of_the_protocol_pair_nobody(primary: Machine) -> None:
    place = trust.show_code(primary).place
    for frame in (*FRAMES, *SENSELESS):
        assert asyncio.run(pairs(place, frame)) in ("bad-frame", "too-large"), frame
    assert trust.is_open(place), "what is no message of pairing costs no try"


async def pairs(place: str, frame: bytes | str) -> str:
    """The code that the frame is refused with."""
    async with AsyncExitStack() as stack:
        websocket = await eventually(lambda: caller(stack, place), ANSWER_S_MAX, "it is not turned away")
        assert websocket is not None
        try:
            await websocket.send(frame)
            said = json.loads(await asyncio.wait_for(websocket.recv(decode=True), ANSWER_S_MAX))
        except ConnectionClosed as closed:
            return "too-large" if closed.rcvd is None or closed.rcvd.code == 1009 else str(closed)
    return str(said["refused"])


async def caller(stack: AsyncExitStack, place: str) -> ClientConnection | None:
    """None if it was turned away, as strangers are who come too fast."""
    with contextlib.suppress(ConnectionError):
        return await stack.enter_async_context(stranger_at(place, source=next(_sources)))
    return None


def test_the_pairing_port_has_one_path(primary: Machine) -> None:
    place = trust.show_code(primary).place

    async def ask(path: str) -> int:
        try:
            async with stranger_at(place, path, source=next(_sources)):
                return 101
        except InvalidStatus as refused:
            return refused.response.status_code

    for path in PATHS:
        assert asyncio.run(ask(path)) == 404, path
    assert asyncio.run(ask("/pair")) == 101


def test_garbage_at_the_pairing_port_begins_no_exchange(primary: Machine) -> None:
    place = trust.show_code(primary).place
    tries = [(garbage, tls) for garbage in GARBAGE for tls in (None, context())]
    with ThreadPoolExecutor(len(tries)) as pool:  # some are cut off by a deadline
        answers = list(pool.map(lambda one: heard(place, *one), tries))
    assert not any(b"101 Switching" in answer for answer in answers)
    assert trust.is_open(place)
