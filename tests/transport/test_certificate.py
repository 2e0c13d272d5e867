"""Which certificates may be pinned."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from syncd.core.errors import FrameError
from syncd.home import identity
from syncd.home.paths import Home
from syncd.transport.certificate import CERTIFICATE_BYTES_MAX, check_certificate
from tests.transport.peers import self_signed

KEY = ec.generate_private_key(ec.SECP256R1())
GOOD = self_signed("till", KEY)


def test_the_fingerprint_is_the_hash_of_the_whole_certificate() -> None:
    assert check_certificate(GOOD) == hashlib.sha256(GOOD).digest()


def test_the_certificate_that_a_home_makes_may_be_pinned(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    made = identity.create(home, "till")
    assert check_certificate(made.certificate_der) == made.fingerprint


def test_an_authority_is_no_device() -> None:
    with pytest.raises(FrameError, match="not that of a device"):
        check_certificate(self_signed("authority", KEY, ca=True))


def test_a_certificate_that_cannot_be_told_from_its_namesakes_is_refused() -> None:
    with pytest.raises(FrameError):
        check_certificate(self_signed("till", KEY, named=False))


def test_a_certificate_signed_by_another_key_is_refused() -> None:
    other = self_signed("till", ec.generate_private_key(ec.SECP256R1()))
    stolen_signature = GOOD[:-64] + other[-64:]
    with pytest.raises(FrameError):
        check_certificate(stolen_signature)


def test_an_oversized_certificate_is_refused_before_it_is_parsed() -> None:
    with pytest.raises(FrameError, match=f"{CERTIFICATE_BYTES_MAX} are allowed"):
        check_certificate(bytes(CERTIFICATE_BYTES_MAX + 1))


def test_a_signature_written_in_another_way_is_refused() -> None:
    """The unused bits of the last byte: the parser does not look at them, the fingerprint would."""
    even = next(made for made in iter(lambda: self_signed("till", KEY), b"") if made[-1] % 2 == 0)
    start = even.rindex(x509.load_der_x509_certificate(even).signature)
    assert even[start - 1] == 0
    with pytest.raises(FrameError):
        check_certificate(even[: start - 1] + b"\1" + even[start:])


def test_a_key_identifier_of_another_key_is_refused() -> None:
    strange = x509.AuthorityKeyIdentifier(bytes(20), None, None)
    with pytest.raises(FrameError, match="not that of a device"):
        check_certificate(self_signed("till", KEY, issuer=strange))


def test_bytes_after_a_certificate_are_refused() -> None:
    with pytest.raises(FrameError):
        check_certificate(GOOD + b"\0")


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_changed_byte_is_refused(place: int, change: int) -> None:
    changed = bytearray(GOOD)
    changed[place] ^= change
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the parser warns of odd certificates before it is asked whether to trust them
        with pytest.raises(FrameError):
            check_certificate(bytes(changed))
