"""What a plan puts back before a work is executed: rows as the primary's versions were, in the place of edits."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from syncd.applications.base import RowFailed, not_put_back
from syncd.applications.sqlite_apply import Applier
from syncd.applications.sqlite_divide import chunks_of
from syncd.applications.sqlite_tables import Columns
from syncd.applications.sqlite_touched import Touched, settle
from syncd.core.edits import Plan
from syncd.core.model import Kind
from syncd.core.ports import Work


def restored(plan: Plan | None) -> Iterator[Columns]:
    """The rows that a plan restores, one by one: they are few, and any may be in the way of another."""
    for type_id, key, fields in plan.restore() if plan and plan.restore else ():
        kind = Kind.DELETE if fields is None else Kind.MODIFY
        yield Columns((kind,), (type_id,), (key,), (fields or b"",))


def named(work: Work) -> Iterator[Columns]:
    """All rows that executing the work writes, in order."""
    yield from restored(work.plan)
    yield from chunks_of(work)


def put_back(connection: sqlite3.Connection, applier: Applier, plan: Plan, touched: Touched | None) -> None:
    """Writes them; columns that exist only here stay. Raises ApplicationOffline where something is in the way."""
    if plan.restore is None:
        return
    connection.execute("SAVEPOINT put_back")
    before = applier.change, applier.objects
    try:
        try:
            applier.execute(lambda: restored(plan))
        except RowFailed:  # values may be swapped under a UNIQUE index
            if not connection.in_transaction:
                raise
            connection.execute("ROLLBACK TO put_back")
            applier.change, applier.objects = before
            applier.execute_cleared(lambda: restored(plan))
    except RowFailed as error:
        raise not_put_back(error.failure.cause) from error
    connection.execute("RELEASE put_back")
    if touched is not None:
        settle(connection, applier, lambda: restored(plan), lambda: touched.restore_untold(applier))
        applier.mending = False
