"""A watch is woken from other threads than the one that closes it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from syncd.applications.watch import Watch


def test_a_watch_is_not_closed_while_it_is_woken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what wakes would write into a descriptor that is closed, or another file's by then."""
    watch = Watch(tmp_path)
    closing = threading.Thread(target=watch.close)
    really = os.eventfd_write

    def write(descriptor: int, value: int) -> None:
        closing.start()
        closing.join(0.1)
        really(descriptor, value)

    monkeypatch.setattr("syncd.applications.watch.os.eventfd_write", write)
    watch.wake()
    closing.join()
    watch.wake()
