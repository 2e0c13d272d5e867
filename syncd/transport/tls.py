"""TLS contexts and the certificates that are trusted (DESIGN §7).

Trust is in the fingerprint of a certificate, not in its name, dates or issuer. OpenSSL checks that the peer holds the
key of a pinned certificate; ``Trust.device_of`` compares the fingerprint and stays the authority. A device that is
refused keeps its certificate among OpenSSL's anchors, so that it passes the handshake and can be told why.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path

from syncd.core.errors import HomeError
from syncd.core.model import device_id
from syncd.transport.certificate import fingerprint

_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: a wrong clock must not lock a device out


class Trust:
    """The primary's side: which devices are paired, and the one server context that lets them in."""

    def __init__(self, identity: Path, certificates: Iterable[bytes] = ()) -> None:
        self.context = server_context(identity)
        self.context.verify_mode = ssl.CERT_REQUIRED
        self._devices: dict[bytes, str] = {}  # by the fingerprint of the certificate
        self._refused: dict[str, str] = {}
        for certificate in certificates:
            self.admit(certificate)

    def admit(self, certificate: bytes) -> str:
        """The device passes from the next handshake on. Returns its id."""
        self.context.load_verify_locations(cadata=certificate)
        known = fingerprint(certificate)
        device = self._devices[known] = device_id(known)
        self._refused.pop(device, None)
        return device

    def refuse(self, device: str, code: str) -> None:
        """The device is told ``code`` of REFUSALS, and nothing else, from the next handshake on."""
        self._refused[device] = code

    def forget(self, device: str) -> None:
        """The device is unknown from the next handshake on."""
        self._devices = {known: one for known, one in self._devices.items() if one != device}
        self._refused.pop(device, None)

    def refusal_of(self, device: str) -> str:
        """The code that a device is refused with; empty for one that may come in."""
        return self._refused.get(device, "")

    def device_of(self, certificate: bytes | None) -> str | None:
        """Id of the device that showed this certificate, be it to be refused; None for anything unknown."""
        return self._devices.get(fingerprint(certificate)) if certificate else None


def server_context(identity: Path) -> ssl.SSLContext:
    """For a listener: shows this device's certificate. Whom it asks for one is the caller's to say."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    _load_identity(context, identity)
    context.num_tickets = 0  # a resumed session would skip the certificate
    return context


def client_context(identity: Path, pinned: bytes) -> ssl.SSLContext:
    """For a link: shows this device's certificate, accepts the pinned one only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _harden(context)
    _load_identity(context, identity)
    context.load_verify_locations(cadata=pinned)
    return context


def stranger_context() -> ssl.SSLContext:
    """For pairing: shows no certificate, accepts any; the caller settles whose it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _harden(context)
    return context


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= _NO_CHECK_TIME


def _load_identity(context: ssl.SSLContext, identity: Path) -> None:
    try:
        context.load_cert_chain(identity)
    except (OSError, ssl.SSLError) as error:
        raise HomeError(
            f"the identity {identity} cannot be used ({error.strerror or error})",
            "restore it, or set this device up anew",
        ) from error
