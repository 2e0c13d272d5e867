"""Certificates of devices: what may be pinned, and its fingerprint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from syncd.core.errors import FrameError, HomeError

CERTIFICATE_BYTES_MAX = 4096


def fingerprint(certificate: bytes) -> bytes:
    """SHA-256 of the certificate (DER): what trust is pinned to."""
    return hashlib.sha256(certificate).digest()


def identity_certificate(identity: Path) -> bytes:
    """This device's own certificate (DER), of its identity file (PEM). Raises HomeError."""
    try:
        return x509.load_pem_x509_certificate(identity.read_bytes()).public_bytes(Encoding.DER)
    except (OSError, ValueError) as error:
        raise HomeError(f"the identity {identity} cannot be used ({error})", "restore it") from error


def check_certificate(certificate: bytes) -> bytes:
    """Fingerprint of a certificate that a stranger offers. Raises FrameError unless it is a self-signed leaf."""
    if len(certificate) > CERTIFICATE_BYTES_MAX:
        raise FrameError(f"a certificate of {len(certificate)} bytes was offered, {CERTIFICATE_BYTES_MAX} are allowed")
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        exact = parsed.public_bytes(Encoding.DER) == certificate and certificate.endswith(b"\0" + parsed.signature)
        leaf = _is_leaf(parsed)
        plain = isinstance(parsed.public_key(), ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)
        named = _names_its_key(parsed)
        parsed.verify_directly_issued_by(parsed)
    except Exception as error:  # the parser raises many classes on hostile bytes; any of them means no
        raise FrameError(f"what was offered is no self-signed certificate ({type(error).__name__})") from error
    if not (exact and leaf and plain and named):
        raise FrameError("the certificate offered is not that of a device")
    return fingerprint(certificate)


def _names_its_key(certificate: x509.Certificate) -> bool:
    """Two devices may have the same name; OpenSSL tells their certificates apart by the key identifiers."""
    subject = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    exact = x509.SubjectKeyIdentifier.from_public_key(certificate.public_key())
    return subject == exact and issuer.key_identifier == exact.digest


def _is_leaf(certificate: x509.Certificate) -> bool:
    try:
        return not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return True
