"""The sync store's objects as they stood at a sequence number of the past: what devices hold goes by positions (R4).

An object that changed since then is among the former versions, with the change that replaced it. Both are read in one
short transaction, a span of changes at a time: a row that moves between two pages is met once, whichever moved first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from syncd.core.history_port import Stood, StoodPage
from syncd.store.store_collections import get


class StoodRequest(NamedTuple):
    """See ``core.history_port``."""

    at: int
    cursor: int
    rows_max: int
    bytes_max: int


def stood(connection: sqlite3.Connection, name: str, asked: StoodRequest) -> StoodPage:
    row = get(connection, name)
    found = connection.execute(
        f"SELECT change, 0 AS until, type, key, fields FROM {row.table}"
        " WHERE change > ?1 AND change <= ?2 AND hash IS NOT NULL"
        # The plus: few versions were replaced since, and many were made in the span.
        f" UNION ALL SELECT change, until, type, key, fields FROM {row.versions}"
        " WHERE until > ?2 AND +change > ?1 AND +change <= ?2 AND fields IS NOT NULL ORDER BY change",
        (asked.cursor, asked.at),
    )
    page = page_of(map(Stood._make, found), asked, row.history <= asked.at)
    found.close()
    return page


def page_of(found: Iterable[Stood], asked: StoodRequest, whole: bool) -> StoodPage:
    """``found``: in the order of their changes. At least one, if there is one."""
    rows: list[Stood] = []
    size = 0
    for one in found:
        size += len(one.key) + len(one.fields)
        if rows and (len(rows) == asked.rows_max or size > asked.bytes_max):
            return StoodPage(rows, rows[-1].change, whole)
        rows.append(one)
    return StoodPage(rows, asked.at, whole)
