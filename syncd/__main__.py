"""The entry of ``syncd`` and ``python -m syncd``: gives the command line what it can do on this machine."""

from __future__ import annotations

import sys
from pathlib import Path

from syncd.cli.local import Arrange, Local
from syncd.cli.main import run_verb


def main() -> int:
    return run_verb(sys.argv[1:], Local(_arrange, _run))


def _arrange() -> Arrange:
    from syncd import arrange

    return arrange


def _run(home: Path) -> int:
    from syncd.daemon import run

    return run(home)


if __name__ == "__main__":
    sys.exit(main())
