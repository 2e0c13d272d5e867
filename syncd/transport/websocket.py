"""Opening a websocket to a primary, with every failure as one of our errors.

The peer's certificate is checked after the TLS handshake and before the first byte of ours. A primary that does not
know our certificate breaks off after TLS is complete on this side (TLS 1.3 lets the client finish first), so an end
between TLS and the first answer means "not paired", or, for pairing, "closed".
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from websockets.asyncio.client import ClientConnection, connect
from websockets.datastructures import HeadersLike
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage, InvalidStatus
from websockets.http11 import Response

from syncd.core.errors import REFUSALS, LinkLost, PeerError, Refused
from syncd.core.settings import Limits
from syncd.transport.address import parse_address, reason
from syncd.transport.link import peer_certificate, websocket_settings

SYNC_PATH = "/sync"
PAIR_PATH = "/pair"
PAIR_BYTES_MAX = 8192  # a message of the pairing exchange
INSTANCE_HEADER = "Syncd-Instance"  # of a request: which daemon calls; another one each time that a daemon starts
REFUSAL_HEADER = "Syncd-Refusal"  # of an answer 403: a code of REFUSALS


@dataclass(frozen=True, slots=True)
class Call:
    """Whom to call and for what. ``is_right``: whether a certificate (DER) is the one expected there. ``instance``: the
    daemon that calls."""

    address: str
    path: str
    context: ssl.SSLContext
    is_right: Callable[[bytes | None], bool]
    instance: str = ""


async def open_websocket(call: Call, limits: Limits) -> ClientConnection:
    """Raises LinkLost when nobody answers, Refused when a person must settle it, UserError for a bad address."""
    host, port = parse_address(call.address)
    try:
        return await _Connect(
            f"wss://syncd{call.path}",
            host=host,
            port=port,
            ssl=call.context,
            create_connection=_checked(call.is_right),
            proxy=None,
            user_agent_header=None,
            additional_headers={INSTANCE_HEADER: call.instance} if call.instance else None,
            max_size=limits.message_bytes_max if call.path == SYNC_PATH else PAIR_BYTES_MAX,
            **websocket_settings(limits),
        )
    except (OSError, UnicodeError, InvalidHandshake, ConnectionClosed, _WrongPeer) as error:
        raise _as_ours(error, call, limits) from error


class _WrongPeer(Exception):
    pass


class _Connect(connect):
    """A primary never redirects an auxiliary."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


def _checked(is_right: Callable[[bytes | None], bool]) -> type[ClientConnection]:
    class Checked(ClientConnection):
        async def handshake(
            self, additional_headers: HeadersLike | None = None, user_agent_header: str | None = None
        ) -> None:
            if not is_right(peer_certificate(self)):
                raise _WrongPeer
            await super().handshake(additional_headers, user_agent_header)

    return Checked


def _as_ours(error: Exception, call: Call, limits: Limits) -> PeerError:
    address = call.address
    if isinstance(error, _WrongPeer | ssl.SSLCertVerificationError):
        return Refused(*_wrong_peer(call), code="unknown-device")
    if isinstance(error, ssl.SSLError):
        return LinkLost(f"what answers at {address} is no syncd", "check the address")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return LinkLost(f"{address} did not answer within {limits.open_s_max:g} s", _unreachable(call))
    if isinstance(error, InvalidStatus):
        return _status(error.response, call)
    if isinstance(error, ConnectionClosed) or (
        isinstance(error, InvalidMessage) and isinstance(error.__cause__, EOFError)
    ):
        return _turned_away(call)
    if isinstance(error, ConnectionRefusedError) and call.path == PAIR_PATH:
        return _turned_away(call)
    if isinstance(error, OSError | UnicodeError):
        return LinkLost(f"cannot connect to {address}: {reason(error)}", _unreachable(call))
    return LinkLost(f"{address} answered what is no syncd ({type(error).__name__})", "check the address")


def _unreachable(call: Call) -> str:
    if call.path == PAIR_PATH:
        return "check that both machines are on one network, or give --address HOST:PORT as `syncd pair` there shows it"
    return "check that it runs; if its address changed, `syncd pair` there and `syncd pair CODE` here"


def _wrong_peer(call: Call) -> tuple[str, str]:
    if call.path == PAIR_PATH:
        return f"the device at {call.address} is not the primary that made the token", "check the address"
    return (
        f"the device at {call.address} is not the primary that was paired",
        "check the address; if the primary was set up anew, pair again",
    )


def _status(response: Response, call: Call) -> PeerError:
    """A refusal with a code is the primary's own word: its certificate was checked before."""
    code = "".join(response.headers.get_all(REFUSAL_HEADER))
    if response.status_code == 403 and code in REFUSALS:
        return Refused(f"the primary at {call.address} refused this device ({code})", REFUSALS[code], code)
    if response.status_code in (403, 404):
        return _turned_away(call)
    return LinkLost(
        f"{call.address} answered with HTTP status {response.status_code}",
        "it may be stopping; this device tries again",
    )


def _turned_away(call: Call) -> Refused:
    if call.path == PAIR_PATH:
        return Refused(
            f"pairing is closed at {call.address}",
            "what was shown there was used, has expired or was tried wrongly, or this is not the address that was "
            "shown with it: run `syncd pair` on the primary again",
            "pairing-closed",
        )
    return Refused(
        f"the primary at {call.address} does not know this device", REFUSALS["unknown-device"], "unknown-device"
    )
