"""Strangers on the network get nowhere, whatever they do, and the primary lives on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.lan import Lan
from tests.network.machines import machine
from tests.network.strangers import HANG_UP, MODES, Strangers
from tests.wait import eventually_blocking

pytestmark = pytest.mark.e2e


def test_a_primary_turns_away_every_kind_of_stranger(lan: Lan, tmp_path: Path) -> None:
    with machine(lan, tmp_path, "primary") as primary:
        primary.init("primary")
        primary.start()
        elsewhere = lan.host("elsewhere")
        sources = [elsewhere.address, *elsewhere.more_addresses(20)]
        for mode in (*MODES, HANG_UP):
            with Strangers(mode, primary.address, sources=sources, prefix=elsewhere.prefix) as strangers:
                answers = [eventually_blocking(primary.try_status) for _ in range(50)]
            assert strangers.report.connections > 0, strangers.report
            assert all(answer["devices"] == [] for answer in answers if answer)
        primary.stop()  # without a traceback in its log
