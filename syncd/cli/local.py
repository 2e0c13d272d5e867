"""What the command line can do on this machine without a daemon. ``__main__`` fills it in: cli knows no other room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from syncd.home.config import Asked, Config
from syncd.home.paths import Home


class Arrange(Protocol):
    """Verbs that write files of a home. The caller holds the home's lock (``init`` takes it by itself)."""

    def init(self, home: Home, options: Config) -> dict[str, object]: ...

    def share(self, home: Home, asked: Asked) -> dict[str, object]: ...

    def accept(self, home: Home, asked: Asked) -> dict[str, object]: ...

    def choose(self, home: Home, verb: str, args: dict[str, object]) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Local:
    """``arrange``: called when one of its verbs is needed, so that others start fast. ``run``: the daemon."""

    arrange: Callable[[], Arrange]
    run: Callable[[Path], int]
