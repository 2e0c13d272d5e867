"""The identity: one private file, a certificate that lasts, and nothing that depends on a name or a clock."""

from __future__ import annotations

import hashlib
import ssl
import stat

import pytest
from cryptography import x509

from syncd.core.errors import HomeError
from syncd.home import identity
from syncd.home.identity import Identity
from syncd.home.paths import Home


def test_an_identity_is_the_same_when_it_is_read_again(home: Home) -> None:
    made = identity.create(home, "office")
    assert identity.load(home) == made
    assert made.fingerprint == hashlib.sha256(made.certificate_der).digest()
    assert len(made.device_id) == 52


def test_two_devices_of_one_name_are_two(home: Home) -> None:
    first = identity.create(home, "office")
    home.identity.unlink()
    assert identity.create(home, "office").device_id != first.device_id


def test_the_key_is_for_its_owner_alone_and_never_shown(home: Home) -> None:
    made = identity.create(home, "office")
    assert stat.S_IMODE(home.identity.stat().st_mode) == 0o600
    assert "PRIVATE KEY" not in repr(made)
    assert [path.name for path in home.path.iterdir()] == ["identity.pem"]


def test_an_identity_is_never_replaced(home: Home) -> None:
    made = identity.create(home, "office")
    with pytest.raises(HomeError, match="is there already"):
        identity.create(home, "office")
    assert identity.load(home) == made
    assert [path.name for path in home.path.iterdir()] == ["identity.pem"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_can_reach_is_refused(home: Home, mode: int) -> None:
    identity.create(home, "office")
    home.identity.chmod(mode)
    with pytest.raises(HomeError) as caught:
        identity.load(home)
    assert f"chmod 600 {home.identity}" in caught.value.advice


def test_a_missing_identity_says_what_to_do(home: Home) -> None:
    with pytest.raises(HomeError, match=r"identity\.pem is missing") as caught:
        identity.load(home)
    assert caught.value.advice


def test_a_damaged_identity_is_refused(home: Home) -> None:
    whole = _file_of(identity.create(home, "office"))
    for damaged in (b"", b"not a key", whole[: len(whole) // 2], whole.replace(b"A", b"B")):
        home.identity.write_bytes(damaged)
        with pytest.raises(HomeError, match="cannot be decoded"):
            identity.load(home)


def test_key_and_certificate_of_two_devices_are_refused(home: Home) -> None:
    first = identity.create(home, "office")
    home.identity.unlink()
    second = identity.create(home, "office")
    home.identity.write_bytes(first.key_pem + second.certificate_pem)
    with pytest.raises(HomeError, match="do not belong together"):
        identity.load(home)


def test_no_clock_makes_the_certificate_invalid(home: Home) -> None:
    certificate = x509.load_der_x509_certificate(identity.create(home, "office").certificate_der)
    assert certificate.not_valid_before_utc.year == 1970
    assert certificate.not_valid_after_utc.year == 9999
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert basic.critical
    assert not basic.value.ca


@pytest.mark.parametrize("strict", [False, True])
def test_tls_accepts_the_certificate_at_both_ends(home: Home, strict: bool) -> None:
    server = _context(home, identity.create(home, "office"), ssl.PROTOCOL_TLS_SERVER, strict)
    client = _context(home, identity.load(home), ssl.PROTOCOL_TLS_CLIENT, strict)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        waiting = [end for end in waiting if not _shaken(end)]
    assert not waiting
    assert all(end.getpeercert(binary_form=True) == identity.load(home).certificate_der for end in ends)


def _context(home: Home, pinned: Identity, protocol: int, strict: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    if strict:
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(home.identity)
    context.load_verify_locations(cadata=pinned.certificate_der)
    return context


def _shaken(end: ssl.SSLObject) -> bool:
    try:
        end.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _file_of(made: Identity) -> bytes:
    return made.key_pem + made.certificate_pem
