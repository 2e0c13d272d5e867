"""What devices were sent, as the sync database keeps it: plain functions that run in a database thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from syncd.core.devices import Sent
from syncd.core.model import Span

SENDING = Sent("", "", "", Span(0, 0))  # it is not known


def keep_sent(connection: sqlite3.Connection, device: str, sent: Sequence[Sent]) -> None:
    """In place of what was kept of the device."""
    connection.execute("DELETE FROM sent WHERE device = ?", (device,))
    if connection.execute("SELECT 1 FROM devices WHERE id = ?", (device,)).fetchone() is not None:
        connection.executemany(
            "INSERT INTO sent (device, collection, epoch, first, last) VALUES (?, ?, ?, ?, ?)",
            [(device, one.collection, one.epoch, *one.span) for one in sent],
        )


def all_sent(connection: sqlite3.Connection) -> tuple[list[str], list[Sent]]:
    unknown: list[str] = []
    sent: list[Sent] = []
    for device, collection, epoch, *span in connection.execute(
        "SELECT device, collection, epoch, first, last FROM sent ORDER BY id"
    ):
        if collection:
            sent.append(Sent(device, collection, epoch, Span(*span)))
        else:
            unknown.append(device)
    return sorted(unknown), sent
