"""What the tests of discovery share."""

from __future__ import annotations

import base64
import os

import pytest

from syncd.core.found import Discovery, Found


def quick_probing(monkeypatch: pytest.MonkeyPatch) -> None:
    """On loopback nobody needs the second that another machine has to answer for its name."""
    monkeypatch.setattr("zeroconf._core._PROBE_RANDOM_DELAY_INTERVAL", (0, 10))
    monkeypatch.setattr("zeroconf._core._CHECK_TIME", 60)


def some_id() -> str:
    return base64.b32encode(os.urandom(32)).decode().rstrip("=")


def seen(discovery: Discovery, device_id: str) -> Found | None:
    """Other tests may be on the same network: only the ones that were made here count."""
    return next((each for each in discovery.found() if each.id8 == device_id[:8]), None)
