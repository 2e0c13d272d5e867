"""The identity of this device: a private key and a self-signed certificate in one PEM file (DESIGN §7).

Trust is in the certificate's SHA-256 alone. Names in it mean nothing, and its validity is as wide as certificates
allow, because clocks decide nothing (R1).
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from syncd.core import model
from syncd.core.errors import HomeError
from syncd.home import files
from syncd.home.paths import Home

IDENTITY_BYTES_MAX = 64 * 1024  # a larger file is refused

_NOT_BEFORE = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)  # RFC 5280: no well-defined end
_HOST_NAME = "syncd.invalid"  # nobody checks it; some TLS libraries refuse a certificate without a name


@dataclass(frozen=True, slots=True)
class Identity:
    """``fingerprint``: SHA-256 of the certificate (32 bytes). ``device_id``: the same in base32."""

    certificate_der: bytes
    certificate_pem: bytes
    key_pem: bytes = field(repr=False)
    fingerprint: bytes
    device_id: str


def create(home: Home, name: str) -> Identity:
    """Makes a key and a certificate and writes them, 0600. An identity that is there is never replaced."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, name)
    key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    files.write(home.identity, key_pem + certificate.public_bytes(Encoding.PEM), replace=False)
    return _identity(certificate, key_pem)


def load(home: Home) -> Identity:
    """Reads the identity; refuses one that other users of the machine can read."""
    raw = files.read(home.identity, IDENTITY_BYTES_MAX, secret=True)
    try:
        key = load_pem_private_key(raw, password=None)
        certificate = x509.load_pem_x509_certificate(raw)
        fits = isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key()
    except Exception as error:  # the parsers raise many classes on a damaged file
        raise _damaged(home, f"cannot be decoded ({type(error).__name__})") from error
    if not fits:
        raise _damaged(home, "holds a key and a certificate that do not belong together")
    return _identity(certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    public = key.public_key()
    subject_key = x509.SubjectKeyIdentifier.from_public_key(public)
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(_HOST_NAME)]), critical=False)
        .add_extension(usage, critical=False)
        .add_extension(subject_key, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key), critical=False)
        .sign(key, hashes.SHA256())
    )


def _identity(certificate: x509.Certificate, key_pem: bytes) -> Identity:
    der = certificate.public_bytes(Encoding.DER)
    fingerprint = hashlib.sha256(der).digest()
    pem = certificate.public_bytes(Encoding.PEM)
    return Identity(der, pem, key_pem, fingerprint, model.device_id(fingerprint))


def _damaged(home: Home, problem: str) -> HomeError:
    return HomeError(
        f"the identity {home.identity} {problem}",
        "restore the file from a backup, or begin with another home and pair this device again",
    )
