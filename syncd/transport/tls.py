"""TLS contexts and the certificates that are trusted (DESIGN §7).

Trust is in the fingerprint of a certificate, not in its name, dates or issuer. OpenSSL checks that the peer holds the
key of a pinned certificate; ``Trust.device_of`` compares the fingerprint and stays the authority: a device that was
revoked is unknown to it at once, although OpenSSL keeps the certificate as an anchor.
"""

from __future__ import annotations

import hmac
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
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        _harden(self.context)
        _load_identity(self.context, identity)
        self.context.num_tickets = 0  # a resumed session would skip the certificate
        self.context.verify_mode = ssl.CERT_REQUIRED
        self._fingerprints: dict[str, bytes] = {}
        for certificate in certificates:
            self.admit(certificate)

    def admit(self, certificate: bytes) -> str:
        """The device passes from the next handshake on. Returns its id."""
        self.context.load_verify_locations(cadata=certificate)
        known = fingerprint(certificate)
        device = device_id(known)
        self._fingerprints[device] = known
        return device

    def revoke(self, device: str) -> None:
        """The device is unknown from the next handshake on."""
        self._fingerprints.pop(device, None)

    def device_of(self, certificate: bytes | None) -> str | None:
        """Id of the paired device that showed this certificate; None for anything else."""
        if not certificate:
            return None
        shown = fingerprint(certificate)
        found = None
        for device, known in self._fingerprints.items():
            if hmac.compare_digest(shown, known):
                found = device
        return found

    def let_strangers_in(self, allowed: bool) -> None:
        """Whether later handshakes may do without a client certificate (a certificate that is shown must be known)."""
        self.context.verify_mode = ssl.CERT_OPTIONAL if allowed else ssl.CERT_REQUIRED


def client_context(identity: Path, pinned: bytes) -> ssl.SSLContext:
    """For a link: shows this device's certificate, accepts the pinned one only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    _harden(context)
    _load_identity(context, identity)
    context.load_verify_locations(cadata=pinned)
    return context


def stranger_context() -> ssl.SSLContext:
    """For pairing: shows no certificate, accepts any; the caller compares the fingerprint with the token's."""
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
