"""Runs what a script of the house runs, in this interpreter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.e2e.harness import ROOT

_RUN_S_MAX = 240
_END_S_MAX = 30


def script(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``module``: what the script hands over to."""
    command = [sys.executable, "-m", module, *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said, complained = process.communicate(timeout=_RUN_S_MAX)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)  # it ends the daemons that it began
            said, complained = process.communicate(timeout=_END_S_MAX)
            raise AssertionError(f"{module} did not end within {_RUN_S_MAX} s\n{said}{complained}") from None
    return subprocess.CompletedProcess(command, process.returncode, said, complained)
