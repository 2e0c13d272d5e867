"""The entry of ``syncd`` and ``python -m syncd``: gives the command line what it can do on this machine."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from syncd.cli.local import Arrange, Local
from syncd.cli.main import run_verb
from syncd.home.lock import lock
from syncd.home.paths import Home


def main() -> int:
    return run_verb(sys.argv[1:], Local(_arrange, _run))


def _arrange() -> Arrange:
    from syncd import arrange

    return arrange


def _run(home: Path) -> int:
    with lock(Home(home), daemon=True):  # before the daemon is imported, which takes a while: verbs see that it starts
        from syncd.daemon import run

        code = run(home)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # A database thread that could not be ended must not keep the process (and its lock) alive.
    os._exit(code)


if __name__ == "__main__":
    sys.exit(main())
