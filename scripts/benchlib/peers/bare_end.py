"""The two ends of the bare script: what SQLite, msgpack and a websocket need by themselves, without any of syncd's
rules. ``send DATABASE PORT PEM`` serves rows in the order of their rowids, ``receive DATABASE PORT PEM`` upserts them.
"""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
import sys
from contextlib import closing

import msgpack
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from scripts.benchlib.work import SCHEMA, UPSERT

_BATCH = 500
_POLL_S = 0.0005


async def send(path: str, port: int, pem: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def to_one(link: ServerConnection) -> None:
        version, cursor = -1, 0
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            while True:
                now = connection.execute("PRAGMA data_version").fetchone()[0]
                sql = "SELECT rowid, id, body FROM item WHERE rowid > ? ORDER BY rowid LIMIT ?"
                while now != version and (rows := connection.execute(sql, (cursor, _BATCH)).fetchall()):
                    cursor = rows[-1][0]
                    await link.send(msgpack.packb([row[1:] for row in rows]))
                version = now
                await asyncio.sleep(_POLL_S)

    async with serve(to_one, "127.0.0.1", port, ssl=context, compression=None):
        await asyncio.Event().wait()


async def receive(path: str, port: int, pem: str) -> None:
    context = ssl.create_default_context(cafile=pem)
    context.check_hostname = False
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(SCHEMA)
        async with connect(f"wss://127.0.0.1:{port}", ssl=context, compression=None) as link:
            async for frame in link:
                connection.execute("BEGIN")
                connection.executemany(UPSERT, msgpack.unpackb(frame))
                connection.execute("COMMIT")


if __name__ == "__main__":
    _, role, database, number, identity = sys.argv
    asyncio.run((send if role == "send" else receive)(database, int(number), identity))
