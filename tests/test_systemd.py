"""The units: systemd accepts them without a word, and the daemon's service is well fenced in."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).resolve().parent.parent / "systemd"
EXPOSURE_MAX = 15  # tenths; systemd calls up to 1.9 "OK"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed: units are not verified"
)


def analyze(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    tmp_path.chmod(0o700)
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},  # the user's manager asks for it
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@needs_systemd
@pytest.mark.parametrize("arguments", [("syncd.service",), ("syncd.user.service", "--user"), ("syncd.user.service",)])
def test_systemd_accepts_the_unit_without_a_word(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    unit, *options = arguments
    done = analyze(tmp_path, "verify", "--man=no", *options, str(UNITS / unit))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_a_wrong_key_in_a_unit_would_be_noticed(tmp_path: Path) -> None:
    broken = tmp_path / "syncd.service"
    broken.write_text((UNITS / "syncd.service").read_text().replace("WatchdogSec", "WatchdogSecs"))
    assert "WatchdogSecs" in analyze(tmp_path, "verify", "--man=no", str(broken)).stderr


@needs_systemd
def test_the_service_of_the_system_is_fenced_in(tmp_path: Path) -> None:
    unit = str(UNITS / "syncd.service")
    done = analyze(tmp_path, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", unit)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("unit", ["syncd.service", "syncd.user.service"])
def test_the_daemon_reports_to_systemd_and_is_started_again(unit: str) -> None:
    lines = (UNITS / unit).read_text().splitlines()
    assert {"Type=notify", "NotifyAccess=main", "WatchdogSec=30", "Restart=on-failure"} <= set(lines)


def test_the_unit_of_a_person_does_not_hide_the_persons_files() -> None:
    text = (UNITS / "syncd.user.service").read_text()
    assert not [key for key in ("ProtectHome=", "ProtectSystem=", "DynamicUser=") if key in text]
