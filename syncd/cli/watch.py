"""The status again and again, and which of them differ."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator

from syncd.cli.fields import Json, records

PAUSE_S = 0.25  # between two questions to the daemon


def repeated(ask: Callable[[], Json]) -> Iterator[Json]:
    """One status after the other, until the daemon is gone (its error) or the person ends it."""
    while True:
        yield ask()
        time.sleep(PAUSE_S)


def changes(statuses: Iterable[Json]) -> Iterator[Json]:
    """The first status, and each that differs from the one before in more than the passing of time."""
    before: Json | None = None
    for told in statuses:
        timeless = _timeless(told)
        if timeless != before:
            before = timeless
            yield told


def _timeless(told: Json) -> Json:
    devices = [{**device, "last_seen": None} for device in records(told, "devices")]
    return {**told, "uptime_s": None, "devices": devices}
