"""What the command line can do on this machine without a daemon. ``__main__`` fills it in: cli knows no other room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from syncd.home.config import Config
from syncd.home.paths import Home


class Arrange(Protocol):
    """Verbs that write config.toml. The caller holds the home's lock (``init`` takes it by itself)."""

    def init(self, home: Home, options: Config) -> dict[str, object]: ...

    def share(self, home: Home, name: str, kind: str, path: str, tables: tuple[str, ...]) -> list[str]: ...

    def accept(self, home: Home, name: str, kind: str, path: str, replace: bool) -> dict[str, object]: ...


@dataclass(frozen=True, slots=True)
class Local:
    """``arrange``: called when one of its verbs is needed, so that others start fast. ``run``: the daemon."""

    arrange: Callable[[], Arrange]
    run: Callable[[Path], int]
